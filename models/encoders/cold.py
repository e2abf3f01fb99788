"""Vectors of items that came after the training: what is said of an item, mapped to where an encoder would put it.

Attribute-to-feature mapping (Gantner et al., ICDM 2010) by ridge regression: from the embedding of an item's title and
categories, and what the encoder has learned of their words, to the encoder's vector of the item; fitted on the items
that were chosen often enough to have one. The ridge is the one with the least error on items left out of the fit.
Directions are kept and lengths are not: a length mostly says how often an item was chosen, which of a new one is not
known. An inner product with a user's vector therefore ranks new items among themselves, and not among the others.
Shapes: I items, N items that the encoder knows, F new items, X features, D dimensions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from features.errors import BundleRefused
from features.events import ItemId

EVENTS: Final = 5  # that an item needs for its vector to teach anything
FEWEST: Final = 20  # items without which there is no map
LEFT_OUT: Final = 5  # of so many items one is left out to choose the ridge
RIDGES: Final = tuple((10.0 ** np.arange(-2, 4.1, 0.5)).tolist())


def told(title: str, categories: Sequence[str]) -> str:
    """The text that is embedded; empty when nothing is said of the item."""
    return ". ".join(part for part in (title, ", ".join(categories)) if part)


class Embeds(Protocol):
    """An embedder of texts; digest: of its weights."""

    @property
    def digest(self) -> str: ...

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """vectors_IE of length one, in the texts' order."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ColdMap:
    """map_XD, bias_D: the regression. ridge: chosen. items: how many it was fitted on.

    error: on the items left out, as a share of their variance. embedder: sha256 of the weights that embed.
    """

    map_XD: NDArray[np.float32]
    bias_D: NDArray[np.float32]
    ridge: float
    items: int
    error: float
    embedder: str

    def __post_init__(self) -> None:
        """Raises BundleRefused when the arrays do not fit together or are not finite."""
        if self.map_XD.dtype != np.float32 or self.bias_D.shape != self.map_XD.shape[1:]:
            raise BundleRefused("cold: a map and a bias that do not fit together; train again")
        if not (np.isfinite(self.map_XD).all() and np.isfinite(self.bias_D).all()):
            raise BundleRefused("cold: the map has values that are not finite; train again")

    def vectors(self, features_IX: NDArray[np.float32]) -> NDArray[np.float32]:
        """vectors_ID of length one."""
        return directions(features_IX @ self.map_XD + self.bias_D)

    def described(self) -> dict[str, Any]:
        """All but the arrays, as JSON values."""
        return {"ridge": self.ridge, "items": self.items, "error": self.error, "embedder": self.embedder}


def fit_cold(
    features_NX: NDArray[np.float32],
    vectors_ND: NDArray[np.float32],
    counts_N: NDArray[np.int64],
    embedder: str,
    seed: int = 0,
) -> ColdMap | None:
    """The map from features to an encoder's vectors of its items; None when fewer than FEWEST items have EVENTS.

    counts_N: events of each item that the encoder was trained on.
    """
    rows = np.flatnonzero(counts_N >= EVENTS)
    if len(rows) < FEWEST:
        return None
    given_IX, wanted_ID = features_NX[rows].astype(np.float64), vectors_ND[rows].astype(np.float64)
    is_out_I = np.random.default_rng(seed).permutation(len(rows)) % LEFT_OUT == 0
    tried = _ridges(given_IX[~is_out_I], wanted_ID[~is_out_I], RIDGES)
    errors = [float(np.square(given_IX[is_out_I] @ to + bias - wanted_ID[is_out_I]).mean()) for to, bias in tried]
    best = int(np.argmin(errors))
    variance = float(np.square(wanted_ID[is_out_I] - wanted_ID[~is_out_I].mean(axis=0)).mean()) or 1.0
    [(map_XD, bias_D)] = _ridges(given_IX, wanted_ID, RIDGES[best : best + 1])
    share = round(errors[best] / variance, 4)
    return ColdMap(map_XD.astype(np.float32), bias_D.astype(np.float32), RIDGES[best], len(rows), share, embedder)


def _ridges(
    given_IX: NDArray[np.float64], wanted_ID: NDArray[np.float64], ridges: Sequence[float]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """(map_XD, bias_D) for each ridge, which the bias is free of."""
    mean_X, mean_D = given_IX.mean(axis=0), wanted_ID.mean(axis=0)
    given_IX, wanted_ID = given_IX - mean_X, wanted_ID - mean_D
    values_X, basis_XX = np.linalg.eigh(given_IX.T @ given_IX)
    turned_XD = basis_XX.T @ (given_IX.T @ wanted_ID)
    maps = [basis_XX @ (turned_XD / (np.maximum(values_X, 0.0) + ridge)[:, None]) for ridge in ridges]
    return [(map_XD, mean_D - mean_X @ map_XD) for map_XD in maps]


@dataclass(frozen=True, slots=True, eq=False)
class ColdVectors:
    """Vectors of new items for one bundle; replaced whole, never altered.

    model: the bundle's name. vectors_FD: of `items`, less the mean direction of the items that the encoder knows: an
    inner product with a user's vector is above 0 for what suits the user more than the catalogue does on average.
    """

    model: str
    items: Sequence[ItemId]
    vectors_FD: NDArray[np.float32]
    row_of: Mapping[ItemId, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "row_of", {item: row for row, item in enumerate(self.items)})

    def of(self, items: Sequence[ItemId]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(vectors_ID, whether each is known), zeros for an item that is not."""
        rows_I = np.fromiter((self.row_of.get(item, -1) for item in items), np.int64, len(items))
        is_known_I = rows_I >= 0
        vectors_ID = np.zeros((len(items), self.vectors_FD.shape[1]), np.float32)
        vectors_ID[is_known_I] = self.vectors_FD[rows_I[is_known_I]]
        return vectors_ID, is_known_I


def directions(vectors_ID: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors of length one; zeros stay."""
    lengths_I1 = np.linalg.norm(vectors_ID, axis=1, keepdims=True)
    return np.asarray(vectors_ID / np.maximum(lengths_I1, 1e-12), np.float32)
