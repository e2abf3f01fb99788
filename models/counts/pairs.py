"""Counting which items follow which in users' sequences: what transitions, PCTM and item-to-item start from."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from scipy import sparse

from features.frames import Sequences

PAIRS_AT_A_TIME: Final = 8_000_000  # 200 MB


def pair_counts(sequences: Sequences, n_items: int, window: int, weight: Callable[[int], float]) -> Any:
    """A scipy CSR matrix: for items a and b, the sum of weight(d) over all b that come d <= window events after an a.

    Rows are a, columns b; the pair of an item with itself is left out.
    """
    total = sparse.csr_matrix((n_items, n_items))
    pending: list[tuple[Any, Any, Any]] = []
    followers_E = sequences.followers()
    for distance in range(1, window + 1):
        first = np.flatnonzero(followers_E >= distance)
        a, b = sequences.items_E[first], sequences.items_E[first + distance]
        differ = a != b
        pending.append((a[differ], b[differ], np.full(int(differ.sum()), weight(distance))))
        if sum(len(weights) for _, _, weights in pending) > PAIRS_AT_A_TIME or distance == window:
            a, b, weights = (np.concatenate(column) for column in zip(*pending, strict=True))
            total = total + sparse.csr_matrix((weights, (a, b)), shape=(n_items, n_items))
            pending.clear()
    return total
