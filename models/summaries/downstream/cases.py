"""What is asked of a downstream model: an event of a user, and nothing of it told but what came before.

    events, oldest first:  [ learnt from .......... | validation (5) | test (10) ]

Shapes: E events, U users (V = U + 1), N items, L levels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.errors import InvalidInput
from features.events import Event, EventId, ItemId, UserId
from features.frames import Sequences, at_least, ordered, sequences
from features.items import Item
from models.summaries.downstream.config import DownstreamConfig
from models.summaries.entries import Entry, entries_of, name_of
from models.vocabulary import Vocabulary

LEVELS_MOST = 10  # different values: a scale of more is no scale of stars


class Task(StrEnum):
    RATING = "rating"  # which value the user gives an item
    CHOICE = "choice"  # which of several items the user had next


class Case(NamedTuple):
    """user, place: the event, by the user's number and how many of the user's events came before. item: its row. level:
    of the scale, -1 where the event has no value. candidates: rows, the item among them."""

    user: int
    place: int
    item: int
    level: int
    candidates: tuple[int, ...]


def rows_of(task: Task, case: Case) -> tuple[int, ...]:
    """The items that a case asks about."""
    return (case.item,) if task is Task.RATING else case.candidates


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """A data set as cases are made of it: users who have enough events, theirs oldest first.

    events: as `ordered` gives them. past: the same in rows. entries: the same as they are quoted, a list a user.
    items: the frame of items. names: (title, categories) of each row, cleaned. levels_L: the values that there are,
    ascending. learnt_U: how many of each user's events are learnt from.
    """

    events: pl.DataFrame
    items: pl.DataFrame
    vocabulary: Vocabulary
    past: Sequences
    entries: Sequence[Sequence[Entry]]
    names: Sequence[tuple[str, tuple[str, ...]]]
    levels_L: NDArray[np.float64]
    learnt_U: NDArray[np.int64]

    def learnt_items(self) -> list[NDArray[np.int64]]:
        """The items of each user's events that are learnt from, oldest first."""
        return [self.rows(user)[:learnt] for user, learnt in enumerate(self.learnt_U.tolist())]

    def rows(self, user: int) -> NDArray[np.int64]:
        """The items of a user's events, oldest first."""
        return self.past.items_E[self.past.starts_V[user] : self.past.starts_V[user + 1]]


@dataclass(frozen=True, slots=True)
class Cases:
    training: Sequence[Case]
    validation: Sequence[Case]
    test: Sequence[Case]

    def of(self, task: Task) -> "Cases":
        """Those that a task can ask about: a rating is asked for where there is one."""
        if task is Task.CHOICE:
            return self
        return Cases(
            *([case for case in part if case.level >= 0] for part in (self.training, self.validation, self.test))
        )


def log_of(events: pl.DataFrame, items: pl.DataFrame, config: DownstreamConfig) -> Log:
    """Raises InvalidInput when no user has events enough to be asked about."""
    least = config.earlier + config.validation + config.test
    events = at_least(ordered(events), least)
    if events.is_empty():
        raise InvalidInput("data", f"no user has {least} events; bring more events, or set fewer to be asked about")
    vocabulary = Vocabulary.of([*items["item"], *events["item"]])
    past = sequences(events, vocabulary.items)
    values = events["value"].drop_nulls().drop_nans()
    levels_L = np.unique(values.to_numpy())
    known = {
        ItemId(item): Item(ItemId(item), title, "", tuple(categories))
        for item, title, categories in items.select("item", "title", "categories").iter_rows()
    }
    return Log(
        events=events,
        items=items,
        vocabulary=vocabulary,
        past=past,
        entries=_entries(events, past, known),
        names=[name_of(item, known.get(item)) for item in vocabulary.items],
        levels_L=levels_L if len(levels_L) <= LEVELS_MOST else levels_L[:0],
        learnt_U=np.diff(past.starts_V) - config.test - config.validation,
    )


def cases_of(log: Log, config: DownstreamConfig, seed: int) -> Cases:
    """Which events are asked about, and the candidates of each.

    Candidates are items that the user had not had: the items of events that are learnt from, drawn at random, so that
    how often an item is had tells nothing of which candidate is the true one.
    """
    pool_E = np.concatenate(log.learnt_items())
    training: list[Case] = []
    validation: list[Case] = []
    test: list[Case] = []
    for user, learnt in enumerate(log.learnt_U.tolist()):
        places = np.arange(config.earlier, learnt)
        chosen = np.random.default_rng((seed, 0, user)).permutation(places)[: config.cases]
        asked = learnt + np.arange(config.validation + config.test)
        parts = (
            (training, np.sort(chosen)),
            (validation, asked[: config.validation]),
            (test, asked[config.validation :]),
        )
        for part, places in parts:
            part += [_case(log, pool_E, user, place, config.candidates, seed) for place in places.tolist()]
    return Cases(training, validation, test)


def _case(log: Log, pool_E: NDArray[np.int64], user: int, place: int, count: int, seed: int) -> Case:
    rows = log.rows(user)
    had = set(rows[: max(place, int(log.learnt_U[user]))].tolist())
    item = int(rows[place])
    rng = np.random.default_rng((seed, 1, user, place))
    drawn = dict.fromkeys(pool_E[rng.integers(0, len(pool_E), 64 * count)].tolist())
    candidates = [row for row in drawn if row not in had and row != item][: count - 1]
    candidates.insert(int(rng.integers(0, len(candidates) + 1)), item)
    value = float(log.past.values_E[log.past.starts_V[user] + place])
    is_rated = len(log.levels_L) > 0 and not np.isnan(value)
    level = int(np.abs(log.levels_L - value).argmin()) if is_rated else -1  # the nearest, for `past` is of float32
    return Case(user, place, item, level, tuple(candidates))


def _entries(events: pl.DataFrame, past: Sequences, known: Mapping[ItemId, Item]) -> list[list[Entry]]:
    rows = events.select("event_id", "user", "item", "type", "value", "at").iter_rows()
    told = [
        Event(EventId(event), UserId(user), ItemId(item), kind, value, at)
        for event, user, item, kind, value, at in rows
    ]
    entries = entries_of(told, known.get)
    return [entries[begin:end] for begin, end in pairwise(past.starts_V.tolist())]
