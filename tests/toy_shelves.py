"""A shop of shelves: what is said of an item names its shelf, and users keep to one shelf."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from toy_p5 import by_hand

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


def shelves(users: int = 120, length: int = 8, seed: int = 0) -> P5Data:
    """Of every shelf the last two items are never chosen."""
    generator = np.random.default_rng(seed)
    histories = [
        [user % len(SHELVES) * SIZE + place for place in generator.permutation(SIZE - 2)[:length].tolist()]
        for user in range(users)
    ]
    rows = range(len(SHELVES) * SIZE)
    return by_hand(
        histories,
        titles=[title_of(row) for row in rows],
        categories=[(SHELVES[shelf_of(row)].title(),) for row in rows],
    )


def renumbered(data: P5Data, new_N: NDArray[np.int64]) -> P5Data:
    """The same events, where the item of row r has row new_N[r]."""
    old_N = np.argsort(new_N).tolist()
    titles, categories = ([said[row] for row in old_N] for said in (data.titles, data.categories))
    return replace(data, items_E=new_N[data.items_E], titles=tuple(titles), categories=tuple(categories))
