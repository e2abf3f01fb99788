"""k-means, the same bytes for the same rows in the same order.

Lloyd's rounds (1982) from centroids drawn in proportion to squared distances (k-means++, Arthur and Vassilvitskii,
2007). All in float64, with sums in the order of the rows.
Shapes: N vectors, K centroids, D dimensions.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

ROUNDS: Final = 50
_BLOCK: Final = 8192  # vectors at a time: 16 MB of distances to 256 centroids

Vectors = NDArray[np.float64]


def kmeans(vectors_ND: Vectors, k: int, seed: int) -> Vectors:
    """centroids_KD: k of them, or as many as there are distinct vectors where these are fewer."""
    centroids_KD = _drawn(vectors_ND, k, np.random.default_rng(seed))
    labels_N = np.full(len(vectors_ND), -1)
    for _ in range(ROUNDS):
        before_N = labels_N
        labels_N, distances_N = nearest(vectors_ND, centroids_KD)
        if (labels_N == before_N).all():
            break
        _fill_empty(labels_N, distances_N, len(centroids_KD))
        centroids_KD = _means(vectors_ND, labels_N, len(centroids_KD))
    return centroids_KD


def nearest(vectors_ND: Vectors, centroids_KD: Vectors) -> tuple[NDArray[np.int64], Vectors]:
    """(labels_N, squared distances_N) of each vector's nearest centroid, the first of equals."""
    labels_N = np.empty(len(vectors_ND), np.int64)
    distances_N = np.empty(len(vectors_ND))
    for start in range(0, len(vectors_ND), _BLOCK):
        here = slice(start, start + _BLOCK)
        distances_BK = squared_distances(vectors_ND[here], centroids_KD)
        labels_N[here] = distances_BK.argmin(axis=1)
        distances_N[here] = distances_BK.min(axis=1)
    return labels_N, distances_N


def squared_distances(vectors_ND: Vectors, centroids_KD: Vectors) -> Vectors:
    """distances_NK, none below 0."""
    squares_N1 = np.square(vectors_ND).sum(axis=1)[:, None]
    distances_NK = squares_N1 - 2 * vectors_ND @ centroids_KD.T + np.square(centroids_KD).sum(axis=1)
    return np.asarray(np.maximum(distances_NK, 0.0))


def _drawn(vectors_ND: Vectors, k: int, rng: np.random.Generator) -> Vectors:
    chosen = [int(rng.integers(len(vectors_ND)))]
    distances_N = np.square(vectors_ND - vectors_ND[chosen[0]]).sum(axis=1)
    while len(chosen) < k and distances_N.any():
        summed_N = distances_N.cumsum()
        place = int(np.searchsorted(summed_N, rng.random() * summed_N[-1], side="right"))
        chosen.append(min(place, int(distances_N.nonzero()[0][-1])))  # a sum may be rounded up past the last
        distances_N = np.minimum(distances_N, np.square(vectors_ND - vectors_ND[chosen[-1]]).sum(axis=1))
    return vectors_ND[chosen]


def _fill_empty(labels_N: NDArray[np.int64], distances_N: Vectors, k: int) -> None:
    """Gives each centroid that lost its vectors one of those furthest from theirs, if that was not its centroid's only
    one."""
    counts_K = np.bincount(labels_N, minlength=k)
    furthest = iter(np.argsort(-distances_N, kind="stable").tolist())
    for empty in np.flatnonzero(counts_K == 0).tolist():
        place = next(place for place in furthest if counts_K[labels_N[place]] > 1)
        counts_K[labels_N[place]] -= 1
        labels_N[place] = empty
        counts_K[empty] = 1


def _means(vectors_ND: Vectors, labels_N: NDArray[np.int64], k: int) -> Vectors:
    n = len(vectors_ND)
    is_in_KN = sparse.csr_matrix((np.ones(n), (labels_N, np.arange(n))), shape=(k, n))
    return np.asarray((is_in_KN @ vectors_ND) / np.bincount(labels_N, minlength=k)[:, None])
