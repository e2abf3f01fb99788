"""How good a ranking is: ranks with ties against the target, hit rate, NDCG, and a paired bootstrap.

Shapes: U users, N items, K cut-offs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the 2.5 % and 97.5 % points of its bootstrap distribution."""

    value: float
    low: float
    high: float


def ranks(scores_UN: NDArray[np.float32], targets_U: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each target in its row, from 1; an item that ties with the target stands before it.

    A target whose score is -inf (a masked one) is placed last.
    """
    at_target_U1 = np.take_along_axis(scores_UN, targets_U[:, None], axis=1)
    return np.asarray((scores_UN >= at_target_U1).sum(axis=1), dtype=np.int64)


def hit_rate(ranks_U: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 for each user whose target is among the first k, else 0."""
    return (ranks_U <= k).astype(np.float64)


def ndcg(ranks_U: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 / log2(rank + 1) of each user's one target when it is among the first k, else 0 (the ideal is 1)."""
    return np.where(ranks_U <= k, 1.0 / np.log2(ranks_U + 1.0), 0.0)


def bootstrap(values_U: NDArray[np.float64], resamples: int, seed: int) -> Interval:
    """The mean over users, and its spread over resamples of the users; for a difference, pass paired differences."""
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    for resample in range(resamples):
        means[resample] = values_U[generator.integers(0, len(values_U), len(values_U))].mean()
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values_U.mean()), float(low), float(high))


def summary(ranks_U: NDArray[np.int64], cut_offs: Sequence[int] = (5, 10)) -> dict[str, float]:
    """hr@K and ndcg@K, each the mean over users."""
    measures: dict[str, float] = {}
    for k in cut_offs:
        measures[f"hr@{k}"] = float(hit_rate(ranks_U, k).mean())
        measures[f"ndcg@{k}"] = float(ndcg(ranks_U, k).mean())
    return measures
