"""Ranks of the targets as figures of a model: means over users and runs, spread, and thirds of the users.

Shapes: U users.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.metrics import bootstrap as resampled
from models.metrics import ndcg, summary

K: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """ranks_U: of the targets; a rank beyond K only says that it is beyond."""

    ranks_U: NDArray[np.int64]
    fit_s: float
    weights: Mapping[str, float]


def figures(measured: Sequence[Measured], bootstrap: int) -> dict[str, Any]:
    """Of one model, over its runs; with a spread over users where there are resamples."""
    runs = [summary(run.ranks_U) for run in measured]
    found: dict[str, Any] = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
    found["users"] = len(measured[0].ranks_U)
    found["fit_s"] = round(float(np.median([run.fit_s for run in measured])), 3)
    found["ndcg@10_runs"] = [run["ndcg@10"] for run in runs]
    if bootstrap:
        spread = resampled(values_of(measured), bootstrap, seed=0)
        found["ndcg@10_low"], found["ndcg@10_high"] = spread.low, spread.high
    return found


def by_activity(runs: Mapping[str, Sequence[Measured]], histories_U: NDArray[np.int64]) -> list[dict[str, Any]]:
    """NDCG@10 of each model for thirds of the users, those with the shortest histories first."""
    thirds = np.array_split(np.argsort(histories_U, kind="stable"), min(3, len(histories_U)))
    by_model = {name: values_of(measured) for name, measured in runs.items()}
    return [
        {
            "histories": [int(histories_U[third].min()), int(histories_U[third].max())],
            "users": len(third),
            "ndcg@10": {name: float(values_U[third].mean()) for name, values_U in by_model.items()},
        }
        for third in thirds
    ]


def values_of(measured: Sequence[Measured]) -> NDArray[np.float64]:
    """NDCG@10 of each user, the mean over the runs (whose users are the same, in the same order)."""
    return np.asarray(np.mean([ndcg(run.ranks_U, K) for run in measured], axis=0), np.float64)
