"""What is said of items, as vectors: by a sentence embedder, or by a counting model where there are no weights for one.

The counting model is latent semantic analysis (Deerwester et al., 1990): TF-IDF over the words of the title and the
names of the categories, hashed to a fixed number of places (Weinberger et al., 2009), and projected on the directions
of greatest variance. It makes a vector of any later text as well.
Shapes: N items, I any items, H places, W of them in use, D dimensions, S = D + a few.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from features.errors import InvalidInput
from models.encoders.cold import Embeds, told

PLACES: Final = 1 << 14
DIMENSIONS: Final = 64
_SPARE: Final = 16  # directions beside those kept, and rounds: then the kept ones are exact to several digits
_ROUNDS: Final = 6
_WORD: Final = re.compile(r"\w[\w']*")


def embedded(titles: Sequence[str], categories: Sequence[Sequence[str]], embedder: Embeds) -> NDArray[np.float32]:
    """An embedder's vectors_ND of the items.

    It is given each text once and in the texts' order, since its last digits depend on what is read together.
    """
    texts = [told(*said) for said in zip(titles, categories, strict=True)]
    distinct = sorted(set(texts))
    place_of = {text: place for place, text in enumerate(distinct)}
    return embedder.vectors(distinct)[[place_of[text] for text in texts]]


@dataclass(frozen=True, slots=True, eq=False)
class HashedTexts:
    """rarity_H: weight of each place. directions_HD: the projection."""

    rarity_H: NDArray[np.float32]
    directions_HD: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Raises InvalidInput when the arrays do not fit together or are not finite."""
        if self.rarity_H.shape != (PLACES,) or self.directions_HD.shape[:-1] != (PLACES,):
            raise InvalidInput(
                "texts",
                f"weights {list(self.rarity_H.shape)} and directions "
                f"{list(self.directions_HD.shape)} are not of {PLACES} places",
            )
        if not (np.isfinite(self.rarity_H).all() and np.isfinite(self.directions_HD).all()):
            raise InvalidInput("texts", "weights or directions are not finite")

    @property
    def dimensions(self) -> int:
        return int(self.directions_HD.shape[1])

    @classmethod
    def fit(cls, titles: Sequence[str], categories: Sequence[Sequence[str]]) -> "HashedTexts":
        """From what is said of the items, in whatever order they come."""
        said = sorted((title, tuple(names)) for title, names in zip(titles, categories, strict=True))
        counts_NH = _counts([title for title, _ in said], [names for _, names in said])
        frequency_H = np.asarray((counts_NH > 0).sum(axis=0)).ravel()
        rarity_H = np.log((1 + len(said)) / (1 + frequency_H)).astype(np.float32)
        return cls(rarity_H, _directions(_weighed(counts_NH, rarity_H)).astype(np.float32))

    def vectors(self, titles: Sequence[str], categories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """vectors_ID of length one; zeros for an item of which nothing is said."""
        vectors_ID = _weighed(_counts(titles, categories), self.rarity_H) @ self.directions_HD.astype(np.float64)
        lengths_I1 = np.linalg.norm(vectors_ID, axis=1, keepdims=True)
        return np.asarray(vectors_ID / np.where(lengths_I1 > 1e-9, lengths_I1, np.inf), np.float32)


def _counts(titles: Sequence[str], categories: Sequence[Sequence[str]]) -> Any:
    """A scipy CSR matrix counts_IH; every word and every name counts once an item."""
    places: list[int] = []
    starts = [0]
    for title, names in zip(titles, categories, strict=True):
        tokens = {*_WORD.findall(title.lower()), *(f"category {name}" for name in names)}
        places += sorted(crc32(token.encode()) % PLACES for token in tokens)
        starts.append(len(places))
    counts_IH = sparse.csr_matrix((np.ones(len(places)), places, starts), shape=(len(titles), PLACES))
    counts_IH.sum_duplicates()
    return counts_IH


def _weighed(counts_IH: Any, rarity_H: NDArray[np.float32]) -> Any:
    """The rows weighed and scaled to length one."""
    weighed_IH = counts_IH @ sparse.diags(rarity_H.astype(np.float64))
    lengths_I = np.sqrt(np.asarray(weighed_IH.multiply(weighed_IH).sum(axis=1)).ravel())
    return (sparse.diags(1 / np.where(lengths_I > 0, lengths_I, 1.0)) @ weighed_IH).tocsr()


def _directions(weighed_NH: Any) -> NDArray[np.float64]:
    """directions_HD: the first right singular vectors, by subspace iteration (Halko, Martinsson and Tropp, 2011), which
    takes any shape and rank and ends in the same bytes. Places of no weight are left out of the work."""
    used = np.unique(weighed_NH.indices[weighed_NH.data != 0])
    weighed_NW = weighed_NH[:, used]
    basis_WS = np.random.default_rng(0).standard_normal((len(used), DIMENSIONS + _SPARE))
    for _ in range(_ROUNDS):
        basis_NS, _ = np.linalg.qr(weighed_NW @ basis_WS)
        basis_WS, _ = np.linalg.qr(weighed_NW.T @ basis_NS)
    basis_NS, _ = np.linalg.qr(weighed_NW @ basis_WS)
    _, strengths_S, directions_SW = np.linalg.svd((weighed_NW.T @ basis_NS).T, full_matrices=False)
    kept = strengths_S[:DIMENSIONS] > 1e-6 * strengths_S.max(initial=0.0)
    directions_HD = np.zeros((PLACES, int(kept.sum())))
    directions_HD[used] = directions_SW[:DIMENSIONS][kept].T
    return directions_HD
