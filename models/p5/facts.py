"""Explanations made from facts: what an item shares with earlier items that the user rated like it.

Where nobody wrote why, this is what a true explanation can say. Every claim is read off the history and the catalogue:
each item named is in the history with such stars, and has each category named, as has the item that is explained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

HIGH: Final = 4  # stars from which on a user liked an item
LOW: Final = 2  # stars up to which a user disliked it
SHARED_MOST: Final = 2  # categories named
TITLES_MOST: Final = 2  # items named


class Manner(StrEnum):
    """What a user did with an item that is named."""

    HIGH = "You rated {} high"
    LOW = "You rated {} low"
    HAD = "You had {} before"


@dataclass(frozen=True, slots=True)
class Evidence:
    """categories: shared by the item that is explained and every one of `items`. items: rows, the best first."""

    manner: Manner
    categories: tuple[str, ...]
    items: tuple[int, ...]


def evidence(item: Sequence[str], earlier: Sequence[tuple[int, float, Sequence[str]]]) -> Evidence | None:
    """What speaks for an item of these categories: of `earlier` items (row, stars, categories), oldest first, the one
    that shares most of them, the newest of several; with it the next best that shares the same, and was rated alike.
    None when none shares any.
    """
    shared = [(row, manner_of(stars), [one for one in item if one in names]) for row, stars, names in reversed(earlier)]
    best = sorted((one for one in shared if one[2]), key=lambda one: -len(one[2]))
    if not best:
        return None
    _, manner, names = best[0]
    categories = tuple(names[:SHARED_MOST])
    rows = dict.fromkeys(row for row, how, also in best if how is manner and set(categories) <= set(also))
    return Evidence(manner, categories, tuple(rows)[:TITLES_MOST])


def manner_of(stars: float) -> Manner:
    """Of whole stars below HIGH and above LOW nothing is said but that the user had the item, as of NaN."""
    if stars >= HIGH:
        return Manner.HIGH
    return Manner.LOW if stars <= LOW else Manner.HAD


def sentence(found: Evidence, titles: Sequence[str]) -> str:
    """The evidence in words. titles: of its items."""
    return f"{found.manner.format(' and '.join(titles))} and this is {' and '.join(found.categories)} too."
