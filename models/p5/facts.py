"""Explanations made from facts: what an item shares with earlier items that the user rated like it.

Where nobody wrote why, this is what a true explanation can say. Every claim is read off the history and the catalogue:
each item named is in the history with such stars, and has each category named, as has the item that is explained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HIGH: Final = 4  # stars from which on a user liked an item
LOW: Final = 2  # stars up to which a user disliked it
SHARED_MOST: Final = 2  # categories named
TITLES_MOST: Final = 2  # items named


@dataclass(frozen=True, slots=True)
class Evidence:
    """categories: shared by the item that is explained and every one of `items`. items: rows, the best first."""

    categories: tuple[str, ...]
    items: tuple[int, ...]


def evidence(item: Sequence[str], earlier: Sequence[tuple[int, Sequence[str]]]) -> Evidence | None:
    """What speaks for an item of these categories: of `earlier` items (row, categories), oldest first, the one that
    shares most of them, the newest of several; with it the next best that shares the same. None when none shares any.
    """
    shared = [(row, [name for name in item if name in names]) for row, names in reversed(earlier)]
    best = sorted((one for one in shared if one[1]), key=lambda one: -len(one[1]))
    if not best:
        return None
    categories = tuple(best[0][1][:SHARED_MOST])
    rows = dict.fromkeys(row for row, names in best if set(categories) <= set(names))
    return Evidence(categories, tuple(rows)[:TITLES_MOST])


def sentence(categories: Sequence[str], titles: Sequence[str], stars: int | None) -> str:
    """The evidence in words. stars: of the item that is explained, None without ratings."""
    named, kinds = " and ".join(titles), " and ".join(categories)
    if stars is None:
        return f"You had {named} before and this is {kinds} too."
    return f"You rated {named} {'high' if stars >= HIGH else 'low'} and this is {kinds} too."
