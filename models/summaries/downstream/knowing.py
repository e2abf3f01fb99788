"""What a model from nothing is given to begin with: vectors of items that are had one soon after the other, and of the
words that name them.

A pretrained model knows which films are of a kind; one from nothing would need millions of events to find out. The
vectors are those of word2vec as Levy and Goldberg (2014) make them: the positive pointwise mutual information of two
items' being had within WINDOW events, counted by nearness, factorised. A piece of text has the mean vector of the items
that it names, as long as it is rare. Everything is counted on events that are learnt from.
Shapes: N items, P pieces of text, D dimensions.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.linalg import svds

from models.summaries.downstream.cases import Log
from models.summaries.downstream.tokens import Prompts
from models.summaries.entries import named

WINDOW: Final = 10


def known_tokens(log: Log, prompts: Prompts, dimensions: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(pieces_PD, items_ND), of length sqrt(D) and less; zero where nothing is known."""
    items_ND = item_vectors(log.learnt_items(), len(log.vocabulary), dimensions)
    counts_N = np.bincount(np.concatenate(log.learnt_items()), minlength=len(log.vocabulary))
    pieces = [list(set(prompts.pieces(named(*names)))) for names in log.names]
    rows = np.repeat(np.arange(len(pieces)), list(map(len, pieces)))
    columns = np.concatenate(pieces)
    shape = len(pieces), prompts.first_level
    names_NP = csr_array((counts_N[rows].astype(np.float64), (rows, columns)), shape)
    of_pieces_P = np.bincount(columns, minlength=shape[1])
    rarity_P = np.log(len(pieces) / np.maximum(of_pieces_P, 1)) / np.log(len(pieces) + 1)
    pieces_PD = _unit(names_NP.T @ items_ND) * rarity_P[:, None]
    scale = dimensions**0.5
    return (scale * pieces_PD).astype(np.float32), (scale * items_ND).astype(np.float32)


def item_vectors(histories: Sequence[NDArray[np.int64]], n_items: int, dimensions: int) -> NDArray[np.float64]:
    """items_ND of length one, near each other for items that are had soon after one another; zero for one never had."""
    pairs: list[tuple[NDArray[np.int64], NDArray[np.int64], float]] = []
    for rows in histories:
        pairs += [(rows[:-step], rows[step:], 1 / step) for step in range(1, min(WINDOW + 1, len(rows)))]
    if not pairs:
        return np.zeros((n_items, dimensions))
    before, after = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    weights = np.concatenate([np.full(len(pair[0]), pair[2]) for pair in pairs])
    shape = n_items, n_items
    counts_NN = (coo_array((weights, (before, after)), shape) + coo_array((weights, (after, before)), shape)).tocoo()
    sums_N = np.asarray(counts_NN.sum(axis=1)).ravel()
    information = np.log(counts_NN.data * counts_NN.sum() / (sums_N[counts_NN.coords[0]] * sums_N[counts_NN.coords[1]]))
    positive_NN = csr_array((np.maximum(information, 0), counts_NN.coords), shape)
    kept = min(dimensions, n_items - 1)
    left_NK, strengths_K, _ = svds(positive_NN, k=kept, v0=np.ones(n_items), which="LM")
    vectors_ND = np.zeros((n_items, dimensions))
    vectors_ND[:, :kept] = left_NK * np.sqrt(strengths_K)
    return _unit(vectors_ND)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), np.float64)
