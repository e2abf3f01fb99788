"""Fusion: several models' scores for a history become one.

Each model's scores are divided by their root mean square over the catalogue, for each history anew, and added up with
one weight a model; log-popularity is one more term. The weights are the maximum of a conditional logit (McFadden, 1974)
over validation targets: the chance of the target among the items that any model ranks high is the softmax of the fused
scores. That is convex and smooth, needs no search and no seed beyond the sample, and with five weights it fits half of
MovieLens' 943 users as well as all of them.
Shapes: N items, B histories, M models with a table, P pooled candidates, F = M + 1 terms (the last is popularity).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.counts.neighbours import Gathered, History, Neighbours, Stack
from models.counts.popularity import Popularity

POOLED: Final = 100  # candidates that each model adds to a user's pool
SAMPLE: Final = 3000  # validation users that the weights are chosen on
RIDGE: Final = 1e-3
_BLOCK: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """evidence_BN: what the history says, 0 where it says nothing. scales_BM: what each table's part counts in it."""

    evidence_BN: NDArray[np.float64]
    scales_BM: NDArray[np.float64]
    gathered: Gathered

    def only(self, place: int) -> "Fused":
        """The part of one history."""
        return Fused(self.evidence_BN[place : place + 1], self.scales_BM[place : place + 1], self.gathered.only(place))


class Fusion:
    """The tables of several models, ready to score together. weights_F: one a table, then popularity's."""

    def __init__(self, tables: Sequence[Neighbours], popularity: Popularity, weights_F: NDArray[np.float64]) -> None:
        self.stack = Stack(tables)
        self.weights_F = weights_F
        self.popular_N = popularity.log_counts().astype(np.float64) * weights_F[-1]

    def score(self, histories: Sequence[History | list[int]]) -> Fused:
        """The fused evidence of each history (item rows, oldest first); popularity is not in it yet."""
        gathered = self.stack.gather(histories)
        parts_BMN = gathered.parts()
        scales_BM = self.weights_F[:-1] / _sizes(parts_BMN)
        evidence_BN = np.matmul(scales_BM[:, None, :], parts_BMN)[:, 0]
        return Fused(evidence_BN, scales_BM, gathered)


def choose_weights(
    tables: Sequence[Neighbours],
    popularity: Popularity,
    histories: Sequence[History],
    seen: Sequence[History],
    targets: Sequence[int],
    seed: int,
) -> NDArray[np.float64]:
    """weights_F for these validation users: what each was fed with, has seen, and chose next.

    Tables and popularity are of events before the targets. Deterministic for a seed, which draws the users when there
    are more than SAMPLE. A user whose target no model ranks high, or who has seen it before, teaches nothing.
    """
    n_users = len(targets)
    users = np.arange(n_users)
    if n_users > SAMPLE:
        users = np.sort(np.random.default_rng(seed).choice(n_users, SAMPLE, replace=False))
    stack = Stack(tables)
    popular_N = popularity.log_counts().astype(np.float64)
    lessons: list[tuple[NDArray[np.float64], int]] = []
    for start in range(0, len(users), _BLOCK):
        block = users[start : start + _BLOCK]
        parts_BMN = stack.gather([histories[user] for user in block]).parts()
        parts_BMN /= _sizes(parts_BMN)[:, :, None]
        for place, user in enumerate(block):
            terms_FN = np.concatenate([parts_BMN[place], popular_N[None]])
            pool_P = _pool(terms_FN, seen[user])
            at = np.searchsorted(pool_P, targets[user])
            if at < len(pool_P) and pool_P[at] == targets[user]:
                lessons.append((terms_FN[:, pool_P], int(at)))
    return _conditional_logit(lessons, len(tables) + 1)


def _sizes(parts_BMN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean squares over the items; almost 0 where every score is 0."""
    squares_BM = np.einsum("bmn,bmn->bm", parts_BMN, parts_BMN)
    return np.asarray(np.sqrt(squares_BM / parts_BMN.shape[2] + 1e-18))


def _pool(terms_FN: NDArray[np.float64], seen: History) -> NDArray[np.int64]:
    """The rows that some term ranks among its first POOLED, sorted, without those seen."""
    scores_FN = terms_FN.copy()
    scores_FN[:, seen] = -np.inf
    most = min(POOLED, scores_FN.shape[1])
    high = np.unique(np.argpartition(-scores_FN, most - 1, axis=1)[:, :most])
    return high[~np.isin(high, seen)]


def _conditional_logit(lessons: Sequence[tuple[NDArray[np.float64], int]], n_terms: int) -> NDArray[np.float64]:
    """The weights of the terms that make the targets likeliest; equal ones when there is nothing to learn from."""
    if not lessons:
        return np.append(np.ones(n_terms - 1), 0.1)
    widest = max(terms_FP.shape[1] for terms_FP, _ in lessons)
    terms_UPF = np.zeros((len(lessons), widest, n_terms))
    absent_UP = np.ones((len(lessons), widest), bool)
    for user, (terms_FP, _) in enumerate(lessons):
        terms_UPF[user, : terms_FP.shape[1]] = terms_FP.T
        absent_UP[user, : terms_FP.shape[1]] = False
    chosen_UF = terms_UPF[np.arange(len(lessons)), [at for _, at in lessons]]
    units_F = terms_UPF[~absent_UP].std(axis=0)
    units_F[units_F == 0] = 1.0
    terms_UPF /= units_F
    chosen_UF = chosen_UF / units_F

    def loss(weights_F: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores_UP = terms_UPF @ weights_F
        scores_UP[absent_UP] = -np.inf
        highest_U1 = scores_UP.max(axis=1, keepdims=True)
        chances_UP = np.exp(scores_UP - highest_U1)
        totals_U1 = chances_UP.sum(axis=1, keepdims=True)
        chances_UP /= totals_U1
        logs_U = chosen_UF @ weights_F - highest_U1[:, 0] - np.log(totals_U1[:, 0])
        expected_UF = np.matmul(chances_UP[:, None, :], terms_UPF)[:, 0]
        gradient_F = 2 * RIDGE * weights_F - (chosen_UF - expected_UF).mean(axis=0)
        return float(RIDGE * weights_F @ weights_F - logs_U.mean()), gradient_F

    best = minimize(loss, np.zeros(n_terms), jac=True, method="L-BFGS-B")
    return np.asarray(best.x / units_F, np.float64)
