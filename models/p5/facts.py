"""Explanations made from facts: what an item shares with earlier items that the user rated like it.

Where nobody wrote why, this is what a true explanation can say. Every claim is read off the history and the catalogue:
each item named is in the history with such stars, and has each category named, as has the item that is explained.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, permutations
from typing import Final

HIGH: Final = 4  # stars from which on a user liked an item
LOW: Final = 2  # stars up to which a user disliked it
SHARED_MOST: Final = 2  # categories named
TITLES_MOST: Final = 2  # items named


class Manner(StrEnum):
    """What the user did with the items that are named."""

    HIGH = "You rated {} high"
    LOW = "You rated {} low"
    HAD = "You had {} before"


@dataclass(frozen=True, slots=True)
class Evidence:
    """categories: shared by the item that is explained and every one of `items`. items: rows, the best first."""

    manner: Manner
    categories: tuple[str, ...]
    items: tuple[int, ...]


def evidence(item: Sequence[str], earlier: Sequence[tuple[int, int, Collection[str]]]) -> Evidence | None:
    """What speaks for an item of these categories: of `earlier` items (row, whole stars or 0, categories), oldest
    first, the one that shares most of them, the newest of several; with it the next best that shares the same and was
    rated alike. None when none shares any.
    """
    best: tuple[int, int, list[str]] | None = None
    for row, stars, names in reversed(earlier):
        shared = [name for name in item if name in names]
        if len(shared) > (0 if best is None else len(best[2])):
            best = row, stars, shared
    if best is None:
        return None
    first, stars, shared = best
    manner, categories = manner_of(stars), shared[:SHARED_MOST]
    others = [
        (sum(name in names for name in item), place, row)
        for place, (row, given, names) in enumerate(earlier)
        if row != first and manner_of(given) is manner and all(name in names for name in categories)
    ]
    rows = dict.fromkeys(row for *_, row in sorted(others, reverse=True))
    return Evidence(manner, tuple(categories), (first, *rows)[:TITLES_MOST])


def true_sentences(item: Sequence[str], earlier: Sequence[tuple[str, int, Collection[str]]]) -> Iterator[str]:
    """Every sentence of this form that is true of an item of these categories, by `earlier` ones (title, whole stars or
    0, categories): by one or two of them that were rated alike, and one or two categories that all of them share."""
    for count in range(1, TITLES_MOST + 1):
        for some in permutations(earlier, count):
            manners = {manner_of(stars) for _, stars, _ in some}
            shared = [name for name in item if all(name in names for *_, names in some)]
            if len(manners) > 1:
                continue
            [manner] = manners
            for most in range(1, SHARED_MOST + 1):
                for names in combinations(shared, most):
                    yield _worded(manner, [title for title, *_ in some], names)


def manner_of(stars: int) -> Manner:
    """Of a rating between LOW and HIGH, as of none, nothing is said but that the user had the item."""
    if stars >= HIGH:
        return Manner.HIGH
    return Manner.LOW if 0 < stars <= LOW else Manner.HAD


def sentence(found: Evidence, titles: Sequence[str]) -> str:
    """The evidence in words. titles: of its items."""
    return _worded(found.manner, titles, found.categories)


def _worded(manner: Manner, titles: Sequence[str], categories: Sequence[str]) -> str:
    return f"{manner.format(' and '.join(titles))} and this is {' and '.join(categories)} too."
