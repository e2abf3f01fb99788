"""How good answers are: figures of users' means, and paired differences, with intervals of resampled users.

Shapes: X cases, U users, A answers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.p5.measures import resampled
from models.summaries.downstream.answers import ranks, ratings
from models.summaries.downstream.cases import Case, Task


class Measure(NamedTuple):
    """of: the figure of users' means. sign: 1 where more is better, -1 where less is."""

    of: Callable[[NDArray[np.float64]], float]
    sign: int


def _mean(values_U: NDArray[np.float64]) -> float:
    return float(values_U.mean())


def _root(squares_U: NDArray[np.float64]) -> float:
    return float(np.sqrt(squares_U.mean()))


MEASURES: Final[Mapping[str, Measure]] = {
    "mae": Measure(_mean, -1),
    "rmse": Measure(_root, -1),
    "accuracy": Measure(_mean, 1),
    "mrr": Measure(_mean, 1),
}
MAIN: Final[Mapping[Task, str]] = {Task.RATING: "mae", Task.CHOICE: "accuracy"}
Means = Mapping[str, NDArray[np.float64]]
"""By the measure's name, means_U of each user's cases: absolute and square errors, hits, and reciprocal ranks."""


def means_of(
    task: Task, scores_XA: NDArray[np.float32], cases: Sequence[Case], levels_L: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """The users' means, in the order of the users' numbers."""
    if task is Task.RATING:
        errors_X = ratings(scores_XA, levels_L) - levels_L[[case.level for case in cases]]
        values = {"mae": np.abs(errors_X), "rmse": np.square(errors_X)}
    else:
        ranks_X = ranks(scores_XA, cases)
        values = {"accuracy": (ranks_X == 1).astype(np.float64), "mrr": 1.0 / ranks_X}
    users_X = np.unique([case.user for case in cases], return_inverse=True)[1]
    counts_U = np.bincount(users_X)
    return {name: np.bincount(users_X, value_X) / counts_U for name, value_X in values.items()}


def figures(means: Means, resamples: int, seed: int) -> dict[str, dict[str, float]]:
    """{measure: {value, low, high}}; low and high of 95 %."""
    return {name: _spread(MEASURES[name].of, means_U, resamples, seed) for name, means_U in means.items()}


def differences(ours: Means, others: Means, resamples: int, seed: int) -> dict[str, dict[str, float]]:
    """The same of paired differences, more of which is better for ours: those of mae are named -mae."""
    found = {}
    for name, ours_U in ours.items():
        of, sign = MEASURES[name]

        def gap(both_2U: NDArray[np.float64], of: Callable[..., float] = of, sign: int = sign) -> float:
            return sign * (of(both_2U[0]) - of(both_2U[1]))

        found[name if sign > 0 else f"-{name}"] = _spread(gap, np.stack([ours_U, others[name]]), resamples, seed)
    return found


def _spread(
    of: Callable[[NDArray[np.float64]], float], values: NDArray[np.float64], resamples: int, seed: int
) -> dict[str, float]:
    """Of a figure of users, who are the last axis of the values."""
    return asdict(resampled(lambda users: of(values[..., users]), values.shape[-1], resamples, seed))
