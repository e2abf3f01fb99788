"""A generator whose answers one can tell by eye: the items that follow the newest one on a ring, as far as not seen."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save


class ToyGenerator:
    """ring: rows in the order of the ring. most: how many items it finds, each likelier by 1 than the next.

    histories, stars, seen: what it was told, call by call.
    """

    def __init__(self, ring: Sequence[int], most: int = 4) -> None:
        self.ring = list(ring)
        self.most = most
        self.histories: list[list[list[int]]] = []
        self.stars: list[Any] = []
        self.seen: list[Any] = []

    def generate(
        self, histories: Sequence[Any], stars: Sequence[Any] | None = None, seen: Sequence[Any] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        self.histories.append([list(map(int, history)) for history in histories])
        self.stars.append(stars)
        self.seen.append(seen)
        rows_BR = np.full((len(histories), self.most), -1, np.int64)
        values_BR = np.zeros((len(histories), self.most), np.float32)
        for place, history in enumerate(histories):
            start = self.ring.index(int(history[-1])) + 1
            known = {*map(int, history), *map(int, seen[place] if seen is not None else ())}
            found = [row for row in (self.ring[start:] + self.ring[:start]) if row not in known][: self.most]
            rows_BR[place, : len(found)] = found
            values_BR[place, : len(found)] = np.arange(len(found))[::-1]
        return rows_BR, values_BR

    def described(self) -> dict[str, Any]:
        return {"preset": "toy"}

    def parts(self, vocabulary: str) -> dict[str, bytes]:
        return {"p5.safetensors": save({"ring": np.array(self.ring)}, {"vocabulary": vocabulary})}
