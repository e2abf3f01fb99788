"""The items that can be recommended, as they are now: titles, categories, what is hidden.

One catalogue lives as long as the process and outlives the bundles. One thread puts, any number read.
Shapes: C items in the order they came, R category bits.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.events import ItemId
from features.items import Item, version

CATEGORY_BITS: Final = 256  # more categories than this share bits, which only similarity between items sees


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The catalogue at one version. hidden_C and packed_CR8 may hold more rows than there are items.

    packed_CR8: each item's categories as bits, eight to a byte. used_bits: how many of them stand for a category.
    """

    version: int
    count: int
    items: list[Item]
    hidden_C: NDArray[np.bool_]
    packed_CR8: NDArray[np.uint8]
    used_bits: int


class Catalogue:
    """Items by id. `version` grows with every change, so that what was derived from the catalogue can tell."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self.version = 0
        self._lock = Lock()
        self._row_of: dict[ItemId, int] = {}
        self._items: list[Item] = []
        self._hidden_C = np.zeros(1024, np.bool_)
        self._packed_CR8 = np.zeros((1024, CATEGORY_BITS // 8), np.uint8)
        self._rows_of_category: dict[str, set[int]] = {}
        self._bit_of_category: dict[str, int] = {}
        self.put(items)

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: Iterable[Item]) -> int:
        """Adds items or new versions of them, the greater `version(item)` wins; how many changed something."""
        changed = 0
        with self._lock:
            for item in items:
                row = self._row_of.get(item.id)
                if row is None:
                    self._add(item)
                elif version(item) > version(self._items[row]):
                    self._replace(row, item)
                else:
                    continue
                changed += 1
            if changed:
                self.version += 1
        return changed

    def get(self, item: ItemId) -> Item | None:
        """The item as it is now, or None."""
        row = self._row_of.get(item)
        return None if row is None else self._items[row]

    def title(self, item: ItemId) -> str:
        """The item's title, or its id when it has none."""
        row = self._row_of.get(item)
        return (self._items[row].title if row is not None else "") or item

    def items(self) -> list[Item]:
        """All of them, hidden ones included, in the order they came."""
        with self._lock:
            return list(self._items)

    def categories(self) -> list[str]:
        """The names of the categories that items have or had, sorted."""
        with self._lock:
            return sorted(self._rows_of_category)

    def rows(self, items: Iterable[ItemId]) -> NDArray[np.int64]:
        """The place of each item in the order they came, -1 for one that is not here; it never changes."""
        row_of = self._row_of
        return np.fromiter((row_of.get(item, -1) for item in items), np.int64)

    def rows_in(self, categories: Iterable[str]) -> NDArray[np.int64]:
        """The places of the items that have at least one of these categories."""
        with self._lock:
            rows: set[int] = set().union(*(self._rows_of_category.get(name, ()) for name in categories))
        return np.fromiter(rows, np.int64, len(rows))

    def snapshot(self) -> Snapshot:
        """The arrays as they are now; a later change of an item may show in them, its version does not."""
        with self._lock:
            used = min(len(self._bit_of_category), CATEGORY_BITS)
            return Snapshot(self.version, len(self._items), self._items, self._hidden_C, self._packed_CR8, used)

    def _add(self, item: Item) -> None:
        row = len(self._items)
        if row == len(self._hidden_C):
            self._hidden_C = np.concatenate([self._hidden_C, np.zeros_like(self._hidden_C)])
            self._packed_CR8 = np.concatenate([self._packed_CR8, np.zeros_like(self._packed_CR8)])
        self._items.append(item)
        self._describe(row, item)
        self._row_of[item.id] = row  # last: whoever finds the row finds the rest

    def _replace(self, row: int, item: Item) -> None:
        for name in self._items[row].categories:
            self._rows_of_category[name].discard(row)
        self._items[row] = item
        self._describe(row, item)

    def _describe(self, row: int, item: Item) -> None:
        self._hidden_C[row] = item.hidden
        bits_R = np.zeros(CATEGORY_BITS, np.uint8)
        for name in item.categories:
            bit = self._bit_of_category.setdefault(name, len(self._bit_of_category))
            bits_R[bit % CATEGORY_BITS] = 1
            self._rows_of_category.setdefault(name, set()).add(row)
        self._packed_CR8[row] = np.packbits(bits_R)
