"""The stages of a pipeline that are not scoring: filters, diversity, new items.

Shapes: B queries, N items of the vocabulary, P candidates, J places of a list, F new items, R category bits,
D dimensions.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from features.events import ItemId
from models.catalogue import Catalogue
from models.encoders.cold import ColdVectors
from models.queries import Query
from models.vocabulary import Vocabulary

PROFILE_LENGTH: Final = 20  # history items whose categories say what a user likes
PROFILE_DECAY: Final = 0.9  # of each step back in the history
_TURNS: Final = 65_536
_DECAYS: Final = (PROFILE_DECAY ** np.arange(PROFILE_LENGTH)).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """One version of the catalogue in the rows of a vocabulary.

    rows_N: the catalogue's row of each item, -1 for one that it lacks. packed_NR8: categories as bits, eight to a byte,
    in as many bytes as have one. lengths_N1: bits times this are vectors of length one.
    new_ids: items of the catalogue that are not hidden and that the vocabulary lacks; new_FR: their categories, as
    vectors of length one. turns_F: scattered numbers, that decide between equals. cold_FD: the new items' vectors by an
    encoder, for those of which is_cold_F says that they have one; None where nothing has.
    """

    version: int
    catalogue: Catalogue
    vocabulary: Vocabulary
    rows_N: NDArray[np.int64]
    hidden_N: NDArray[np.bool_]
    any_hidden: bool
    packed_NR8: NDArray[np.uint8]
    lengths_N1: NDArray[np.float32]
    any_category: bool
    new_ids: Sequence[ItemId]
    new_FR: NDArray[np.float32]
    turns_F: NDArray[np.int64]
    cold_FD: NDArray[np.float32] | None
    is_cold_F: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fresh:
    """A new item for one user. category: the one of its own that the user likes most, "" when it has none.

    suits: whether an encoder says of its vector that it suits the user more than the catalogue does on average.
    """

    item: ItemId
    category: str
    suits: bool = False


# Which items a filter removes for each query, true where removed (shapes that broadcast to BN); None for no item.
Filter = Callable[[Sequence[Query], Shelf], NDArray[np.bool_] | None]


def shelf_of(catalogue: Catalogue, vocabulary: Vocabulary, cold: ColdVectors | None = None) -> Shelf:
    """The catalogue as it is now. cold: vectors of new items, as far as they are known."""
    snapshot = catalogue.snapshot()
    rows_N = catalogue.rows(vocabulary.items)
    rows_N[rows_N >= snapshot.count] = -1  # came after the snapshot
    known_N = rows_N >= 0
    hidden_N = snapshot.hidden_C[rows_N] & known_N
    packed_CR8 = snapshot.packed_CR8[:, : max(1, -(-snapshot.used_bits // 8))]
    packed_NR8 = np.where(known_N[:, None], packed_CR8[rows_N], np.uint8(0))
    is_new_C = ~snapshot.hidden_C[: snapshot.count]
    is_new_C[rows_N[known_N]] = False
    new_rows_F = np.flatnonzero(is_new_C)
    new_ids = [snapshot.items[row].id for row in new_rows_F.tolist()]
    cold_FD, is_cold_F = (None, np.zeros(len(new_ids), np.bool_)) if cold is None else cold.of(new_ids)
    return Shelf(
        snapshot.version,
        catalogue,
        vocabulary,
        rows_N,
        hidden_N,
        bool(hidden_N.any()),
        packed_NR8,
        _lengths(packed_NR8),
        snapshot.used_bits > 0,
        new_ids,
        _directions(packed_CR8[new_rows_F]),
        np.arange(len(new_rows_F)) * 2_654_435_761 % _TURNS,
        cold_FD if is_cold_F.any() else None,
        is_cold_F,
    )


def seen(queries: Sequence[Query], shelf: Shelf) -> NDArray[np.bool_] | None:
    """Removes what the user has seen, the history included."""
    return _listed([_every_seen(query) for query in queries], shelf)


def _every_seen(query: Query) -> Iterable[ItemId]:
    known = isinstance(query.seen, frozenset) and query.seen.issuperset(query.history)
    return query.seen if known else chain(query.seen, query.history)


def hidden(_: Sequence[Query], shelf: Shelf) -> NDArray[np.bool_] | None:
    """Removes what the catalogue hides."""
    return shelf.hidden_N if shelf.any_hidden else None


def excluded(queries: Sequence[Query], shelf: Shelf) -> NDArray[np.bool_] | None:
    """Removes what the query excludes."""
    return _listed([query.exclude for query in queries], shelf) if any(query.exclude for query in queries) else None


def category(queries: Sequence[Query], shelf: Shelf) -> NDArray[np.bool_] | None:
    """Removes what has none of the categories that the query names."""
    if not any(query.categories for query in queries):
        return None
    mask_BN = np.zeros((len(queries), len(shelf.rows_N)), np.bool_)
    for place, query in enumerate(queries):
        if query.categories:
            rows_N = shelf.rows_N
            mask_BN[place] = ~np.isin(rows_N, shelf.catalogue.rows_in(query.categories))
    return mask_BN


FILTERS: Final[Mapping[str, Filter]] = {"seen": seen, "hidden": hidden, "excluded": excluded, "category": category}


@dataclass(frozen=True, slots=True, eq=False)
class Filtered:
    """What was removed and why. removed_by_BN: 0 where kept, else one more than the place in `reasons`."""

    reasons: tuple[str, ...]
    removed_by_BN: NDArray[np.uint8]
    counts_BR: list[list[int]]

    def counts(self, place: int) -> dict[str, int]:
        """How many items each filter removed for one query; those that removed none are left out."""
        return {reason: count for reason, count in zip(self.reasons, self.counts_BR[place], strict=True) if count}

    def listed(self, place: int, names: Sequence[ItemId]) -> tuple[tuple[ItemId, str], ...]:
        """Every item that was removed for one query, with the reason."""
        removed_by_N = self.removed_by_BN[place]
        return tuple((names[row], self.reasons[removed_by_N[row] - 1]) for row in np.flatnonzero(removed_by_N).tolist())


def filtered(
    filters: Mapping[str, Filter], queries: Sequence[Query], shelf: Shelf, scores_BN: NDArray[np.float64]
) -> Filtered:
    """Sets the scores of removed items to -inf, in place; an item counts for the first filter that removes it."""
    reasons: list[str] = []
    counts_RB: list[list[int]] = []
    removed_by_BN: NDArray[np.uint8] | None = None
    for reason, removes in filters.items():
        mask_BN = removes(queries, shelf)
        if mask_BN is None:
            continue
        reasons.append(reason)
        if removed_by_BN is None:
            first_BN = mask_BN if mask_BN.ndim == scores_BN.ndim else np.broadcast_to(mask_BN, scores_BN.shape)
            removed_by_BN = first_BN.astype(np.uint8)
        else:
            first_BN = mask_BN & (removed_by_BN == 0)
            np.copyto(removed_by_BN, len(reasons), where=first_BN)
        counts_RB.append(np.count_nonzero(first_BN, axis=1).tolist())
    if removed_by_BN is None:
        return Filtered((), np.zeros(scores_BN.shape, np.uint8), [[]] * len(queries))
    np.copyto(scores_BN, -np.inf, where=removed_by_BN.view(np.bool_))
    return Filtered(tuple(reasons), removed_by_BN, [list(counts) for counts in zip(*counts_RB, strict=True)])


def diversify(
    shelf: Shelf,
    rows_BP: NDArray[np.int64],
    scores_BP: NDArray[np.float64],
    dials_B: NDArray[np.float64],
    most: int,
) -> NDArray[np.int64]:
    """order_BJ: places in P of the list, at most `most`, by maximal marginal relevance.

    Carbonell and Goldstein (1998): each place goes to the greatest (1 - dial) * relevance - dial * similarity, where
    relevance is the score scaled to [0, 1] over the candidates and similarity the greatest cosine of categories with an
    item placed before. scores_BP: greatest first, -inf for what was removed.
    """
    most = min(most, rows_BP.shape[1])
    n_lists = len(rows_BP)
    if not (shelf.any_category and dials_B.any()) or most == 0:
        return np.tile(np.arange(most), (n_lists, 1))
    bits_BPR = np.unpackbits(shelf.packed_NR8.take(rows_BP, axis=0), axis=2)
    directions_BPR = bits_BPR * shelf.lengths_N1.take(rows_BP, axis=0)
    cosines_BPP = np.matmul(directions_BPR, directions_BPR.transpose(0, 2, 1))
    kept_B = (scores_BP > -np.inf).sum(axis=1).tolist()
    # A loop over lists of vectors beats one over places of batches: it needs no gathers, and most batches are small.
    lists = zip(scores_BP, cosines_BPP, dials_B.tolist(), kept_B, strict=True)
    return np.array([_greedy(scores_P, cosines_PP, dial, most, kept) for scores_P, cosines_PP, dial, kept in lists])


def _greedy(
    scores_P: NDArray[np.float64], cosines_PP: NDArray[np.float32], dial: float, most: int, kept: int
) -> list[int]:
    """Places in the order in which each has the greatest relevance less its greatest cosine with those before it.

    The first `kept` places are in play; the others follow where they do not fill the list.
    """
    order: list[int] = []
    if kept:
        lowest = scores_P[kept - 1]
        best_P = (scores_P[:kept] - lowest) * ((1 - dial) / max(scores_P[0] - lowest, 1e-12))
        # Of each place (second) when the first is the nearest of those before it.
        gains_PP = best_P - dial * cosines_PP[:kept, :kept]
        for _ in range(min(most, kept)):
            picked = int(best_P.argmax())
            order.append(picked)
            np.minimum(best_P, gains_PP[picked], out=best_P)
            best_P[picked] = -np.inf
    return [*order, *range(kept, most)]


def new_items(catalogue: Catalogue, shelf: Shelf, query: Query, most: int, *, anything: bool) -> list[Fresh]:
    """Up to `most` items that no model knows.

    Those that have a vector are ranked by its inner product with the user's, the others, or all for a user who has
    none, by the cosine of their categories with those of the newest history items. Among equals they differ from user
    to user, so that every one is tried on somebody. anything: whether items may follow that suit no better than others
    and are of no category the user likes.
    """
    if most <= 0 or not shelf.new_ids:
        return []
    turn = crc32(query.user.encode("utf-8", "replace"))
    turns_F = (shelf.turns_F + turn) % _TURNS
    is_cold_F = np.zeros(len(turns_F), np.bool_)
    values_F = np.zeros(len(turns_F), np.float32)
    if shelf.cold_FD is not None and query.vector_D is not None and query.vector_D.any():
        is_cold_F, values_F = shelf.is_cold_F, shelf.cold_FD @ query.vector_D
    if not is_cold_F.all():
        values_F = np.where(is_cold_F, values_F, _affinity(shelf, query))

    def liked(name: str) -> float:
        found = map(catalogue.get, query.history[: -PROFILE_LENGTH - 1 : -1])
        return sum(
            PROFILE_DECAY**back for back, item in enumerate(found) if item is not None and name in item.categories
        )

    chosen: list[Fresh] = []
    for place in _both_kinds(values_F, is_cold_F, turns_F, turn).tolist():
        if len(chosen) == most or not (anything or values_F[place] > 0):
            break
        identity = shelf.new_ids[place]
        found = catalogue.get(identity)
        if found is not None and _is_allowed(identity, found.categories, query):
            suits = bool(is_cold_F[place] and values_F[place] > 0)
            chosen.append(Fresh(identity, max(found.categories, key=liked, default=""), suits))
    return chosen


def _affinity(shelf: Shelf, query: Query) -> NDArray[np.float32]:
    """affinity_F: the cosine of each new item's categories with those of the newest history items."""
    get = shelf.vocabulary.row_of.get
    rows = [row for row in map(get, query.history[: -PROFILE_LENGTH - 1 : -1]) if row is not None]  # newest first
    directions_LR = np.unpackbits(shelf.packed_NR8[rows], axis=1) * shelf.lengths_N1[rows]
    profile_R = _DECAYS[: len(rows)] @ directions_LR
    return np.asarray(shelf.new_FR @ (profile_R / (math.sqrt(profile_R @ profile_R) or 1.0)), np.float32)


def _both_kinds(
    values_F: NDArray[np.float32], is_cold_F: NDArray[np.bool_], turns_F: NDArray[np.int64], turn: int
) -> NDArray[np.int64]:
    """The order of the new items: greatest first among those with a vector, and among those without.

    Values of the two kinds do not compare, so that the lists are merged by how far down an item stands in its own; the
    user's turn decides which begins, so that each kind leads for about its share of the users.
    """
    depths_F = np.empty(len(values_F))
    for kind_F, start in ((is_cold_F, turn % 997 / 997), (~is_cold_F, turn % 991 / 991)):
        places = np.flatnonzero(kind_F)
        order = np.lexsort((turns_F[places], -values_F[places].round(4)))
        depths_F[places[order]] = (np.arange(len(places)) + start) / max(len(places), 1)
    return np.lexsort((depths_F, values_F <= 0))


def same_category(catalogue: Catalogue, shelf: Shelf, item: ItemId) -> NDArray[np.float64]:
    """values_N: the cosine of each item's categories with those of one item of the catalogue; 0 for itself."""
    row = int(catalogue.rows([item])[0])
    if row < 0:
        return np.zeros(len(shelf.rows_N))
    direction_R = _directions(catalogue.snapshot().packed_CR8[row, : shelf.packed_NR8.shape[1]])
    values_N: NDArray[np.float64] = np.asarray(_directions(shelf.packed_NR8) @ direction_R, np.float64)
    values_N[shelf.rows_N == row] = 0.0
    return values_N


def _is_allowed(item: ItemId, categories: Sequence[str], query: Query) -> bool:
    if item in query.seen or item in query.history or item in query.exclude:
        return False
    return not query.categories or any(name in query.categories for name in categories)


def _listed(items: Sequence[Iterable[ItemId]], shelf: Shelf) -> NDArray[np.bool_]:
    """True at the rows of the items listed for each query."""
    get = shelf.vocabulary.row_of.get
    n_items = len(shelf.rows_N)
    mask_BN = np.zeros((len(items), n_items + 1), np.bool_)  # the last row stands for what the vocabulary lacks
    for place, listed in enumerate(items):
        mask_BN[place, np.fromiter(map(get, listed, repeat(n_items)), np.int64)] = True
    return mask_BN[:, :n_items]


def _directions(packed_R8: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Categories as vectors of length one; zeros for an item that has none."""
    return np.asarray(np.unpackbits(packed_R8, axis=-1) * _lengths(packed_R8), np.float32)


def _lengths(packed_R8: NDArray[np.uint8]) -> NDArray[np.float32]:
    counts_1 = np.unpackbits(packed_R8, axis=-1).sum(axis=-1, keepdims=True, dtype=np.float32)
    return np.asarray(1.0 / np.sqrt(np.maximum(counts_1, 1.0)), np.float32)
