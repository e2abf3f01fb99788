"""A shop of shelves: what is said of an item names its shelf, and users keep to one shelf."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.p5.data import P5Data

SHELVES = ("tea", "boots", "novels", "lamps")
SIZE = 30
COLOURS = ("red", "blue", "green", "black", "white", "brown")


def shelf_of(row: int) -> int:
    return row // SIZE


def title_of(row: int) -> str:
    """Three words, of which two name the shelf."""
    place, shelf = row % SIZE, SHELVES[shelf_of(row)]
    return f"{COLOURS[place % len(COLOURS)].title()} {shelf}, {shelf}{place // len(COLOURS)}"


def data_of(histories: Sequence[Sequence[int]], titles: Sequence[str], categories: Sequence[tuple[str, ...]]) -> P5Data:
    starts_V = np.cumsum([0, *map(len, histories)]).astype(np.int64)
    items_E = np.array([row for history in histories for row in history], np.int64)
    return P5Data(
        items_E,
        np.full(len(items_E), np.nan, np.float32),
        starts_V,
        np.full(len(histories), -1, np.int64),
        np.full(len(histories), np.nan, np.float32),
        tuple(titles),
        tuple(categories),
    )


def shelves(users: int = 120, length: int = 8, seed: int = 0) -> P5Data:
    """Of every shelf the last two items are never chosen."""
    generator = np.random.default_rng(seed)
    histories = [
        [user % len(SHELVES) * SIZE + place for place in generator.permutation(SIZE - 2)[:length].tolist()]
        for user in range(users)
    ]
    rows = range(len(SHELVES) * SIZE)
    return data_of(histories, [title_of(row) for row in rows], [(SHELVES[shelf_of(row)].title(),) for row in rows])


def renumbered(data: P5Data, new_N: NDArray[np.int64]) -> P5Data:
    """The same events, where the item of row r has row new_N[r]."""
    old_N = np.argsort(new_N).tolist()
    return P5Data(
        new_N[data.items_E],
        data.values_E,
        data.starts_V,
        data.targets_U,
        data.target_values_U,
        tuple(data.titles[row] for row in old_N),
        tuple(data.categories[row] for row in old_N),
    )
