"""An encoder as it serves: items and layers in two sets of arrays, histories in, vectors out.

What titles and categories say of the items is added to their rows once and for all, so that serving needs no words.
Shapes: B histories, L positions, D dimensions, N items.
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.errors import BundleRefused, InvalidInput
from models.encoders.config import EncoderConfig
from models.encoders.data import EncoderData, gap_buckets, rating_places
from models.encoders.model import Batch, Encoder, Sides
from models.encoders.train import Trained, sides_of

_NOTHING = torch.zeros(0, dtype=torch.int64)


class FrozenEncoder:
    """Safe to use from several threads. items_ND: what an event of each item is read as."""

    def __init__(
        self, config: EncoderConfig, items_ND: NDArray[np.float32], layers: Mapping[str, NDArray[np.float32]]
    ) -> None:
        """Raises BundleRefused when the arrays are not those of this configuration or are not finite."""
        self.config = replace(config, words=False, categories=False)
        self.items_ND = items_ND
        self.layers = dict(layers)
        if items_ND.ndim != 2 or items_ND.dtype != np.float32 or items_ND.shape[1] != config.dimensions:
            given = f"{items_ND.dtype}{list(items_ND.shape)}"
            raise BundleRefused(f"items: vectors are {given}, not float32[N, {config.dimensions}]; train again")
        for name, array in {"items": items_ND, **layers}.items():
            if not np.isfinite(array).all():
                raise BundleRefused(f"encoder: {name} has values that are not finite; train again")
        self._encoder = Encoder(self.config, len(items_ND), Sides(_NOTHING, _NOTHING, _NOTHING, _NOTHING))
        weights = {name: torch.from_numpy(array) for name, array in layers.items()}
        weights["rows.weight"] = torch.from_numpy(np.concatenate([items_ND, np.zeros_like(items_ND[:1])]))
        try:
            self._encoder.load_state_dict(weights)
        except RuntimeError as error:
            raise BundleRefused(f"encoder: its arrays are not those of a {config.kind}: {error}; train again") from None
        self._encoder.eval()
        with torch.inference_mode():
            self.vectors_ND: NDArray[np.float32] = self._encoder.item_vectors().numpy().copy()

    @classmethod
    def of(cls, trained: Trained, data: EncoderData) -> "FrozenEncoder":
        """The encoder that training left, with its items described."""
        encoder = Encoder(trained.config, data.n_items, sides_of(data))
        encoder.load_state_dict(dict(trained.weights))
        with torch.inference_mode():
            items_ND = encoder.described()[: data.n_items].numpy().copy()
        described = ("rows.", "words.", "categories.")
        layers = {
            name: weights.numpy().copy() for name, weights in trained.weights.items() if not name.startswith(described)
        }
        return cls(trained.config, items_ND, layers)

    def vectors(
        self,
        histories: Sequence[NDArray[np.int64] | list[int]],
        times: Sequence[NDArray[np.float64] | None] | None = None,
        values: Sequence[NDArray[np.float32] | None] | None = None,
    ) -> NDArray[np.float32]:
        """vectors_BD after each history (item rows, oldest first); zeros after an empty one.

        times, values: epoch seconds and ratings (NaN for none) of the histories' events, where they are known; an
        encoder that was trained with them reads events without as it reads first events and unrated ones.
        """
        vectors_BD = np.zeros((len(histories), self.config.dimensions), np.float32)
        known = [place for place, history in enumerate(histories) if len(history)]
        if not known:
            return vectors_BD
        batch = self.batch(
            [histories[place] for place in known],
            None if times is None else [times[place] for place in known],
            None if values is None else [values[place] for place in known],
        )
        ends_B = (batch.items_BL < len(self.items_ND)).sum(dim=1)
        with torch.inference_mode():
            states_BLD: Tensor = self._encoder.states(batch)
            found = states_BLD[torch.arange(len(known)), ends_B - 1]
        if not bool(torch.isfinite(found).all()):
            raise InvalidInput("history", "an encoder gave a vector that is not finite")
        vectors_BD[known] = found.numpy()
        return vectors_BD

    def batch(
        self,
        histories: Sequence[NDArray[np.int64] | list[int]],
        times: Sequence[NDArray[np.float64] | None] | None = None,
        values: Sequence[NDArray[np.float32] | None] | None = None,
    ) -> Batch:
        """The newest events of histories as layers read them, behind them padding up to the longest, one event at
        least; as `vectors` takes them."""
        length = self.config.length
        width = min(length, max(1, *map(len, histories)))
        items_BL = np.full((len(histories), width), len(self.items_ND), np.int64)
        ratings_BL, gaps_BL = np.zeros_like(items_BL), np.zeros_like(items_BL)
        for row, history in enumerate(histories):
            count = len(history[-length:])
            items_BL[row, :count] = history[-length:]
            if self.config.rating and values is not None and (rated := values[row]) is not None:
                ratings_BL[row, :count] = rating_places(rated[-length:])
            if self.config.gaps and times is not None and (at := times[row]) is not None:
                gaps_BL[row, :count] = gap_buckets(at)[-length:]
        return Batch(*map(torch.from_numpy, (items_BL, ratings_BL, gaps_BL)))

    def module(self) -> Encoder:
        """A copy of the network, which gives states of what `batch` gives."""
        return deepcopy(self._encoder)

    @property
    def digest(self) -> str:
        """sha256 of all that its states are made of."""
        digest = sha256(json.dumps(asdict(self.config), sort_keys=True).encode())
        for name, array in sorted({**self.layers, "items": self.items_ND}.items()):
            digest.update(f"{name} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
