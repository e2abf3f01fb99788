"""Fusion: several models' scores for a history become one.

Each table's scores are divided by their root mean square over the catalogue, for each history anew, and added up with
one weight a table; log-popularity is one more term. A generator adds the log-probabilities of the items that its beam
search finds, over that of the last one found. An encoder adds the scores of the items that it retrieves, over that of
the last one retrieved; beside one, its weight and popularity's change with the user's activity, the logarithm of the
history's length. The weights are the maximum of a conditional logit (McFadden, 1974)
over validation targets: the chance of the target among the items that any model ranks high is the softmax of the fused
scores. That is convex and smooth, needs no search and no seed beyond the sample, and with five weights it fits half of
MovieLens' 943 users as well as all of them.
Shapes: N items, B histories, U users, D dimensions, M models with a table, P pooled candidates, R retrieved or
generated items, L events of a history, F terms: M tables, the generator where there is one, and popularity, or the
encoder, popularity, and these two times activity.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.counts.neighbours import HISTORY_LENGTH, Gathered, History, Neighbours, Stack
from models.counts.popularity import Popularity

POOLED: Final = 100  # candidates that each model adds to a user's pool
SAMPLE: Final = 3000  # validation users that the weights are chosen on
RIDGE: Final = 1e-3
_BLOCK: Final = 64


class Retriever(Protocol):
    """An encoder and its item index: a user's vector in, the items that it points at out."""

    def vectors(
        self,
        histories: Sequence[History | list[int]],
        times: Sequence[NDArray[np.float64] | None] | None = None,
        values: Sequence[NDArray[np.float32] | None] | None = None,
    ) -> NDArray[np.float32]:
        """vectors_BD after each history (item rows, oldest first); zeros after an empty one."""
        ...

    def retrieve(self, vectors_BD: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(rows_BR, values_BR): the items of the greatest scores, and how far each is above the last; 0 for padding."""
        ...


Found = tuple[NDArray[np.int64], NDArray[np.float32]]  # (rows_BR, values_BR); a row of -1 pads, with a value of 0


class Generator(Protocol):
    """A model that writes next items by their ids: a history in, what a beam search found out."""

    def generate(
        self,
        histories: Sequence[History | list[int]],
        stars: Sequence[NDArray[np.float32] | None] | None = None,
        seen: Sequence[History | list[int]] | None = None,
    ) -> Found:
        """(rows_BR, values_BR): the likeliest next items, and how far each log-probability is above the last one's.

        histories: item rows, oldest first. stars: of their events, NaN for none. seen: rows that must not be found,
        besides those of the history.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """evidence_BN: what the history says, 0 where it says nothing. popular: popularity's term, (N) or (B, N).

    scales_BM: what each table's part counts in the evidence. encoder_BN, p5_BN: the encoder's and the generator's parts
    of it, where there are such.
    """

    evidence_BN: NDArray[np.float64]
    popular: NDArray[np.float64]
    scales_BM: NDArray[np.float64]
    gathered: Gathered
    encoder_BN: NDArray[np.float64] | None = None
    p5_BN: NDArray[np.float64] | None = None

    def only(self, place: int) -> "Fused":
        """The part of one history."""
        here = slice(place, place + 1)
        parts = [None if part_BN is None else part_BN[here] for part_BN in (self.encoder_BN, self.p5_BN)]
        return Fused(
            self.evidence_BN[here],
            self.popular if self.popular.ndim == 1 else self.popular[here],
            self.scales_BM[here],
            self.gathered.only(place),
            *parts,
        )


class Fusion:
    """The models of a bundle, ready to score together. weights_F: one a term, in the order of `terms_of`.

    without_F: the weights of the same terms but the generator's, chosen without one: those of a history for which it
    found nothing, or was not asked. So such a history is scored as if there were no generator.
    """

    def __init__(
        self,
        tables: Sequence[Neighbours],
        popularity: Popularity,
        weights_F: NDArray[np.float64],
        retriever: Retriever | None = None,
        generator: Generator | None = None,
        without_F: NDArray[np.float64] | None = None,
    ) -> None:
        self.stack = Stack(tables)
        self.weights_F = weights_F
        self.retriever = retriever
        self.generator = generator
        self._n_tables = len(tables)
        if without_F is not None:
            self._without_F = np.insert(without_F, self._n_tables, 0.0)
        else:
            self._without_F = weights_F
        self._log_counts_N = popularity.log_counts().astype(np.float64)
        self._popular_N = self._log_counts_N * weights_F[-1]

    def score(
        self,
        histories: Sequence[History | list[int]],
        vectors_BD: NDArray[np.float32] | None = None,
        found: Found | None = None,
    ) -> Fused:
        """The fused evidence of each history (item rows, oldest first); popularity is not in it yet.

        vectors_BD: of the histories by the retriever. found: for them by the generator. Each is made here when there is
        such a model and it is not given.
        """
        gathered = self.stack.gather(histories)
        parts_BMN = gathered.parts()
        weights_BF, p5_BN = self.weights_F[None], None
        if self.generator is not None:
            found = find(self.generator, histories) if found is None else found
            is_found_B1 = (found[0] >= 0).any(axis=1, keepdims=True)
            weights_BF = np.where(is_found_B1, self.weights_F, self._without_F)
            p5_BN = weights_BF[:, self._n_tables, None] * spread(found, self.stack.n_items)
        scales_BM = weights_BF[:, : self._n_tables] / _sizes(parts_BMN)
        evidence_BN = np.matmul(scales_BM[:, None, :], parts_BMN)[:, 0]
        if p5_BN is not None:
            evidence_BN += p5_BN
        if self.retriever is None:
            popular = self._popular_N if self.generator is None else weights_BF[:, -1:] * self._log_counts_N
            return Fused(evidence_BN, popular, scales_BM, gathered, None, p5_BN)
        encoder_B1, popular_B1, encoder_slope_B1, popular_slope_B1 = np.split(weights_BF[:, -4:], 4, axis=1)
        activity_B1 = np.array([[activity(len(history))] for history in histories])
        encoder_BN = encoded(self.retriever, histories, vectors_BD, self.stack.n_items)
        encoder_BN *= encoder_B1 + encoder_slope_B1 * activity_B1
        popular_BN = (popular_B1 + popular_slope_B1 * activity_B1) * self._log_counts_N
        return Fused(evidence_BN + encoder_BN, popular_BN, scales_BM, gathered, encoder_BN, p5_BN)


def terms_of(tables: Sequence[str], *, encoder: bool, p5: bool = False) -> tuple[str, ...]:
    """The names of the terms of a fusion of these tables, in the order of its weights."""
    parts = (*tables, "p5") if p5 else tuple(tables)
    if not encoder:
        return (*parts, "popularity")
    return (*parts, "encoder", "popularity", "encoder x activity", "popularity x activity")


def activity(length: int) -> float:
    """A history's length on a logarithmic scale, from -1/2 for one event to 1/2 for HISTORY_LENGTH and more."""
    return math.log(max(1, min(length, HISTORY_LENGTH))) / math.log(HISTORY_LENGTH) - 0.5


def encoded(
    retriever: Retriever,
    histories: Sequence[History | list[int]],
    vectors_BD: NDArray[np.float32] | None,
    n_items: int,
) -> NDArray[np.float64]:
    """part_BN: the values of the items retrieved for each history, 0 for the others."""
    return spread(retriever.retrieve(retriever.vectors(histories) if vectors_BD is None else vectors_BD), n_items)


def find(
    generator: Generator,
    histories: Sequence[History | list[int]],
    stars: Sequence[NDArray[np.float32] | None] | None = None,
    seen: Sequence[History | list[int]] | None = None,
) -> Found:
    """What the generator finds for each history, as `Generator.generate`; nothing after an empty one, which would be
    everybody's."""
    places = [place for place, history in enumerate(histories) if len(history)]
    if not places:
        return np.full((len(histories), 0), -1, np.int64), np.zeros((len(histories), 0), np.float32)
    found, values = generator.generate(
        [histories[place] for place in places],
        None if stars is None else [stars[place] for place in places],
        None if seen is None else [seen[place] for place in places],
    )
    rows_BR = np.full((len(histories), found.shape[1]), -1, np.int64)
    values_BR = np.zeros(rows_BR.shape, np.float32)
    rows_BR[places], values_BR[places] = found, values
    return rows_BR, values_BR


def spread(found: Found, n_items: int) -> NDArray[np.float64]:
    """part_BN: the values of what was found at its items, 0 at the others."""
    rows_BR, values_BR = found
    part_BN = np.zeros((len(rows_BR), n_items + 1))  # the last column takes what pads
    np.put_along_axis(part_BN, rows_BR % (n_items + 1), values_BR, axis=1)
    part_BN[:, n_items] = 0.0
    return part_BN[:, :n_items]


def choose_weights(
    tables: Sequence[Neighbours],
    popularity: Popularity,
    histories: Sequence[History],
    seen: Sequence[History],
    targets: Sequence[int],
    seed: int,
    retriever: Retriever | None = None,
    vectors_UD: NDArray[np.float32] | None = None,
    generator: Generator | None = None,
    stars: Sequence[NDArray[np.float32] | None] | None = None,
) -> NDArray[np.float64]:
    """weights_F for these validation users: what each was fed with, has seen, and chose next.

    Tables, popularity, retriever and generator are of events before the targets; vectors_UD: of the histories by the
    retriever; stars: of the histories, for the generator. Deterministic for a seed, which draws the users when there
    are more than SAMPLE. A user whose target no model ranks high, or who has seen it before, teaches nothing.
    """
    n_users = len(targets)
    users = np.arange(n_users)
    if n_users > SAMPLE:
        users = np.sort(np.random.default_rng(seed).choice(n_users, SAMPLE, replace=False))
    stack = Stack(tables)
    popular_1N = popularity.log_counts().astype(np.float64)[None]
    lessons: list[tuple[NDArray[np.float64], int]] = []
    for start in range(0, len(users), _BLOCK):
        block = users[start : start + _BLOCK]
        fed = [histories[user] for user in block]
        parts_BMN = stack.gather(fed).parts()
        parts_BMN /= _sizes(parts_BMN)[:, :, None]
        found_BR = np.full((len(block), 0), -1, np.int64)
        if generator is not None:
            rated = None if stars is None else [stars[user] for user in block]
            found_BR, values_BR = find(generator, fed, rated, [seen[user] for user in block])
            p5_BN = spread((found_BR, values_BR), stack.n_items)
            parts_BMN = np.concatenate([parts_BMN, p5_BN[:, None]], axis=1)
        if retriever is not None:
            known_BD = None if vectors_UD is None else vectors_UD[block]
            encoder_BN = encoded(retriever, fed, known_BD, stack.n_items)
            parts_BMN = np.concatenate([parts_BMN, encoder_BN[:, None]], axis=1)
        for place, user in enumerate(block):
            terms_FN = np.concatenate([parts_BMN[place], popular_1N])
            dense_FN = terms_FN if generator is None else np.delete(terms_FN, len(tables), axis=0)
            pool_P = _pool(dense_FN, found_BR[place], seen[user])
            at = np.searchsorted(pool_P, targets[user])
            if at < len(pool_P) and pool_P[at] == targets[user]:
                terms_FP = terms_FN[:, pool_P]
                if retriever is not None:
                    terms_FP = np.concatenate([terms_FP, terms_FP[-2:] * activity(len(histories[user]))])
                lessons.append((terms_FP, int(at)))
    n_parts = len(tables) + (generator is not None)
    return _conditional_logit(lessons, n_parts, has_encoder=retriever is not None)


def _sizes(parts_BMN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean squares over the items; almost 0 where every score is 0."""
    squares_BM = np.einsum("bmn,bmn->bm", parts_BMN, parts_BMN)
    return np.asarray(np.sqrt(squares_BM / parts_BMN.shape[2] + 1e-18))


def _pool(terms_FN: NDArray[np.float64], found_R: NDArray[np.int64], seen: History) -> NDArray[np.int64]:
    """The rows that some term ranks among its first POOLED, and those found, sorted, without those seen."""
    scores_FN = terms_FN.copy()
    scores_FN[:, seen] = -np.inf
    most = min(POOLED, scores_FN.shape[1])
    high = np.union1d(np.argpartition(-scores_FN, most - 1, axis=1)[:, :most], found_R[found_R >= 0])
    return high[~np.isin(high, seen)]


def _conditional_logit(
    lessons: Sequence[tuple[NDArray[np.float64], int]], n_parts: int, *, has_encoder: bool
) -> NDArray[np.float64]:
    """The weights of the terms that make the targets likeliest; equal ones when there is nothing to learn from."""
    if not lessons:
        return np.array([1.0] * n_parts + ([1.0, 0.1, 0.0, 0.0] if has_encoder else [0.1]))
    n_terms = len(lessons[0][0])
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
