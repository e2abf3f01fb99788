"""An encoder whose vectors one can tell by eye: how many events, the sum of their items, seconds since a fixed time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.recommender import Query

EPOCH = 1_700_000_000.0


class ToyEncoder:
    """sizes: how many users each call encoded."""

    def __init__(self, model: str | None = "toy", scale: float = 1.0) -> None:
        self.encoder_model = model
        self.scale = scale
        self.sizes: list[int] = []

    def vectors(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        self.sizes.append(len(queries))
        return np.array([self._vector(query) for query in queries], np.float32) * np.float32(self.scale)

    @staticmethod
    def _vector(query: Query) -> list[float]:
        newest = 0.0 if query.times_L is None else float(query.times_L[-1]) - EPOCH
        return [len(query.history), sum(map(float, query.history)), newest]
