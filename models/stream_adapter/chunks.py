"""What a frozen model makes of chunks: the keys and values of adapted layers, each chunk read by itself from place 0.

Or, where a chunk sees its predecessor, behind it: a window that can be streamed all the same.
Shapes: N chunks, L adapted layers, C tokens of a chunk, D dimensions of a layer's values: H heads of E; W tokens of a
window, which ends with its chunk; 2 for keys and values.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.errors import InvalidInput, WeightsRefused
from models.soft_prompt.language import Language
from models.stream_adapter.absorption import Linears
from models.stream_adapter.config import StreamAdapterConfig
from models.stream_adapter.context import Streams

AT_ONCE = 16  # chunks of one forward


class ChunkReader:
    """layers: those adapted, of the model. heads: of their keys and values; dimensions: of all heads together.
    dtype: of what is read."""

    def __init__(self, language: Language, config: StreamAdapterConfig) -> None:
        """Raises InvalidInput for layers or maps that the model does not have, WeightsRefused for a model that does not
        attend by rotary positions."""
        self._language, self.config = language, config
        self._decoder: Any = language.model.get_decoder()
        every: Any = getattr(self._decoder, "layers", None)
        said = language.model.config
        if every is None or not hasattr(self._decoder, "rotary_emb"):
            raise WeightsRefused(f"{said.model_type}: a stream adapter takes a model with rotary positions, as Llama's")
        self.dtype: torch.dtype = language.device.dtype
        self.layers = config.layers_of(len(every))
        # What is above the last adapted layer is of no use to a chunk.
        self._decoder = _first_layers(self._decoder, max(self.layers) + 1)
        self._attentions = [every[layer].self_attn for layer in self.layers]
        self.dimensions: int = self._attentions[0].v_proj.out_features
        self.heads: int = said.num_key_value_heads
        if (1 + config.sees_previous) * config.chunk > language.reads:
            raise InvalidInput("chunk", f"{config.chunk} was given; the model reads {language.reads} tokens")
        self.linears: Linears = [_named(every[layer], config.adapted) for layer in self.layers]

    def windows(self, tokens_T: NDArray[np.int32], first: int, end: int) -> list[NDArray[np.int32]]:
        """Of the chunks from `first` to before `end` of a stream."""
        size, before = self.config.chunk, self.config.chunk * self.config.sees_previous
        return [tokens_T[max(0, size * place - before) : size * (place + 1)] for place in range(first, end)]

    @torch.no_grad()
    def read(self, windows: Sequence[NDArray[np.int32]]) -> Tensor:
        """chunks_NL2HCE in the model's precision, in the windows' order."""
        places_of: dict[int, list[int]] = defaultdict(list)
        for place, window in enumerate(windows):
            places_of[len(window)].append(place)
        read: dict[int, Tensor] = {}
        for places in places_of.values():
            for first in range(0, len(places), AT_ONCE):
                some = places[first : first + AT_ONCE]
                tokens_NW = torch.from_numpy(np.stack([windows[place] for place in some])).long()
                read |= zip(some, self._read(tokens_NW.to(self._language.device.name)), strict=True)
        return torch.stack([read[place] for place in range(len(windows))])

    def _read(self, tokens_NW: Tensor) -> Tensor:
        kept: dict[Any, Tensor] = {}

        def keep(module: Any, _: object, outputs_NWD: Tensor) -> None:
            kept[module] = outputs_NWD

        maps = [(one.k_proj, one.v_proj) for one in self._attentions]
        hooks = [one.register_forward_hook(keep) for pair in maps for one in pair]
        try:
            self._decoder(input_ids=tokens_NW, use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
        chunk = slice(tokens_NW.shape[1] - self.config.chunk, None)
        places_1W = torch.arange(tokens_NW.shape[1], device=tokens_NW.device)[None]

        def by_heads(outputs_NWD: Tensor) -> Tensor:
            return outputs_NWD.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        pairs = [
            torch.stack((self._turned(by_heads(kept[keys]), places_1W), by_heads(kept[values])), dim=1)
            for keys, values in maps
        ]
        return torch.stack(pairs, dim=1)[..., chunk, :]

    def _turned(self, keys_NHWE: Tensor, places_1W: Tensor) -> Tensor:
        """By their positions, unless they are wanted as they were before."""
        if self.config.undo_rotary:
            return keys_NHWE
        cos_1WE, sin_1WE = self._decoder.rotary_emb(keys_NHWE, places_1W)
        ahead, behind = keys_NHWE.chunk(2, dim=-1)
        turned_NHWE = torch.cat((-behind, ahead), dim=-1)
        return keys_NHWE * cos_1WE[:, None] + turned_NHWE * sin_1WE[:, None]


class ChunkCache:
    """The chunks of users whom a training asks about, in half precision: they never change. When there is no room,
    those of the users longest unasked make it, and are read again when they are asked for."""

    def __init__(
        self, reader: ChunkReader, streams: Streams, spans: Mapping[int, tuple[int, int]], most: float
    ) -> None:
        """spans: of each user, the first chunk that is ever asked for, and the end. most: bytes; one user has room."""
        self._reader, self._streams, self._spans, self._most = reader, streams, spans, most
        self._kept: dict[int, Tensor] = {}

    def chunks(self, user: int, first: int, end: int) -> Tensor:
        """chunks_NL2HCE from `first` to before `end`.

        All of a user's are read together, so that they are the same numbers however often and whenever they are read.
        """
        begin = self._spans[user][0]
        kept = self._kept.pop(user, None)
        if kept is None:
            kept = halved(self._reader.read(self._reader.windows(self._streams.tokens(user), *self._spans[user])))
            while self._kept and self._size + kept.nbytes > self._most:
                del self._kept[next(iter(self._kept))]
        self._kept[user] = kept
        return kept[first - begin : end - begin].to(self._reader.dtype)

    @property
    def _size(self) -> int:
        return sum(one.nbytes for one in self._kept.values())


def halved(chunks: Tensor) -> Tensor:
    """In two bytes a number, as they are where they are of two already."""
    return chunks.half() if chunks.dtype == torch.float32 else chunks


def _first_layers(decoder: Any, count: int) -> Any:
    """A decoder of its first layers, which are the very same."""
    first = copy(decoder)
    first._modules = {**decoder._modules, "layers": decoder.layers[:count], "norm": torch.nn.Identity()}
    return first


def _named(layer: torch.nn.Module, names: Sequence[str]) -> list[torch.nn.Linear]:
    """The linear maps of a layer by the ends of their names."""
    linears = {
        name.rpartition(".")[2]: module for name, module in layer.named_modules() if isinstance(module, torch.nn.Linear)
    }
    if unknown := [name for name in names if name not in linears]:
        raise InvalidInput("maps", f"{unknown[0]!r} was given; the model's layers have {', '.join(sorted(linears))}")
    return [linears[name] for name in names]
