"""The stages of a pipeline that are not scoring: filters, diversity, new items.

Shapes: B queries, N items of the vocabulary, P candidates, J places of a list, F new items, R category bits.
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
from models.queries import Query
from models.vocabulary import Vocabulary

PROFILE_LENGTH: Final = 20  # history items whose categories say what a user likes
PROFILE_DECAY: Final = 0.9  # of each step back in the history
_DECAYS: Final = (PROFILE_DECAY ** np.arange(PROFILE_LENGTH)).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """One version of the catalogue in the rows of a vocabulary.

    rows_N: the catalogue's row of each item, -1 for one that it lacks. packed_NR8: categories as bits, eight to a byte,
    in as many bytes as have one. lengths_N1: bits times this are vectors of length one.
    new_ids: items of the catalogue that are not hidden and that the vocabulary lacks; new_FR: their categories, as
    vectors of length one. turns_F: scattered numbers, that decide between equals.
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


# Which items a filter removes for each query, true where removed (shapes that broadcast to BN); None for no item.
Filter = Callable[[Sequence[Query], Shelf], NDArray[np.bool_] | None]


def shelf_of(catalogue: Catalogue, vocabulary: Vocabulary) -> Shelf:
    """The catalogue as it is now."""
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
        [snapshot.items[row].id for row in new_rows_F.tolist()],
        _directions(packed_CR8[new_rows_F]),
        np.arange(len(new_rows_F)) * 2_654_435_761 % 65_536,
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


def new_items(
    catalogue: Catalogue, shelf: Shelf, query: Query, most: int, *, anything: bool
) -> list[tuple[ItemId, str]]:
    """Up to `most` items that no model knows, each with the category that the user likes most of its own.

    They are ranked by the cosine of their categories with those of the newest history items, and differ from user to
    user among equals, so that every one is tried on somebody. anything: whether items of other categories may follow.
    """
    if most <= 0 or not shelf.new_ids:
        return []
    get = shelf.vocabulary.row_of.get
    rows = [row for row in map(get, query.history[: -PROFILE_LENGTH - 1 : -1]) if row is not None]  # newest first
    directions_LR = np.unpackbits(shelf.packed_NR8[rows], axis=1) * shelf.lengths_N1[rows]
    profile_R = _DECAYS[: len(rows)] @ directions_LR
    affinity_F = shelf.new_FR @ (profile_R / (math.sqrt(profile_R @ profile_R) or 1.0))
    turns_F = (shelf.turns_F + crc32(query.user.encode("utf-8", "replace"))) % 65_536

    def liked(name: str) -> float:
        found = map(catalogue.get, query.history[: -PROFILE_LENGTH - 1 : -1])
        return sum(
            PROFILE_DECAY**back for back, item in enumerate(found) if item is not None and name in item.categories
        )

    chosen: list[tuple[ItemId, str]] = []
    for place in np.lexsort((turns_F, -affinity_F.round(4))).tolist():
        if len(chosen) == most or not (anything or affinity_F[place] > 0):
            break
        identity = shelf.new_ids[place]
        found = catalogue.get(identity)
        if found is not None and _is_allowed(identity, found.categories, query):
            chosen.append((identity, max(found.categories, key=liked, default="")))
    return chosen


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
