"""Content: items whose titles and categories share rare words.

Cosine similarity of TF-IDF vectors (Salton and Buckley, 1988) over the words of the title, each counted once, and the
whole names of the categories. It needs no events, and speaks most where events are few.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse

from models.counts.neighbours import Neighbours, strongest

MOST_ITEMS: Final = 50_000  # every item is compared with every other
COMMON: Final = 1000  # a word of more items than this says little and costs its square
_BLOCK: Final = 512
_WORD: Final = re.compile(r"\w[\w']*")


@dataclass(frozen=True, slots=True)
class ContentConfig:
    """decay: of history items. neighbours: kept of each item."""

    decay: float = 0.7
    neighbours: int = 128


def fit_content(titles: Sequence[str], categories: Sequence[Sequence[str]], config: ContentConfig) -> Neighbours:
    """Similarities of the items, whose titles and categories are given in the vocabulary's order."""
    words: dict[str, int] = {}
    rows: list[int] = []
    columns: list[int] = []
    for row, (title, names) in enumerate(zip(titles, categories, strict=True)):
        tokens = dict.fromkeys([*_WORD.findall(title.lower()), *(f"category {name}" for name in names)])
        rows.extend([row] * len(tokens))
        columns.extend(words.setdefault(token, len(words)) for token in tokens)
    n_items = len(titles)
    tokens_NW = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(n_items, len(words)))
    frequency_W = np.asarray(tokens_NW.sum(axis=0)).ravel()
    rarity_W = np.where(frequency_W > COMMON, 0.0, np.log(n_items / np.maximum(frequency_W, 1)))
    tokens_NW = (tokens_NW @ sparse.diags(rarity_W.astype(np.float32))).tocsr()
    tokens_NW.eliminate_zeros()
    norms_N = np.sqrt(np.asarray(tokens_NW.multiply(tokens_NW).sum(axis=1)).ravel())
    tokens_NW = (sparse.diags(1 / np.maximum(norms_N, 1e-9)) @ tokens_NW).tocsr()
    blocks = [_strongest_of(tokens_NW, start, config) for start in range(0, n_items, _BLOCK)]
    width = max((block.neighbours_NK.shape[1] for block in blocks), default=1)
    return Neighbours(
        np.concatenate([_widened(block.neighbours_NK, width) for block in blocks]).astype(np.int32),
        np.concatenate([_widened(block.weights_NK, width) for block in blocks]).astype(np.float32),
        config.decay,
    )


def _strongest_of(tokens_NW: sparse.csr_matrix, start: int, config: ContentConfig) -> Neighbours:
    similar = (tokens_NW[start : start + _BLOCK] @ tokens_NW.T).tocoo()
    other = similar.row + start != similar.col
    matrix = sparse.csr_matrix((similar.data[other], (similar.row[other], similar.col[other])), shape=similar.shape)
    return strongest(matrix, config.neighbours, config.decay)


def _widened(values_NK: np.ndarray, width: int) -> np.ndarray:
    return np.pad(values_NK, ((0, 0), (0, width - values_NK.shape[1])))
