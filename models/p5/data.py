"""What P5 is trained on: who had which items in which order, what the items say of themselves, and reviews.

The training part only: whoever builds it has cut off what is to be predicted.
Shapes: E events, U users, V = U + 1, N items, R items that occur.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from features.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Review:
    """event: its place among the events. headline, text: as written, "" for none."""

    event: int
    headline: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class P5Data:
    """items_E: item rows, each user's oldest first, users one after another from starts_V on.

    values_E: stars, NaN for none. targets_U, target_values_U: each user's next item, on which training is validated
    or the model measured, and its stars; -1 and NaN for a user who has none. titles, categories: of each row.
    reviews: of some of the events, in their order. target_reviews: of some of the targets, `event` being the user.
    """

    items_E: NDArray[np.int64]
    values_E: NDArray[np.float32]
    starts_V: NDArray[np.int64]
    targets_U: NDArray[np.int64]
    target_values_U: NDArray[np.float32]
    titles: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    reviews: tuple[Review, ...] = ()
    target_reviews: tuple[Review, ...] = ()

    def __post_init__(self) -> None:
        """Raises InvalidInput when an item is no row of the items, or the parts do not fit."""
        if len(self.categories) != len(self.titles):
            raise InvalidInput("data", f"{len(self.categories)} items have categories, {len(self.titles)} titles")
        if len(self.values_E) != len(self.items_E) or self.starts_V[-1] != len(self.items_E):
            raise InvalidInput("data", "items, values and starts are not of the same events")
        if not len(self.targets_U) == len(self.target_values_U) == self.n_users:
            raise InvalidInput("data", f"{len(self.targets_U)} targets for {self.n_users} users")
        if self.items_E.min(initial=0) < 0 or self.items_E.max(initial=-1) >= self.n_items:
            raise InvalidInput("data", "an event's item is no row of the items")
        if self.targets_U.min(initial=-1) < -1 or self.targets_U.max(initial=-1) >= self.n_items:
            raise InvalidInput("data", "a target is no row of the items")
        if any(not 0 <= review.event < len(self.items_E) for review in self.reviews):
            raise InvalidInput("data", "a review is of no event")
        if any(not 0 <= review.event < self.n_users for review in self.target_reviews):
            raise InvalidInput("data", "a review is of no user's target")

    @property
    def n_items(self) -> int:
        return len(self.titles)

    @property
    def n_users(self) -> int:
        return len(self.starts_V) - 1

    def by_appearance(self) -> NDArray[np.int64]:
        """rows_R: the rows that occur, by first appearance, users in their order: an order free of the rows."""
        rows_R, firsts_R = np.unique(self.items_E, return_index=True)
        return rows_R[np.argsort(firsts_R)]


_ARRAYS: Final = ("items_E", "values_E", "starts_V", "targets_U", "target_values_U")
_TEXTS: Final = ("titles", "categories", "reviews", "target_reviews")


def save_data(data: P5Data, path: Path) -> None:
    """Writes everything to one safetensors file; the texts are JSON in arrays of bytes."""
    arrays = {name: np.ascontiguousarray(getattr(data, name)) for name in _ARRAYS}
    texts = {name: np.frombuffer(json.dumps(getattr(data, name), default=asdict).encode(), np.uint8) for name in _TEXTS}
    save_file(arrays | texts, path)


def load_data(path: Path) -> P5Data:
    """What `save_data` wrote."""
    arrays = load_file(path)
    titles, categories, *reviews = (json.loads(arrays.pop(name).tobytes()) for name in _TEXTS)
    known, targets = (tuple(Review(**one) for one in some) for some in reviews)
    return P5Data(
        **arrays, titles=tuple(titles), categories=tuple(map(tuple, categories)), reviews=known, target_reviews=targets
    )
