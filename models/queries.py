"""What is asked of a pipeline and what it answers.

Shapes: L events of the history, D dimensions.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.events import ItemId, UserId
from features.profile import Position


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What is asked for, and for whom.

    history: oldest first, items may repeat; only the newest HISTORY_LENGTH are used, and all count as seen.
    categories: only items that have one of them; empty for any. diversity: in [0, 1], the pipeline's when None.
    id: the recommendation's. list_removed: whether to say which items were removed, and not only how many.
    times_L, values_L: epoch seconds and ratings (NaN for none) of the history, or None when they are not known.
    vector_D: the user's vector of the pipeline's model, already encoded from this history; None to have it encoded.
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


@dataclass(frozen=True, slots=True)
class Candidate:
    """score: comparable within one answer. source: "counts", "encoder", "popular", "trending", "new", "similar" or
    "unknown".

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
