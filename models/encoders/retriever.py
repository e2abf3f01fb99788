"""An encoder and the index of its items: what a pipeline asks, and how both are kept in a bundle.

Shapes: B histories, D dimensions, N items, R retrieved items, I any items, E dimensions of embeddings.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from features.errors import BundleRefused, InvalidInput
from models.counts.fitting import Texts
from models.counts.neighbours import History
from models.encoders.cold import ColdMap, Embeds, directions, fit_cold, told
from models.encoders.config import configured
from models.encoders.frozen import FrozenEncoder
from models.encoders.sides import SideVectors
from models.index import ItemIndex, build

RETRIEVED: Final = 1000  # items that an encoder speaks for; fused ranking is the same, within its error, from 300 on
PARTS: Final = ("items.safetensors", "encoder.safetensors", "index.safetensors")
SIDES: Final = "sides.safetensors"  # of an encoder that uses words or categories
COLD: Final = "cold.safetensors"  # where embeddings were at hand

_Part = TypeVar("_Part")


class EncoderRetriever:
    """Immutable, and safe to use from several threads. sides, cold: what it tells of items that it does not know."""

    def __init__(
        self,
        encoder: FrozenEncoder,
        index: ItemIndex,
        sides: SideVectors | None = None,
        cold: ColdMap | None = None,
    ) -> None:
        self.encoder = encoder
        self.index = index
        self.sides = sides
        self.cold = cold

    @classmethod
    def of(
        cls,
        encoder: FrozenEncoder,
        queries_QD: NDArray[np.float32] | None = None,
        threads: int = 1,
        sides: SideVectors | None = None,
    ) -> "EncoderRetriever":
        """With an index made for the encoder's items; queries_QD: users' vectors, to calibrate its searches on."""
        return cls(encoder, build(encoder.vectors_ND, queries_QD, threads=threads), sides)

    def with_cold(self, texts: Texts, counts_N: NDArray[np.int64], embedder: Embeds) -> "EncoderRetriever":
        """The same with a map fitted to the encoder's items, if they are enough for one; counts_N as in `fit_cold`."""
        features_NX = self._features(texts, embedded(texts, embedder))
        cold = fit_cold(features_NX, self.encoder.vectors_ND, counts_N, embedder.digest)
        return EncoderRetriever(self.encoder, self.index, self.sides, cold)

    def cold_vectors(self, texts: Texts, embeddings_IE: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """vectors_ID of length one for items by what is said of them; zeros where that tells nothing.

        embeddings_IE: of their texts, by the embedder of the map. Without a map or embeddings an item is its words and
        categories alone.
        """
        if self.cold is not None and embeddings_IE is not None:
            return self.cold.vectors(self._features(texts, embeddings_IE))
        if self.sides is not None:
            return directions(self.sides.vectors(texts))
        return np.zeros((len(texts.titles), self.encoder.config.dimensions), np.float32)

    def mean_direction(self) -> NDArray[np.float32]:
        """mean_D: of the items that the encoder knows."""
        return np.asarray(directions(self.encoder.vectors_ND).mean(axis=0), np.float32)

    def _features(self, texts: Texts, embeddings_IE: NDArray[np.float32]) -> NDArray[np.float32]:
        return embeddings_IE if self.sides is None else np.hstack([embeddings_IE, self.sides.vectors(texts)])

    def vectors(
        self,
        histories: Sequence[History | list[int]],
        times: Sequence[NDArray[np.float64] | None] | None = None,
        values: Sequence[NDArray[np.float32] | None] | None = None,
    ) -> NDArray[np.float32]:
        """As `FrozenEncoder.vectors`."""
        return self.encoder.vectors(histories, times, values)

    def retrieve(self, vectors_BD: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(rows_BR, values_BR): the items of the greatest scores, and how far each is above the last.

        A vector of zeros, of an empty history, gives values of 0; a row of -1 pads.
        """
        rows_BR, scores_BR = self.index.search(vectors_BD, min(RETRIEVED, len(self.index)))
        is_item_BR = rows_BR >= 0
        lowest_B1 = np.where(is_item_BR, scores_BR, np.inf).min(axis=1, keepdims=True)
        return rows_BR, np.where(is_item_BR, scores_BR - lowest_B1, 0.0).astype(np.float32)

    def parts(self, vocabulary: str) -> dict[str, bytes]:
        """The files of a bundle. Each carries the digests of those it was made with: the vocabulary's (the item map),
        the items', the encoder's."""
        items, encoder, index = PARTS
        of_map = {"vocabulary": vocabulary}
        content = {items: save({"items": self.encoder.items_ND}, _said(of_map))}
        of_items = of_map | {"items": sha256(content[items]).hexdigest()}
        layers = {name: np.ascontiguousarray(array) for name, array in self.encoder.layers.items()}
        config = {"config": json.dumps(asdict(self.encoder.config), sort_keys=True)}
        content[encoder] = save(layers, _said(of_items | config))
        of_encoder = of_items | {"encoder": sha256(content[encoder]).hexdigest()}
        blob = np.frombuffer(self.index.to_bytes(), np.uint8)
        content[index] = save({"index": blob}, _said(of_encoder))
        if self.sides is not None:
            content[SIDES] = save(self.sides.arrays(), _said(of_encoder))
        if self.cold is not None:
            of_sides = of_encoder | ({"sides": sha256(content[SIDES]).hexdigest()} if self.sides is not None else {})
            fitted = {"cold": json.dumps(self.cold.described(), sort_keys=True)}
            content[COLD] = save({"map": self.cold.map_XD, "bias": self.cold.bias_D}, _said(of_sides | fitted))
        return content

    @classmethod
    def from_parts(cls, content: Mapping[str, bytes], vocabulary: str, n_items: int) -> "EncoderRetriever":
        """What `parts` made. Raises BundleRefused: a part is missing, damaged, of another bundle, or has values that
        are not finite."""
        items, encoder, index = PARTS
        arrays, said = _read(content, items, {"vocabulary": vocabulary})
        expected = {"vocabulary": vocabulary, "items": sha256(content[items]).hexdigest()}
        layers, said = _read(content, encoder, expected)
        config = _made(encoder, lambda: configured(json.loads(said["config"])))
        items_ND = _made(items, lambda: arrays["items"])
        if len(items_ND) != n_items:
            raise BundleRefused(f"{items}: {len(items_ND)} vectors for {n_items} items; train again")
        frozen = FrozenEncoder(config, items_ND, layers)
        expected["encoder"] = sha256(content[encoder]).hexdigest()
        blob, _ = _read(content, index, expected)
        found = ItemIndex.from_bytes(_made(index, lambda: blob["index"].tobytes()))
        found.check(frozen.vectors_ND)
        sides, cold = None, None
        if SIDES in content:
            told, _ = _read(content, SIDES, expected)
            sides = _made(SIDES, lambda: SideVectors.from_arrays(told, config.dimensions))
            expected["sides"] = sha256(content[SIDES]).hexdigest()
        if COLD in content:
            fitted, said = _read(content, COLD, expected)
            cold = _made(COLD, lambda: ColdMap(fitted["map"], fitted["bias"], **json.loads(said["cold"])))
            if cold.map_XD.shape[1:] != (config.dimensions,):
                raise BundleRefused(f"{COLD}: maps to {cold.map_XD.shape[1:]}, not {config.dimensions}; train again")
        return cls(frozen, found, sides, cold)


def embedded(texts: Texts, embedder: Embeds) -> NDArray[np.float32]:
    """embeddings_IE of what is said of each item."""
    return embedder.vectors([told(*said) for said in zip(texts.titles, texts.categories, strict=True)])


def _made(name: str, make: Callable[[], _Part]) -> _Part:
    try:
        return make()
    except (KeyError, TypeError, AttributeError, InvalidInput, json.JSONDecodeError) as error:
        raise BundleRefused(f"{name}: incomplete: {error!r}; train again") from None


def _said(what: Mapping[str, str]) -> dict[str, str]:
    """As one value: several would stand in another order each time, and a bundle's name is its content's."""
    return {"said": json.dumps(what, sort_keys=True)}


def _read(
    content: Mapping[str, bytes], name: str, expected: Mapping[str, str]
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """(arrays, what the part says of itself), when it was made with the parts whose digests are expected."""
    try:
        arrays = load(content[name])
        header = json.loads(content[name][8 : 8 + int.from_bytes(content[name][:8], "little")])
        said: dict[str, str] = json.loads(header["__metadata__"]["said"])
    except (KeyError, SafetensorError, TypeError, ValueError) as error:
        raise BundleRefused(f"{name}: missing or damaged: {error}; train again") from None
    for other, digest in expected.items():
        if said.get(other) != digest:
            raise BundleRefused(f"{name}: was made with another {other} than this bundle's; train again")
    return arrays, said
