"""Llama's forward pass: prompts read in packs, then a token a step for many rows at once, each with its own cache.

The layers are those of transformers' LlamaForCausalLM (Touvron et al., "LLaMA: open and efficient foundation language
models", 2023), which SmolLM2 is one of. Each prompt attends to its own tokens alone, so that no mask as large as the
pack is made; the last layer is computed for the last tokens alone, for nothing else is made of it.
Shapes: P tokens of a pack, N prompts in it, B rows of a cache, S places of a row, L layers, H heads of keys, G heads of
queries to each of them, K numbers of a head, D dimensions, V tokens of the vocabulary, Q queries.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from models.device import Device
from models.language.packing import Pack

QUERIES: Final = 128  # whose attention is computed together: fewer look at more keys that they do not see
_TURNS: Final = ("default", "linear", "llama3", "yarn")  # those that do not hang on the length of what is read

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]  # layer, q_QHGK, k_PHK, v_PHK -> mixed_QHGK


@dataclass(slots=True, eq=False)
class Cache:
    """The keys and values of B rows of tokens, which all end at `size`; starts_B: where each begins."""

    keys_LBHSK: Tensor
    values_LBHSK: Tensor
    starts_B: Tensor
    size: int

    def cut(self, size: int) -> "Cache":
        """The first places, shared with this one."""
        return Cache(self.keys_LBHSK[:, :, :, :size], self.values_LBHSK[:, :, :, :size], self.starts_B, size)

    def keep(self, rows: Sequence[int]) -> None:
        """Drops all other rows."""
        kept = torch.tensor(rows, device=self.starts_B.device)
        self.starts_B = self.starts_B[kept]
        self.keys_LBHSK, self.values_LBHSK = self.keys_LBHSK[:, kept], self.values_LBHSK[:, kept]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The weights of a layer: attention, then feed-forward; a norm before each."""

    own_norm: Tensor
    q: Tensor
    kv: Tensor
    out: Tensor
    wide_norm: Tensor
    wide_in: Tensor  # the gate and what it gates, one above the other
    wide_out: Tensor


class Llama:
    """Threads may share it. reads: the most tokens of a row."""

    def __init__(self, weights: Mapping[str, Tensor], config: LlamaConfig, device: Device) -> None:
        """weights: by their names in a checkpoint. Raises KeyError for one that is missing, ValueError for a kind of
        Llama that is not known here."""
        rope = LlamaRotaryEmbedding(config)
        if config.hidden_act != "silu" or config.attention_bias or config.mlp_bias or rope.rope_type not in _TURNS:
            raise ValueError("only Llamas with SiLU, without biases and with fixed rotations are read")
        self.device, self.dtype, self.reads = torch.device(device.name), device.dtype, config.max_position_embeddings
        self._heads, self._size = config.num_key_value_heads or config.num_attention_heads, 2 * len(rope.inv_freq)
        self._epsilon = config.rms_norm_eps

        def of(name: str) -> Tensor:
            return weights[name].to(self.device, self.dtype)

        self._embeddings_VD = of("model.embed_tokens.weight")
        self._vocabulary_VD = self._embeddings_VD if config.tie_word_embeddings else of("lm_head.weight")
        self._last_norm = of("model.norm.weight").float()
        self._angles_K = rope.inv_freq.float().to(self.device)
        self._scale = float(rope.attention_scaling)
        self._blocks = [self._block(f"model.layers.{layer}.", of) for layer in range(config.num_hidden_layers)]

    def cache(self, lengths: Sequence[int], most: int, prefix: Cache | None = None) -> Cache:
        """For rows of so many tokens that are read next, each behind the one row of `prefix`, and `most` more."""
        begun = prefix.size if prefix else 0
        size = begun + max(lengths)
        shape = (len(self._blocks), len(lengths), self._heads, size + most, self._size)
        keys_LBHSK, values_LBHSK = (torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in range(2))
        starts = [size - begun - length for length in lengths]
        if prefix:
            for row, start in enumerate(starts):
                keys_LBHSK[:, row, :, start : start + begun] = prefix.keys_LBHSK[:, 0, :, :begun]
                values_LBHSK[:, row, :, start : start + begun] = prefix.values_LBHSK[:, 0, :, :begun]
        return Cache(keys_LBHSK, values_LBHSK, torch.tensor(starts, device=self.device), size)

    def read(self, pack: Pack, cache: Cache, rows: Sequence[int]) -> Tensor:
        """states_ND of the prompts' last tokens; what the prompts are read as goes to these rows of a new cache."""
        lasts_N, size = pack.lasts.to(self.device), cache.size
        starts = cache.starts_B.tolist()

        def attend(layer: int, q_QHGK: Tensor, k_PHK: Tensor, v_PHK: Tensor) -> Tensor:
            mixed_QHGK = torch.empty_like(q_QHGK)
            are_all = len(q_QHGK) == len(k_PHK)
            for place, (span, row) in enumerate(zip(pack.spans, rows, strict=True)):
                keys_HSK = cache.keys_LBHSK[layer, row, :, starts[row] : size]
                values_HSK = cache.values_LBHSK[layer, row, :, starts[row] : size]
                count = span.stop - span.start
                keys_HSK[:, -count:], values_HSK[:, -count:] = k_PHK[span].transpose(0, 1), v_PHK[span].transpose(0, 1)
                asked = span if are_all else slice(place, place + 1)
                _attended(q_QHGK[asked], keys_HSK, values_HSK, mixed_QHGK[asked])
            return mixed_QHGK

        return self._run(pack.tokens_P.to(self.device), pack.positions_P.to(self.device), attend, lasts_N)

    def step(self, tokens_B: Tensor, cache: Cache) -> Tensor:
        """states_BD after one more token a row, which the cache gets."""
        cache.size += 1
        size = cache.size
        hidden_BS = torch.arange(size, device=self.device) < cache.starts_B[:, None]
        bias_B11S = torch.zeros(hidden_BS.shape, dtype=self.dtype, device=self.device)
        bias_B11S = bias_B11S.masked_fill_(hidden_BS, -torch.inf)[:, None, None]

        def attend(layer: int, q_BHGK: Tensor, k_BHK: Tensor, v_BHK: Tensor) -> Tensor:
            keys_BHSK, values_BHSK = cache.keys_LBHSK[layer, :, :, :size], cache.values_LBHSK[layer, :, :, :size]
            keys_BHSK[:, :, -1], values_BHSK[:, :, -1] = k_BHK, v_BHK
            return functional.scaled_dot_product_attention(q_BHGK, keys_BHSK, values_BHSK, bias_B11S)

        return self._run(tokens_B, size - 1 - cache.starts_B, attend)

    def logits(self, states_ND: Tensor) -> Tensor:
        """logits_NV of the tokens that come next."""
        return functional.linear(states_ND.to(self.dtype), self._vocabulary_VD).float()

    def _run(self, tokens_P: Tensor, positions_P: Tensor, attend: Attend, lasts_N: Tensor | None = None) -> Tensor:
        """The last layer's states_PD, or states_ND of the last tokens where only those are wanted."""
        x_PD = functional.embedding(tokens_P, self._embeddings_VD).float()
        turns_P11K = self._turns(positions_P)
        turns_Q11K = turns_P11K
        for layer, block in enumerate(self._blocks):
            normed_PD = normed_QD = self._normed(x_PD, block.own_norm)
            if lasts_N is not None and layer == len(self._blocks) - 1:
                x_PD, normed_QD, turns_Q11K = x_PD[lasts_N], normed_PD[lasts_N], turns_P11K[lasts_N]
            kv = functional.linear(normed_PD, block.kv)
            k_PHK, v_PHK = kv.view(len(normed_PD), 2, self._heads, self._size).unbind(1)
            q_QHGK = functional.linear(normed_QD, block.q).view(len(normed_QD), self._heads, -1, self._size)
            k_PHK = _turned(k_PHK[:, :, None], turns_P11K)[:, :, 0]
            mixed_QHGK = attend(layer, _turned(q_QHGK, turns_Q11K), k_PHK, v_PHK)
            x_PD = x_PD + functional.linear(mixed_QHGK.flatten(1), block.out)
            gate, wide = functional.linear(self._normed(x_PD, block.wide_norm), block.wide_in).chunk(2, dim=-1)
            x_PD += functional.linear(functional.silu(gate, inplace=True).mul_(wide), block.wide_out)
        return self._normed(x_PD, self._last_norm)

    def _turns(self, positions_P: Tensor) -> Tensor:
        """turns_P11K: rotary position embeddings (Su et al., 2021) as complex numbers, K of them to a head's half."""
        angles_PK = positions_P[:, None].float() * self._angles_K
        return torch.polar(torch.full_like(angles_PK, self._scale), angles_PK)[:, None, None]

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, weight.shape, weight, self._epsilon).to(self.dtype)

    def _block(self, prefix: str, of: Callable[[str], Tensor]) -> Block:
        def turning(name: str) -> Tensor:
            """Weights of which the two numbers that turn together are neighbours, and not a half apart."""
            rows = of(f"{prefix}self_attn.{name}.weight")
            return rows.view(-1, 2, self._size // 2, rows.shape[1]).transpose(1, 2).reshape(rows.shape)

        return Block(
            own_norm=of(f"{prefix}input_layernorm.weight").float(),
            q=turning("q_proj"),
            kv=torch.cat([turning("k_proj"), of(f"{prefix}self_attn.v_proj.weight")]),
            out=of(f"{prefix}self_attn.o_proj.weight"),
            wide_norm=of(f"{prefix}post_attention_layernorm.weight").float(),
            wide_in=torch.cat([of(f"{prefix}mlp.{name}_proj.weight") for name in ("gate", "up")]),
            wide_out=of(f"{prefix}mlp.down_proj.weight"),
        )


def _turned(x_QHGK: Tensor, turns_Q11K: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x_QHGK.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns_Q11K).flatten(-2).to(x_QHGK.dtype)


def _attended(q_QHGK: Tensor, keys_HSK: Tensor, values_HSK: Tensor, mixed_QHGK: Tensor) -> None:
    """Fills mixed_QHGK; the queries are of the last of the keys, and see those up to their own."""
    count, size = len(q_QHGK), keys_HSK.shape[1]
    for first in range(0, count, QUERIES):
        last = min(first + QUERIES, count)
        seen = size - count + last
        sees_QS = torch.ones(last - first, seen, dtype=torch.bool, device=q_QHGK.device).tril(seen - (last - first))
        mixed_1XQK = functional.scaled_dot_product_attention(
            q_QHGK[None, first:last].flatten(2, 3).transpose(1, 2),
            keys_HSK[None, :, :seen],
            values_HSK[None, :, :seen],
            sees_QS,
            enable_gqa=True,
        )
        mixed_QHGK[first:last] = mixed_1XQK[0].transpose(0, 1).view(last - first, *q_QHGK.shape[1:])
