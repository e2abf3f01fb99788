"""What a prompt tells of a user: the newest items, what was rated and liked, and the mean of stars.

A user who is asked about comes as a `Person`, a history in plain numbers; in training, where one history is met before
each of its events, the same is read off a `Timeline` of all of them, a slice at a time.
Shapes: E events, F = E + 1, L events of a history.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from features.errors import InvalidInput
from models.p5.facts import HIGH

Rated = list[tuple[int, int]]
"""(row, whole stars, 0 for none) of events, oldest first."""


class Past(Protocol):
    """A user up to now."""

    def newest(self, most: int) -> list[int]:
        """The rows of the newest events, oldest first."""

    def rated(self, most: int) -> Rated:
        """The newest events that have stars."""

    def liked(self, most: int) -> Rated:
        """The newest events that were not rated below HIGH."""

    def mean(self) -> float:
        """Of all stars; NaN when there are none."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user as a history: rows of items, the oldest first, and the stars given to them, NaN for none.

    Without `stars` none were given; give none to a model that was trained without.
    Raises InvalidInput when their numbers differ.
    """

    items: Sequence[int]
    stars: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.stars is not None and len(self.stars) != len(self.items):
            problem = f"{len(self.stars)} for {len(self.items)} items; give one for each, NaN for none"
            raise InvalidInput("stars", problem)

    def newest(self, most: int) -> list[int]:
        return list(self.items[-most:])

    def rated(self, most: int) -> Rated:
        return [one for one in self._numbered() if one[1]][-most:]

    def liked(self, most: int) -> Rated:
        return [one for one in self._numbered() if one[1] == 0 or one[1] >= HIGH][-most:]

    def mean(self) -> float:
        given = [stars for stars in self.stars or () if not math.isnan(stars)]
        return sum(given) / len(given) if given else math.nan

    def _numbered(self) -> Rated:
        stars = [math.nan] * len(self.items) if self.stars is None else self.stars
        return [(item, star_number(one)) for item, one in zip(self.items, stars, strict=True)]


class Timeline:
    """The events of all users, one after another: who a user was before any of their events."""

    def __init__(self, items_E: NDArray[np.int64], values_E: NDArray[np.float32]) -> None:
        numbers_E = star_numbers(values_E)
        self.items_E = items_E
        self.rated = _Kept(items_E, numbers_E, numbers_E > 0)
        self.liked = _Kept(items_E, numbers_E, (numbers_E == 0) | (numbers_E >= HIGH))
        self.sums_F = np.concatenate([[0.0], np.cumsum(np.nan_to_num(values_E.astype(np.float64)))])

    def before(self, event: int, length: int) -> Past:
        """The user of an event as the `length` events before it tell."""
        return _Moment(self, event - length, event)


class _Kept:
    """Some of the events, together. before_F: how many of them stand before each event, and before the end."""

    def __init__(self, items_E: NDArray[np.int64], numbers_E: NDArray[np.int64], is_kept_E: NDArray[np.bool_]) -> None:
        self.items = items_E[is_kept_E]
        self.numbers = numbers_E[is_kept_E]
        self.before_F = np.concatenate([[0], np.cumsum(is_kept_E)])

    def newest(self, begin: int, end: int, most: int) -> Rated:
        last = self.before_F.item(end)
        first = max(self.before_F.item(begin), last - most)
        return list(zip(self.items[first:last].tolist(), self.numbers[first:last].tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class _Moment:
    timeline: Timeline
    begin: int
    end: int

    def newest(self, most: int) -> list[int]:
        newest: list[int] = self.timeline.items_E[max(self.begin, self.end - most) : self.end].tolist()
        return newest

    def rated(self, most: int) -> Rated:
        return self.timeline.rated.newest(self.begin, self.end, most)

    def liked(self, most: int) -> Rated:
        return self.timeline.liked.newest(self.begin, self.end, most)

    def mean(self) -> float:
        before_F, sums_F = self.timeline.rated.before_F, self.timeline.sums_F
        count = before_F.item(self.end) - before_F.item(self.begin)
        return (sums_F.item(self.end) - sums_F.item(self.begin)) / count if count else math.nan


def star_number(stars: float) -> int:
    """Whole stars from 1 to 5, a half counted as the more; 0 for NaN."""
    return 0 if math.isnan(stars) else min(5, max(1, int(stars + 0.5)))


def star_numbers(values_E: NDArray[np.float32]) -> NDArray[np.int64]:
    """The same for many."""
    given_E = np.clip(np.floor(np.nan_to_num(values_E) + 0.5), 1, 5)
    return np.where(np.isnan(values_E), 0, given_E).astype(np.int64)
