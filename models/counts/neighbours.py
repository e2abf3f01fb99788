"""A table of each item's strongest neighbours, and the scores it gives a history: what most counting models come to.

A model that is linear in the history scores an item by the sum, over the history, of decay^(steps back) times the
weight of that item among the neighbours of the history's item. The models differ in how the weights were counted.
Shapes: N items, K neighbours kept of each, B histories, M tables, T (table, steps back) pairs, L history items.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

HISTORY_LENGTH: Final = 50  # newest events of a user that any model is fed with, offline and online
NEGLIGIBLE: Final = 0.05  # steps back whose weight would be below this are left out
BLOCK: Final = 256  # histories scored at a time, which bounds memory

History = NDArray[np.int64]  # item rows, oldest first


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """neighbours_NK: item rows, the strongest first. weights_NK: theirs, 0 where there are fewer than K.

    decay: how much a step back in the history counts, in (0, 1]. bias_N: added to scores that were divided by the sum
    of the history's weights; None for no bias and no division.
    """

    neighbours_NK: NDArray[np.int32]
    weights_NK: NDArray[np.float32]
    decay: float
    bias_N: NDArray[np.float32] | None = None

    @property
    def steps(self) -> int:
        """How many of the newest history items are used."""
        if self.decay >= 1:
            return HISTORY_LENGTH
        return min(HISTORY_LENGTH, max(1, math.ceil(math.log(NEGLIGIBLE) / math.log(self.decay))))

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """scores_BN of every item for each history (item rows, oldest first; empty ones score the bias, or 0)."""
        stack = Stack((self,))
        scores_BN = np.empty((len(histories), stack.n_items), np.float32)
        for start in range(0, len(histories), BLOCK):
            block = histories[start : start + BLOCK]
            parts_BN = stack.gather(block).parts()[:, 0]
            if self.bias_N is not None:
                totals = [self._total_weight(len(history)) for history in block]
                parts_BN = parts_BN / np.array(totals)[:, None] + self.bias_N
            scores_BN[start : start + len(block)] = parts_BN
        return scores_BN

    def _total_weight(self, length: int) -> float:
        return float((self.decay ** np.arange(min(length, self.steps))).sum()) or 1.0


class Stack:
    """Several tables over the same items, laid one below the other so that one gather serves them all.

    Of each row that a history gathers, steps_T says how many steps back it belongs, and tables_T to which table.
    """

    def __init__(self, tables: Sequence[Neighbours]) -> None:
        self.n_items = len(tables[0].neighbours_NK)
        self.n_tables = len(tables)
        widest = max(table.neighbours_NK.shape[1] for table in tables)
        rows = self.n_items + 1  # the last row of each table is empty: what pads a short history
        # int64 and float64, since np.bincount would convert each batch otherwise
        self._columns = np.zeros((rows * self.n_tables, widest), np.int64)
        self._weights = np.zeros((rows * self.n_tables, widest), np.float64)
        for place, table in enumerate(tables):
            n, k = table.neighbours_NK.shape
            here = slice(place * rows, place * rows + n)
            self._columns[here] = place * self.n_items
            self._columns[here, :k] += table.neighbours_NK
            self._weights[here, :k] = table.weights_NK
        self.steps_T = np.concatenate([np.arange(table.steps) for table in tables])
        self._first_T = np.concatenate([np.full(table.steps, place * rows) for place, table in enumerate(tables)])
        self.tables_T = np.repeat(np.arange(self.n_tables), [table.steps for table in tables])
        self._decays_T1 = np.concatenate([table.decay ** np.arange(table.steps) for table in tables])[:, None]
        self.depth = int(self.steps_T.max()) + 1
        self.steps_before_T = self.steps_T - self.depth
        self.every_M1 = np.arange(self.n_tables)[:, None]

    def gather(self, histories: Sequence[History | list[int]]) -> "Gathered":
        """Every neighbour of every history item, weighted; at most a few hundred histories at a time."""
        backwards_BL = np.full((len(histories), self.depth), self.n_items, np.int64)
        for place, history in enumerate(histories):
            newest = history[: -self.depth - 1 : -1]
            backwards_BL[place, : len(newest)] = newest
        rows_BT = backwards_BL.take(self.steps_T, axis=1) + self._first_T
        columns_BTK = self._columns.take(rows_BT, axis=0)
        if len(histories) > 1:
            columns_BTK += (np.arange(len(histories)) * (self.n_tables * self.n_items))[:, None, None]
        weights_BTK = self._weights.take(rows_BT, axis=0)
        weights_BTK *= self._decays_T1
        return Gathered(self, columns_BTK, weights_BTK)


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """columns_BTK: places in a (B, M, N) array. weights_BTK: what is to be added there."""

    stack: Stack
    columns_BTK: NDArray[np.int64]
    weights_BTK: NDArray[np.float64]

    def only(self, place: int) -> "Gathered":
        """The part of one history."""
        first = place * self.stack.n_tables * self.stack.n_items
        return Gathered(self.stack, self.columns_BTK[place : place + 1] - first, self.weights_BTK[place : place + 1])

    def parts(self) -> NDArray[np.float64]:
        """parts_BMN: the scores that each table alone gives."""
        shape = (len(self.columns_BTK), self.stack.n_tables, self.stack.n_items)
        summed = np.bincount(self.columns_BTK.ravel(), self.weights_BTK.ravel(), minlength=math.prod(shape))
        return np.asarray(summed, np.float64).reshape(shape)

    def because(self, items_BJ: NDArray[np.int64], weights_BM: NDArray[np.float64]) -> NDArray[np.int64]:
        """steps_BJ: how many steps back lies the history item that added most to each of these items' scores.

        weights_BM: what each table's part counts in the score. -1 where nothing in the history added to it.
        """
        stack = self.stack
        n_histories, n_wanted = items_BJ.shape
        depth = stack.depth
        # Of each place in a (B, M, N) array: 0, or one more than the item's place in J; small, to stay in cache.
        wanted_BMN = np.zeros((n_histories, stack.n_tables, stack.n_items), np.int16)
        every_B1 = np.arange(n_histories)[:, None]
        wanted_BMN[every_B1[:, None], stack.every_M1, items_BJ[:, None]] = np.arange(1, n_wanted + 1)
        wanted = wanted_BMN.ravel().take(self.columns_BTK.ravel())
        found = np.flatnonzero(wanted != 0)
        rows = found // self.columns_BTK.shape[2]  # of (B, T)
        added = self.weights_BTK.ravel().take(found) * weights_BM.take(stack.tables_T, axis=1).ravel().take(rows)
        first_BT = every_B1 * (n_wanted * depth) + stack.steps_before_T
        places = wanted.take(found).astype(np.int64) * depth + first_BT.ravel().take(rows)
        summed = np.bincount(places, added, minlength=n_histories * n_wanted * depth)
        added_BJL = summed.reshape(n_histories, n_wanted, depth)
        return np.where(added_BJL.max(axis=2) > 0, added_BJL.argmax(axis=2), -1)


def strongest(weights_NN: Any, most: int, decay: float) -> Neighbours:
    """The table of the `most` greatest weights of each row of a scipy sparse matrix; of equal ones the lower rows."""
    matrix = sparse.csr_matrix(weights_NN)
    n_items = matrix.shape[0]
    lengths_N = np.diff(matrix.indptr)
    rows = np.repeat(np.arange(n_items), lengths_N)
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    places = np.arange(len(order)) - np.repeat(matrix.indptr[:-1], lengths_N)
    kept = (places < most) & (matrix.data[order] != 0)
    width = max(1, min(most, int(lengths_N.max(initial=0))))
    neighbours_NK = np.zeros((n_items, width), np.int32)
    weights_NK = np.zeros((n_items, width), np.float32)
    neighbours_NK[rows[kept], places[kept]] = matrix.indices[order][kept]
    weights_NK[rows[kept], places[kept]] = matrix.data[order][kept]
    return Neighbours(neighbours_NK, weights_NK, decay)


def strongest_dense(weights_NN: NDArray[np.floating[Any]], most: int, decay: float) -> Neighbours:
    """The same of a dense matrix, by magnitude: what speaks most for a neighbour or against it."""
    width = min(most, weights_NN.shape[1])
    neighbours_NK = np.argsort(-np.abs(weights_NN), axis=1, kind="stable")[:, :width].astype(np.int32)
    weights_NK = np.take_along_axis(weights_NN, neighbours_NK, axis=1).astype(np.float32)
    return Neighbours(neighbours_NK, weights_NK, decay)
