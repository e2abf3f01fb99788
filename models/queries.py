"""What is asked of a pipeline and what it answers.

Shapes: B queries, L events of the history, D dimensions, R items found by a generator.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.events import ItemId, UserId
from features.profile import Position
from models.counts.neighbours import HISTORY_LENGTH
from models.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Generated:
    """What a pipeline's generator found for a history: items, best first, and how far each log-probability is above
    the last one's."""

    items: tuple[ItemId, ...] = ()
    values: tuple[float, ...] = ()


NOT_GENERATED: Final = Generated()  # says nothing of any item: to be answered without, and at once


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What is asked for, and for whom.

    history: oldest first, items may repeat; only the newest HISTORY_LENGTH are used, and all count as seen.
    categories: only items that have one of them; empty for any. diversity: in [0, 1], the pipeline's when None.
    id: the recommendation's. list_removed: whether to say which items were removed, and not only how many.
    times_L, values_L: epoch seconds and ratings (NaN for none) of the history, or None when they are not known.
    vector_D: the user's vector of the pipeline's model, already encoded from this history; None to have it encoded.
    oldest: the time of the oldest event of the whole history, epoch seconds; None when that is not known, or older ones
    may have made room for new ones.
    generated: what the pipeline's generator found for this history; None to have it found, which takes far longer than
    all the rest; NOT_GENERATED to do without.
    """

    user: UserId
    history: tuple[ItemId, ...] = ()
    seen: Collection[ItemId] = frozenset()
    k: int = 10
    exclude: Collection[ItemId] = ()
    categories: Collection[str] = ()
    id: str = ""
    as_of: Position | None = None
    diversity: float | None = None
    list_removed: bool = False
    times_L: NDArray[np.float64] | None = None
    values_L: NDArray[np.float32] | None = None
    vector_D: NDArray[np.float32] | None = None
    generated: Generated | None = None
    oldest: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """score: comparable within one answer. source: "counts", "encoder", "p5", "popular", "trending", "new", "similar"
    or "unknown".

    reason: a phrase for people. because: the item of the user's history that the reason names.
    """

    item: ItemId
    score: float
    source: str
    reason: str
    because: ItemId | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """removed: how many items each filter took out; an item is counted once, by the first filter that removes it."""

    id: str
    items: tuple[Candidate, ...]
    removed: Mapping[str, int]
    model: str
    as_of: Position | None
    removed_items: tuple[tuple[ItemId, str], ...] = ()


def histories_of(
    queries: Sequence[Query], vocabulary: Vocabulary
) -> tuple[list[list[int]], list[NDArray[np.float64] | None], list[NDArray[np.float32] | None]]:
    """(the newest HISTORY_LENGTH items as rows, their times, their values), without those that the vocabulary lacks."""
    get = vocabulary.row_of.get
    histories: list[list[int]] = []
    times: list[NDArray[np.float64] | None] = []
    values: list[NDArray[np.float32] | None] = []
    for query in queries:
        rows_L = np.array([get(item, -1) for item in query.history[-HISTORY_LENGTH:]], np.int64)
        is_known_L = rows_L >= 0
        histories.append(rows_L[is_known_L].tolist())
        times.append(None if query.times_L is None else query.times_L[-HISTORY_LENGTH:][is_known_L])
        values.append(None if query.values_L is None else query.values_L[-HISTORY_LENGTH:][is_known_L])
    return histories, times, values


def found_of(queries: Sequence[Query], vocabulary: Vocabulary) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(rows_BR, values_BR) of what was generated for the queries; -1 for padding and what the vocabulary lacks."""
    get = vocabulary.row_of.get
    brought = [query.generated or NOT_GENERATED for query in queries]
    most = max(len(generated.items) for generated in brought)
    rows_BR = np.full((len(queries), most), -1, np.int64)
    values_BR = np.zeros((len(queries), most), np.float32)
    for place, generated in enumerate(brought):
        rows_BR[place, : len(generated.items)] = [get(item, -1) for item in generated.items]
        values_BR[place, : len(generated.items)] = generated.values
    return rows_BR, values_BR
