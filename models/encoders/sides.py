"""What an encoder has learned of words and categories by name: of an item without events it knows this much.

Shapes: I items, K names, D dimensions.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.errors import BundleRefused
from models.counts.fitting import Texts
from models.encoders.reading import bags_of, names_of

KINDS: Final = ("words", "categories")

Tables = Mapping[str, tuple[tuple[str, ...], NDArray[np.float32]]]


class SideVectors:
    """tables: by kind, the names and their vectors_KD. Immutable."""

    def __init__(self, tables: Tables, dimensions: int) -> None:
        """Raises BundleRefused when names and vectors do not fit, or a value is not finite."""
        self.dimensions = dimensions
        self._tables = dict(tables)
        for kind, (names, vectors_KD) in tables.items():
            if vectors_KD.dtype != np.float32 or vectors_KD.shape != (len(names), dimensions):
                given = f"{vectors_KD.dtype}{list(vectors_KD.shape)}"
                raise BundleRefused(
                    f"{kind}: vectors are {given}, not float32[{len(names)}, {dimensions}]; train again"
                )
            if not np.isfinite(vectors_KD).all():
                raise BundleRefused(f"{kind}: vectors have values that are not finite; train again")
        self._number_of = {kind: {name: n for n, name in enumerate(names)} for kind, (names, _) in tables.items()}

    @classmethod
    def of(cls, weights: Mapping[str, NDArray[np.float32]], texts: Texts, dimensions: int) -> "SideVectors | None":
        """From an encoder's weights and the texts it was trained with; None when it uses neither kind."""
        bags = bags_of(texts)
        tables = {
            kind: (names_of(bags[kind]), weights[f"{kind}.weight"]) for kind in KINDS if f"{kind}.weight" in weights
        }
        return cls(tables, dimensions) if tables else None

    def vectors(self, texts: Texts) -> NDArray[np.float32]:
        """vectors_ID: the mean of the title's words and that of the categories, added; 0 for what was never met."""
        bags = bags_of(texts)
        vectors_ID = np.zeros((len(texts.titles), self.dimensions), np.float32)
        for kind, (_, vectors_KD) in self._tables.items():
            number_of = self._number_of[kind]
            for place, bag in enumerate(bags[kind]):
                numbers = [number_of[name] for name in bag if name in number_of]
                if numbers:
                    vectors_ID[place] += vectors_KD[numbers].mean(axis=0)
        return vectors_ID

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` reads."""
        arrays: dict[str, NDArray[Any]] = {}
        for kind, (names, vectors_KD) in self._tables.items():
            arrays[kind] = np.ascontiguousarray(vectors_KD)
            arrays[f"{kind}.names"] = np.frombuffer(json.dumps(names).encode(), np.uint8)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], dimensions: int) -> "SideVectors":
        """Raises BundleRefused, and KeyError and ValueError for arrays that lack their names."""
        return cls(
            {
                kind: (tuple(json.loads(arrays[f"{kind}.names"].tobytes())), arrays[kind])
                for kind in KINDS
                if kind in arrays
            },
            dimensions,
        )
