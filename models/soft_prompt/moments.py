"""Moments of users' histories at which something is asked, and what was counted until then.

Shapes: M moments, E events, A users who have a moment, G categories, X any shape of moments.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.soft_prompt.log import Log
from models.soft_prompt.tasks import DIMENSIONS, Asking, Dimension, Task


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """user_M: rows. cut_M: how many of the user's events came before. Those of one user stand together:
    first_U, count_U: where, and how many."""

    user_M: NDArray[np.int64]
    cut_M: NDArray[np.int64]
    first_U: NDArray[np.int64]
    count_U: NDArray[np.int64]

    @classmethod
    def of(cls, log: Log, task: Task, asking: Asking) -> Self:
        """The moments of every user at which a task may be asked.

        What is predicted is any event behind the cut. Other tasks are asked at the cut and at moments before, evenly
        spread. A user with too short a history has none.
        """
        lengths_U, least = np.diff(log.past.starts_V), asking.least(task)
        if DIMENSIONS[task] is Dimension.PREDICTION:
            pairs = zip(log.cut_U.tolist(), lengths_U.tolist(), strict=True)
            cuts = [np.arange(max(cut, least), length) for cut, length in pairs]
        else:
            cuts = [
                np.unique(np.linspace(cut, least, asking.moments).astype(np.int64)) if cut >= least else _NONE
                for cut in log.cut_U.tolist()
            ]
        count_U = np.array([len(some) for some in cuts], np.int64)
        first_U = np.cumsum(count_U) - count_U
        return cls(np.repeat(np.arange(len(cuts)), count_U), np.concatenate([_NONE, *cuts]), first_U, count_U)

    def those_with(self, users: NDArray[np.int64]) -> NDArray[np.int64]:
        """The users who have a moment."""
        return users[self.count_U[users] > 0]

    def counts(self, log: Log, newest: int | None = None) -> NDArray[np.int64]:
        """counts_MG: how many of the events before each moment are of each category; of the `newest` only, or, when it
        is negative, of all but so many of the newest. All when None."""
        begin_M = log.past.starts_V[self.user_M]
        end_M = begin_M + self.cut_M
        if newest is not None and newest >= 0:
            begin_M = np.maximum(begin_M, end_M - newest)
        elif newest is not None:
            end_M = np.maximum(begin_M, end_M + newest)
        counts_MG = np.empty((len(begin_M), log.has_NG.shape[1]), np.int64)
        for category in range(counts_MG.shape[1]):  # one column at a time: events times categories are too many
            sums = np.concatenate([[0], np.cumsum(log.has_NG[log.past.items_E, category])])
            counts_MG[:, category] = sums[end_M] - sums[begin_M]
        return counts_MG


_NONE = np.zeros(0, np.int64)
