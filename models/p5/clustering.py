"""Item ids that are paths in a tree of items which are chosen together, so that the first tokens say whose taste it is.

Collaborative indexing (Hua et al., 2023): the graph of items that users have in common is cut by spectral clustering
(Ng, Jordan and Weiss, 2001), and its parts again while they are larger than a leaf may be. Departures: items are
joined by how near they stand in users' sequences, within WINDOW events, and the graph is regularised (Amini et al.,
2013: every two items are joined a little), so that a few stray items are no part and a graph in pieces is no special
case; the parts then tell more of the next item. A part is cut into as many as it needs and not always 20, and has a
token of its own instead of one of a pool that is dealt out in turn, so that a token means one thing.
Shapes: N items, E events, V = users + 1, S items of a part, K clusters, P parts on the longest path, A items alone.
"""

from collections import deque
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from features.frames import Sequences
from models.counts.pairs import pair_counts
from models.p5.kmeans import kmeans, nearest
from models.p5.numbering import Coded, places_in

CLUSTERS: Final = 20  # as Hua et al. found best
LEAF: Final = 500  # items of a leaf, as theirs
WINDOW: Final = 10
REGULARISED: Final = 0.1  # of the mean degree
DEPTH: Final = 5  # parts on a path; what is too large after them is cut by first appearance
_DENSE: Final = 300  # items up to which all eigenvectors are cheaper than some


def clustered(
    items_E: NDArray[np.int64],
    starts_V: NDArray[np.int64],
    order_N: NDArray[np.int64],
    vectors_ND: NDArray[np.float32],
    seed: int = 0,
) -> Coded:
    """The path of each item: the parts it is in, the largest first.

    order_N: the canonical order. vectors_ND: of what is said of the items: one that was chosen with no other goes with
    the likest of those that were. A leaf is LEAF items, or less in a small catalogue, whose paths would else be short.
    """
    n_items = len(order_N)
    leaf = int(np.clip(n_items // CLUSTERS, CLUSTERS, LEAF))
    graph_NN = _graph(places_in(order_N)[items_E], starts_V, vectors_ND[order_N])
    paths: list[list[int]] = [[] for _ in range(n_items)]
    parts = deque([np.arange(n_items)])
    n_tokens = 0
    while parts:
        part_S = parts.popleft()
        for child in _cut(graph_NN[part_S][:, part_S], leaf, seed, depth=len(paths[part_S[0]])):
            for place in part_S[child].tolist():
                paths[place].append(n_tokens)
            n_tokens += 1
            if len(child) > leaf:
                parts.append(part_S[child])
    codes_NP = np.full((n_items, max(map(len, paths))), -1, np.int32)
    for row, path in zip(order_N.tolist(), paths, strict=True):
        codes_NP[row, : len(path)] = path
    return tuple(f"<g{token}>" for token in range(n_tokens)), codes_NP


def _graph(places_E: NDArray[np.int64], starts_V: NDArray[np.int64], vectors_ND: NDArray[np.float32]) -> Any:
    """A symmetric scipy CSR matrix: one over the distance of each two events of two items, added up.

    An item that is joined to none is joined to the likest of those that are, with 1.
    """
    users = ("",) * (len(starts_V) - 1)
    no_times_E, no_values_E = np.zeros(len(places_E)), np.zeros(len(places_E), np.float32)
    events = Sequences(users, places_E, no_times_E, starts_V, no_values_E)
    graph_NN = pair_counts(events, len(vectors_ND), WINDOW, lambda distance: 1 / distance)
    is_joined_N = np.asarray((graph_NN + graph_NN.T).sum(axis=1)).ravel() > 0
    joined, alone = np.flatnonzero(is_joined_N), np.flatnonzero(~is_joined_N & vectors_ND.any(axis=1))
    if len(joined) and len(alone):
        blocks = np.array_split(vectors_ND[alone], -(-len(alone) // 512))
        likest_A = joined[np.concatenate([(block @ vectors_ND[joined].T).argmax(axis=1) for block in blocks])]
        graph_NN += sparse.csr_matrix((np.ones(len(alone)), (alone, likest_A)), shape=graph_NN.shape)
    return (graph_NN + graph_NN.T).tocsr()


def _cut(graph_SS: Any, leaf: int, seed: int, depth: int) -> list[NDArray[np.int64]]:
    """The places in each cluster, by first appearance; a cluster is smaller than the whole, unless this fits a leaf."""
    n_items = graph_SS.shape[0]
    if n_items <= leaf:
        return [np.arange(n_items)]
    k = int(np.clip(np.ceil(2 * n_items / leaf), 2, CLUSTERS))
    if depth < DEPTH:
        points_SK = _spectral(graph_SS, k)
        labels_S, _ = nearest(points_SK, kmeans(points_SK, k, seed))
        _, first, labels_S = np.unique(labels_S, return_index=True, return_inverse=True)
        if len(first) > 1:
            return [np.flatnonzero(labels_S == label) for label in np.argsort(first).tolist()]
    return np.array_split(np.arange(n_items), -(-n_items // leaf))


def _spectral(graph_SS: Any, k: int) -> NDArray[np.float64]:
    """points_SK of length one: the first eigenvectors of the normalised regularised graph, scaled by their eigenvalues.

    So scaled (a diffusion map of one step, Coifman and Lafon, 2006), those beyond the parts there are count little.
    """
    n_items = graph_SS.shape[0]
    degrees_S = np.asarray(graph_SS.sum(axis=1)).ravel()
    added = REGULARISED * degrees_S.mean() or 1.0
    scales_S = 1 / np.sqrt(degrees_S + added)
    if n_items <= _DENSE:
        joined_SS = scales_S[:, None] * (graph_SS.toarray() + added / n_items) * scales_S
        values_S, vectors_SS = np.linalg.eigh(joined_SS)
        values_K, vectors_SK = values_S[-k:], vectors_SS[:, -k:]
    else:

        def joined(given: NDArray[np.float64]) -> NDArray[np.float64]:
            scaled_S = scales_S * given.ravel()
            return np.asarray(scales_S * (graph_SS @ scaled_S + added / n_items * scaled_S.sum()))

        operator = LinearOperator((n_items, n_items), joined, dtype=np.float64)
        try:
            values_K, vectors_SK = eigsh(operator, k=k, which="LA", v0=1 / scales_S, tol=1e-4)
        except ArpackNoConvergence as unfinished:
            values_K, vectors_SK = unfinished.eigenvalues, unfinished.eigenvectors
    points_SK = vectors_SK * np.maximum(values_K, 0.0)
    lengths_S1 = np.linalg.norm(points_SK, axis=1, keepdims=True)
    return np.asarray(np.round(points_SK / np.maximum(lengths_S1, 1e-12), 6))  # what differs by less is the same
