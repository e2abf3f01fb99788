"""Item ids that are codes of what is said of the item, coarse to fine, so that like items share their first tokens.

Residual quantisation: k-means of the vectors, then of what the first codes leave, and again. TIGER (Rajput et al.,
NeurIPS 2023) has 3 books of 256 and one more code that settles collisions; its quantiser is an autoencoder to 32
dimensions, in whose place are the 32 principal axes. Without them what the first book leaves is as long for one item as
for another, and most items share one code of the second. An item that comes later gets its code from the same books.
Shapes: N items, I new items, L books, K codes of a book, D dimensions, A axes, C = L + 1.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.errors import InvalidInput
from models.p5.kmeans import kmeans, nearest, squared_distances
from models.p5.numbering import Coded

LEVELS: Final = 3
AXES: Final = 32
SETTLING: Final = 4  # codes at least that tell items of one path apart: room for new items in a small catalogue
_LETTERS: Final = "abc"


@dataclass(frozen=True, slots=True, eq=False)
class Quantiser:
    """mean_D, axes_DA: from vectors to what is quantised. books: L arrays_KA, centroids of what those before leave."""

    mean_D: NDArray[np.float32]
    axes_DA: NDArray[np.float32]
    books: tuple[NDArray[np.float32], ...]

    def __post_init__(self) -> None:
        """Raises InvalidInput when the arrays do not fit together or are not finite."""
        shapes = [self.mean_D.shape, self.axes_DA.shape, *(book.shape for book in self.books)]
        if len(self.books) != LEVELS or self.mean_D.shape != self.axes_DA.shape[:1]:
            raise InvalidInput("quantiser", f"arrays of {shapes} are no mean, axes and {LEVELS} books")
        if any(book.ndim != 2 or not len(book) or book.shape[1:] != self.axes_DA.shape[1:] for book in self.books):
            raise InvalidInput("quantiser", f"arrays of {shapes} are no axes and books of them")
        if not all(np.isfinite(array).all() for array in (self.mean_D, self.axes_DA, *self.books)):
            raise InvalidInput("quantiser", "it has values that are not finite")

    @classmethod
    def fit(cls, vectors_ND: NDArray[np.float32], seed: int) -> "Quantiser":
        """From the vectors, in whatever order they come. Raises InvalidInput when they are all one."""
        _check(vectors_ND)
        if (vectors_ND == vectors_ND[:1]).all():
            raise InvalidInput("items", "nothing that is said of them tells them apart; use another indexing")
        sorted_ND = vectors_ND[np.lexsort(vectors_ND.T)].astype(np.float64)
        mean_D = sorted_ND.mean(axis=0).astype(np.float32)
        spreads_D, axes_DD = np.linalg.eigh((sorted_ND - mean_D).T @ (sorted_ND - mean_D))
        kept = np.flatnonzero(spreads_D >= 1e-9 * spreads_D[-1])[::-1][:AXES]
        axes_DA = axes_DD[:, kept].astype(np.float32)
        left_NA = (sorted_ND - mean_D) @ axes_DA
        books = []
        for level in range(LEVELS):
            book_KA = kmeans(left_NA, book_size(len(left_NA)), seed + level).astype(np.float32)
            left_NA = left_NA - book_KA[nearest(left_NA, book_KA.astype(np.float64))[0]]
            books.append(book_KA)
        return cls(mean_D, axes_DA, tuple(books))

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What `from_arrays` reads."""
        books = {f"book.{level}": book for level, book in enumerate(self.books)}
        return {"mean": self.mean_D, "axes": self.axes_DA} | books

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.float32]]) -> "Quantiser":
        """Raises KeyError when one is missing, InvalidInput when they do not fit."""
        return cls(arrays["mean"], arrays["axes"], tuple(arrays[f"book.{level}"] for level in range(LEVELS)))

    def check(self, codes_NC: NDArray[np.int32], n_tokens: int) -> None:
        """Raises InvalidInput when these codes are not of this quantiser's tokens."""
        bounds = np.array([*self.offsets, n_tokens])
        if codes_NC.shape[1] != LEVELS + 1 or not ((codes_NC >= bounds[:-1]) & (codes_NC < bounds[1:])).all():
            raise InvalidInput("codes", "they are not the quantiser's")

    @property
    def dimensions(self) -> int:
        return len(self.mean_D)

    def paths(self, vectors_ID: NDArray[np.float32]) -> Coded:
        """The nearest code in each book, greedily; tokens are a book's letter and the code."""
        distinct_ID, inverse_I = np.unique(vectors_ID, axis=0, return_inverse=True)
        left_IA = self._turned(distinct_ID)
        codes_IL = np.empty((len(left_IA), LEVELS), np.int32)
        for level, book_KA in enumerate(self.books):
            labels_I, _ = nearest(left_IA, book_KA.astype(np.float64))
            codes_IL[:, level] = self.offsets[level] + labels_I
            left_IA = left_IA - book_KA[labels_I]
        tokens = tuple(
            f"<{letter}{code}>" for letter, book in zip(_LETTERS, self.books, strict=True) for code in range(len(book))
        )
        return tokens, codes_IL[inverse_I]

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where the tokens of each book start, and those that settle collisions."""
        return tuple(np.cumsum([0, *map(len, self.books)]).tolist())

    def codes_for(
        self, vectors_ID: NDArray[np.float32], taken_NC: NDArray[np.int32], n_tokens: int
    ) -> NDArray[np.int32]:
        """codes_IC of new items, beside those that are taken and with no token but those that there are.

        The first free id of an item's path; where none is free, of the next nearest path. Raises InvalidInput when all
        are taken.
        """
        offsets = self.offsets
        used = {tuple(code) for code in taken_NC.tolist()}
        codes = []
        for left_A in self._turned(vectors_ID):
            free = (
                (*path, last)
                for path in self._by_distance(left_A)
                for last in range(offsets[-1], n_tokens)
                if (*path, last) not in used
            )
            code = next(free, None)
            if code is None:
                raise InvalidInput("items", "no id is free for one more; train again")
            used.add(code)
            codes.append(code)
        return np.array(codes, np.int32).reshape(-1, LEVELS + 1)

    def _by_distance(self, left_A: NDArray[np.float64], level: int = 0) -> Iterator[tuple[int, ...]]:
        """All paths: the nearest code of the first book, with it the nearest of the next, and so on."""
        if level == LEVELS:
            yield ()
            return
        book_KA = self.books[level].astype(np.float64)
        for code in np.argsort(squared_distances(left_A[None], book_KA)[0], kind="stable").tolist():
            for rest in self._by_distance(left_A - book_KA[code], level + 1):
                yield (self.offsets[level] + code, *rest)

    def _turned(self, vectors_ID: NDArray[np.float32]) -> NDArray[np.float64]:
        _check(vectors_ID)
        if vectors_ID.shape[1] != self.dimensions:
            raise InvalidInput("embeddings", f"{vectors_ID.shape[1]} dimensions were given, not {self.dimensions}")
        return np.asarray((vectors_ID.astype(np.float64) - self.mean_D) @ self.axes_DA)


def book_size(n_items: int) -> int:
    """The power of two nearest to twice the square root of the items: 256 for the 12,101 of Beauty, as in TIGER, and
    64 for the 1,682 of MovieLens 100K, so that two codes leave few items and a code has several."""
    return int(2 ** np.clip(np.rint(np.log2(2 * np.sqrt(n_items))), 1, 11))


def _check(vectors_ND: NDArray[np.float32]) -> None:
    if vectors_ND.ndim != 2 or not np.isfinite(vectors_ND).all():
        raise InvalidInput("embeddings", "a matrix of finite values is needed, a row an item")
