"""What several users would answer to one question, and of whom each answer is true.

A question is put to as many users as it has choices. The first is asked; the others lend it their answers as choices.
Shapes: Q questions, C users and their answers, E events, G categories, M moments, W windows, K counts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.soft_prompt.log import Log
from models.soft_prompt.moments import Moments
from models.soft_prompt.tasks import Asking, Task


@dataclass(frozen=True, slots=True, eq=False)
class Coins:
    """What is left to chance, in [0, 1): an event and a category of each user, and a window and a category of all."""

    event_QC: NDArray[np.float64]
    category_QC: NDArray[np.float64]
    window_Q: NDArray[np.float64]
    shared_Q: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """answer_QC: items, categories, counts, or pairs of categories (the earlier times G plus the later); -1 for none.
    told_QCC: whether the answer of the last index is true of the user of the one before. common_QC: how common an
    answer is among training users. n_Q, category_Q: what is asked about; 0 and -1 where nothing is."""

    answer_QC: NDArray[np.int64]
    told_QCC: NDArray[np.bool_]
    common_QC: NDArray[np.int64]
    n_Q: NDArray[np.int64]
    category_Q: NDArray[np.int64]

    def where(self, is_kept_Q: NDArray[np.bool_]) -> "Answers":
        """Those to some of the questions."""
        return Answers(*(getattr(self, one.name)[is_kept_Q] for one in fields(self)))


Put = Callable[[NDArray[np.int64], Coins], Answers]
"""Puts questions to the users of moment_QC. Of an answer that cannot be had, told is false for its own user."""


def _feature(log: Log, asking: Asking, moments: Moments, is_pool_M: NDArray[np.bool_]) -> Put:
    """Only the first user's: the categories of several recent items, of which the first is asked about."""

    def put(moment_QC: NDArray[np.int64], coins: Coins) -> Answers:
        back_QC = 1 + (coins.event_QC * asking.recent).astype(np.int64)
        items_QC = _items(log, moments, np.broadcast_to(moment_QC[:, :1], back_QC.shape), back_QC)
        return _of_items(log, items_QC, coins, back_QC[:, 0])

    return put


def _match(log: Log, asking: Asking, moments: Moments, is_pool_M: NDArray[np.bool_]) -> Put:
    counts_WMG = np.stack([moments.counts(log, n) for n in asking.windows])
    common_KWG = np.stack([(counts_WMG[:, is_pool_M] == k).sum(axis=1) for k in range(asking.recent + 1)])
    bounds_G = np.cumsum(log.popularity_G)  # a category as often as it is chosen: of most, most users have none

    def put(moment_QC: NDArray[np.int64], coins: Coins) -> Answers:
        window_Q = (coins.window_Q * len(counts_WMG)).astype(np.int64)
        category_Q = np.searchsorted(bounds_G, coins.shared_Q * bounds_G[-1], side="right")
        answer_QC = counts_WMG[window_Q[:, None], moment_QC, category_Q[:, None]]
        common_QC = common_KWG[answer_QC, window_Q[:, None], category_Q[:, None]]
        return Answers(answer_QC, _same(answer_QC), common_QC, np.array(asking.windows)[window_Q], category_Q)

    return put


def _next_item(log: Log, asking: Asking, moments: Moments, is_pool_M: NDArray[np.bool_]) -> Put:
    """An item that a user ever has is true of the user: who has it earlier or later is offered something else."""
    n_items = len(log.names_N)
    had, first_of = np.unique(log.past.numbers() * n_items + log.past.items_E, return_index=True)
    is_first_E = np.zeros(len(log.past.items_E), np.bool_)
    is_first_E[first_of] = True
    number_of = {name: number for number, name in enumerate(log.names_N)}
    name_N = np.array([number_of[name] for name in log.names_N])

    def put(moment_QC: NDArray[np.int64], coins: Coins) -> Answers:
        event_QC = log.past.starts_V[moments.user_M[moment_QC]] + moments.cut_M[moment_QC]
        items_QC = log.past.items_E[event_QC]
        wanted_QCC = (moments.user_M[moment_QC] * n_items)[:, :, None] + items_QC[:, None, :]
        is_had_QCC = had[np.minimum(np.searchsorted(had, wanted_QCC), len(had) - 1)] == wanted_QCC
        told_QCC = (is_had_QCC | _same(name_N[items_QC])) & is_first_E[event_QC][:, None, :]
        return _answers(items_QC, told_QCC, log.popularity_N)

    return put


def _next_category(log: Log, asking: Asking, moments: Moments, is_pool_M: NDArray[np.bool_]) -> Put:
    def put(moment_QC: NDArray[np.int64], coins: Coins) -> Answers:
        return _of_items(log, _items(log, moments, moment_QC, np.zeros_like(moment_QC)), coins)

    return put


def _long_term(log: Log, asking: Asking, moments: Moments, is_pool_M: NDArray[np.bool_]) -> Put:
    return _leading(log, moments, None)


def _short_term(log: Log, asking: Asking, moments: Moments, is_pool_M: NDArray[np.bool_]) -> Put:
    return _leading(log, moments, asking.recent)


def _leading(log: Log, moments: Moments, newest: int | None) -> Put:
    """Each user names a category; of those that are named, true of a user is the one that most of the user's events,
    or of the newest of them, are of. A user rather names what it has much of, and more than is usual: what most have
    most of is hardly ever true of one alone."""
    counts_MG = moments.counts(log, newest)
    weights_MG = np.square(np.square(counts_MG) / np.maximum(log.popularity_G, 1))
    weights_MG /= np.maximum(weights_MG.sum(axis=1, keepdims=True), 1e-300)
    bounds = np.cumsum(weights_MG.ravel())
    n_categories = len(log.categories_G)

    def put(moment_QC: NDArray[np.int64], coins: Coins) -> Answers:
        first_QC = moment_QC * n_categories
        before_QC = np.where(first_QC > 0, bounds[first_QC - 1], 0.0)
        place_QC = np.searchsorted(bounds, before_QC + coins.category_QC, side="right") - first_QC
        answer_QC = np.clip(place_QC, 0, n_categories - 1)
        counts_QCC = counts_MG[moment_QC[:, :, None], answer_QC[:, None, :]]
        own_QC = np.diagonal(counts_QCC, axis1=1, axis2=2)
        return _answers(answer_QC, counts_QCC >= own_QC[:, :, None], log.popularity_G, newest or 0)

    return put


def _trajectory(log: Log, asking: Asking, moments: Moments, is_pool_M: NDArray[np.bool_]) -> Put:
    earlier_M, later_M = (_leaders(moments.counts(log, n)) for n in (-asking.recent, asking.recent))
    is_move_M = (earlier_M >= 0) & (later_M >= 0) & (earlier_M != later_M)
    n_categories = len(log.categories_G)
    move_M = np.where(is_move_M, earlier_M * n_categories + later_M, -1)
    common = np.bincount(move_M[is_pool_M & is_move_M], minlength=n_categories**2)

    def put(moment_QC: NDArray[np.int64], coins: Coins) -> Answers:
        answer_QC = move_M[moment_QC]
        return _answers(answer_QC, _same(answer_QC) & (answer_QC >= 0)[:, None, :], common, asking.recent)

    return put


PUTS: Final[Mapping[Task, Callable[[Log, Asking, Moments, NDArray[np.bool_]], Put]]] = {
    Task.FEATURE: _feature,
    Task.MATCH: _match,
    Task.NEXT_ITEM: _next_item,
    Task.NEXT_CATEGORY: _next_category,
    Task.LONG_TERM: _long_term,
    Task.SHORT_TERM: _short_term,
    Task.TRAJECTORY: _trajectory,
}


def _items(log: Log, moments: Moments, moment_QC: NDArray[np.int64], back_QC: NDArray[np.int64]) -> NDArray[np.int64]:
    """The item so many events back from the moment; the next one for 0."""
    place_QC = log.past.starts_V[moments.user_M[moment_QC]] + moments.cut_M[moment_QC] - back_QC
    return np.asarray(log.past.items_E[place_QC])


def _category(log: Log, items_QC: NDArray[np.int64], coins: Coins) -> NDArray[np.int64]:
    """One of each item's categories; -1 where there is none."""
    first_QC, counts_QC = log.starts_M[items_QC], np.diff(log.starts_M)[items_QC]
    place_QC = first_QC + (coins.category_QC * counts_QC).astype(np.int64)
    return np.where(counts_QC > 0, np.append(log.categories_L, -1)[place_QC], -1)


def _of_items(log: Log, items_QC: NDArray[np.int64], coins: Coins, n: NDArray[np.int64] | int = 0) -> Answers:
    """A category of each item."""
    answer_QC = _category(log, items_QC, coins)
    told_QCC = log.has_NG[items_QC[:, :, None], answer_QC[:, None, :]] & (answer_QC >= 0)[:, None, :]
    return _answers(answer_QC, told_QCC, log.popularity_G, n)


def _answers(
    answer_QC: NDArray[np.int64],
    told_QCC: NDArray[np.bool_],
    popularity: NDArray[np.int64],
    n: NDArray[np.int64] | int = 0,
) -> Answers:
    count = len(answer_QC)
    n_Q = np.full(count, n, np.int64)
    return Answers(answer_QC, told_QCC, popularity[answer_QC], n_Q, np.full(count, -1, np.int64))


def _same(numbers_QC: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray(numbers_QC[:, :, None] == numbers_QC[:, None, :])


def _leaders(counts_MG: NDArray[np.int64]) -> NDArray[np.int64]:
    """The category with the most; -1 where several have it."""
    is_most_MG = counts_MG == counts_MG.max(axis=1, keepdims=True)
    return np.where(is_most_MG.sum(axis=1) == 1, is_most_MG.argmax(axis=1), -1)
