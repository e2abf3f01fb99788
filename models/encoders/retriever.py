"""An encoder and the index of its items: what a pipeline asks, and how both are kept in a bundle.

Shapes: B histories, D dimensions, N items, R retrieved items.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from features.errors import BundleRefused
from models.counts.neighbours import History
from models.encoders.config import configured
from models.encoders.frozen import FrozenEncoder
from models.index import ItemIndex, build

RETRIEVED: Final = 1000  # items that an encoder speaks for; fused ranking is the same, within its error, from 300 on
PARTS: Final = ("items.safetensors", "encoder.safetensors", "index.safetensors")


class EncoderRetriever:
    """Immutable, and safe to use from several threads."""

    def __init__(self, encoder: FrozenEncoder, index: ItemIndex) -> None:
        self.encoder = encoder
        self.index = index

    @classmethod
    def of(
        cls, encoder: FrozenEncoder, queries_QD: NDArray[np.float32] | None = None, threads: int = 1
    ) -> "EncoderRetriever":
        """With an index made for the encoder's items; queries_QD: users' vectors, to calibrate its searches on."""
        return cls(encoder, build(encoder.vectors_ND, queries_QD, threads=threads))

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
        return content

    @classmethod
    def from_parts(cls, content: Mapping[str, bytes], vocabulary: str, n_items: int) -> "EncoderRetriever":
        """What `parts` made. Raises BundleRefused: a part is missing, damaged, of another bundle, or has values that
        are not finite."""
        items, encoder, index = PARTS
        arrays, said = _read(content, items, {"vocabulary": vocabulary})
        expected = {"vocabulary": vocabulary, "items": sha256(content[items]).hexdigest()}
        layers, said = _read(content, encoder, expected)
        config = configured(json.loads(said["config"]))
        if len(arrays["items"]) != n_items:
            raise BundleRefused(f"{items}: {len(arrays['items'])} vectors for {n_items} items; train again")
        frozen = FrozenEncoder(config, arrays["items"], layers)
        expected["encoder"] = sha256(content[encoder]).hexdigest()
        blob, _ = _read(content, index, expected)
        found = ItemIndex.from_bytes(blob["index"].tobytes())
        found.check(frozen.vectors_ND)
        return cls(frozen, found)


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
