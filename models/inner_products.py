"""Arithmetic on vectors that are compared by inner products.

Shapes: N items, Q queries, D numbers a vector, K places of a list.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.errors import InvalidInput

GREATEST: Final = 1e15  # of a number in a vector, so that no product of two vectors overflows

Vectors = NDArray[np.float32]


def checked(what: str, vectors_ND: Vectors, width: int | None) -> Vectors:
    """The vectors as faiss takes them. Raises InvalidInput."""
    vectors_ND = np.ascontiguousarray(vectors_ND, np.float32)
    if vectors_ND.ndim != 2 or vectors_ND.shape[1] != (width or max(vectors_ND.shape[1], 1)):
        raise InvalidInput(
            what, f"an array of shape {list(vectors_ND.shape)} was given; rows of {width or 'one or more'} will do"
        )
    if not float(np.abs(vectors_ND).max(initial=0.0)) <= GREATEST:  # false for NaN too
        raise InvalidInput(what, f"a value is not finite, or beyond {GREATEST:g}")
    return vectors_ND


def sample(vectors_ND: Vectors, most: int) -> Vectors:
    """At most so many rows, evenly spread."""
    count = min(most, len(vectors_ND))
    return np.ascontiguousarray(vectors_ND[np.linspace(0, len(vectors_ND) - 1, count).astype(np.int64)])


def on_sphere(vectors_ND: Vectors, longest: float) -> Vectors:
    """The vectors with one more coordinate, that gives all of them the norm of the longest."""
    squares_N = np.einsum("nd,nd->n", vectors_ND, vectors_ND, dtype=np.float64)
    rest_N = np.sqrt(np.maximum(longest**2 - squares_N, 0.0))
    return np.concatenate([vectors_ND, rest_N[:, None].astype(np.float32)], axis=1)


def products(queries_QD: Vectors, vectors_ND: Vectors, rows_QK: NDArray[np.int64]) -> Vectors:
    return np.asarray(np.einsum("qd,qkd->qk", queries_QD, vectors_ND[rows_QK]), np.float32)


def recall_of(found_QK: Vectors, exact_QK: Vectors) -> float:
    """The share of found products that are among the greatest; equal items stand in for each other."""
    least_Q1 = exact_QK[:, -1:]
    return float((found_QK >= least_Q1 - 1e-4 * np.abs(least_Q1)).mean())
