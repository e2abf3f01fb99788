"""The layers of six encoders: each takes events (B, L, D) and gives states of the same shape, none seeing what follows.

Sequences begin at place 0 and are padded behind their end, so that a causal layer never reads the padding.
Shapes: B sequences, L positions, D dimensions, H heads, K dimensions of a head, S state dimensions.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.encoders.config import EncoderConfig

STATE: Final = 16  # state dimensions of the selective state-space model, as in its paper
WIDTH: Final = 4  # of its convolution, in positions


def layers_of(config: EncoderConfig) -> nn.Module:
    """The layers that the configuration names."""
    match config.kind:
        case "sasrec":
            return Stacked(SasRecBlock, config)
        case "hstu":
            return Stacked(HstuBlock, config)
        case "transformer":
            return Stacked(TransformerBlock, config)
        case "mamba":
            return Stacked(StateSpaceBlock, config)
        case "gru4rec":
            return Recurrent(config)
    return RunningMean(config)


class Stacked(nn.Module):
    """Equal blocks one after another, then a normalisation. SASRec alone adds a vector of its place to each event."""

    def __init__(self, block: type[nn.Module], config: EncoderConfig) -> None:
        super().__init__()
        is_sasrec = block is SasRecBlock
        self.places = nn.Embedding(config.length, config.dimensions) if is_sasrec else None
        self.blocks = nn.ModuleList(block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.dimensions) if is_sasrec else nn.RMSNorm(config.dimensions)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, events_BLD: Tensor) -> Tensor:
        if self.places is not None:
            events_BLD = events_BLD + self.places.weight[: events_BLD.shape[1]]
        states_BLD = self.dropout(events_BLD)
        for block in self.blocks:
            states_BLD = block(states_BLD)
        return self.norm(states_BLD)


class SasRecBlock(nn.Module):
    """Kang and McAuley, "Self-attentive sequential recommendation" (ICDM 2018), section 3.2, normalised before each
    part; the feed-forward layer is pointwise and as wide as the model."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size = config.dimensions
        self.attention_norm, self.feed_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attention = Attention(config, rotary=False)
        self.feed = nn.Sequential(
            nn.Linear(size, size),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(size, size),
            nn.Dropout(config.dropout),
        )

    def forward(self, states_BLD: Tensor) -> Tensor:
        states_BLD = states_BLD + self.attention(self.attention_norm(states_BLD))
        return states_BLD + self.feed(self.feed_norm(states_BLD))


class TransformerBlock(nn.Module):
    """A block as language models have it today: RMSNorm (Zhang and Sennrich, 2019), rotary positions (Su et al., 2021),
    SwiGLU (Shazeer, 2020) of 8/3 of the width."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size, wide = config.dimensions, 8 * config.dimensions // 3
        self.attention_norm, self.feed_norm = nn.RMSNorm(size), nn.RMSNorm(size)
        self.attention = Attention(config, rotary=True)
        self.gate_and_up = nn.Linear(size, 2 * wide, bias=False)
        self.down = nn.Linear(wide, size, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states_BLD: Tensor) -> Tensor:
        states_BLD = states_BLD + self.attention(self.attention_norm(states_BLD))
        gate, up = self.gate_and_up(self.feed_norm(states_BLD)).chunk(2, dim=-1)
        return states_BLD + self.dropout(self.down(functional.silu(gate) * up))


class Attention(nn.Module):
    """Causal multi-head attention; rotary: queries and keys are turned by their place."""

    def __init__(self, config: EncoderConfig, *, rotary: bool) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.rotary = rotary
        self.queries_keys_values = nn.Linear(config.dimensions, 3 * config.dimensions, bias=not rotary)
        self.out = nn.Linear(config.dimensions, config.dimensions, bias=not rotary)
        self.out_dropout = nn.Dropout(config.dropout)

    def forward(self, states_BLD: Tensor) -> Tensor:
        n_batch, n_places, size = states_BLD.shape
        split = self.queries_keys_values(states_BLD).view(n_batch, n_places, 3, self.heads, size // self.heads)
        queries_BHLK, keys_BHLK, values_BHLK = split.permute(2, 0, 3, 1, 4)
        if self.rotary:
            queries_BHLK, keys_BHLK = turned(queries_BHLK), turned(keys_BHLK)
        dropout = self.dropout if self.training else 0.0
        mixed_BHLK = functional.scaled_dot_product_attention(
            queries_BHLK, keys_BHLK, values_BHLK, dropout_p=dropout, is_causal=True
        )
        return self.out_dropout(self.out(mixed_BHLK.transpose(1, 2).reshape(n_batch, n_places, size)))


def turned(vectors_BHLK: Tensor) -> Tensor:
    """Each pair of dimensions turned by its place times the pair's frequency."""
    n_places, size = vectors_BHLK.shape[-2:]
    frequencies = 10_000.0 ** (-torch.arange(0, size, 2, device=vectors_BHLK.device) / size)
    angles_LK = torch.outer(torch.arange(n_places, device=vectors_BHLK.device), frequencies)
    cosines, sines = angles_LK.cos().to(vectors_BHLK.dtype), angles_LK.sin().to(vectors_BHLK.dtype)
    first, second = vectors_BHLK.chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)


class HstuBlock(nn.Module):
    """Zhai et al., "Actions speak louder than words" (ICML 2024), equations 1 to 3: attention by SiLU without a
    softmax, with a bias for each distance, gated. Departure: the bias knows places and no times."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size = config.dimensions
        self.heads, self.length = config.heads, config.length
        self.norm, self.mixed_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.project = nn.Linear(size, 4 * size)
        self.out = nn.Linear(size, size)
        self.distances = nn.Parameter(torch.zeros(config.heads, config.length))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states_BLD: Tensor) -> Tensor:
        n_batch, n_places, size = states_BLD.shape
        projected = functional.silu(self.project(self.norm(states_BLD)))
        gates_BLD, rest = projected.split((size, 3 * size), dim=-1)
        split = rest.view(n_batch, n_places, 3, self.heads, size // self.heads)
        queries_BHLK, keys_BHLK, values_BHLK = split.permute(2, 0, 3, 1, 4)
        places_L = torch.arange(n_places, device=states_BLD.device)
        back_LL = places_L[:, None] - places_L[None]
        biases_HLL = self.distances[:, back_LL.clamp_min(0)]
        weights_BHLL = functional.silu(queries_BHLK @ keys_BHLK.transpose(-1, -2) + biases_HLL) / self.length
        weights_BHLL = weights_BHLL * (back_LL >= 0)
        mixed_BLD = (weights_BHLL @ values_BHLK).transpose(1, 2).reshape(n_batch, n_places, size)
        return states_BLD + self.dropout(self.out(self.mixed_norm(mixed_BLD) * gates_BLD))


class StateSpaceBlock(nn.Module):
    """Gu and Dao, "Mamba: linear-time sequence modeling with selective state spaces" (2023), section 3.4, figure 3.

    Departure: the recurrence runs place by place in plain PyTorch, which is quick enough for some fifty places.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size, wide, rank = config.dimensions, 2 * config.dimensions, max(1, config.dimensions // 16)
        self.rank = rank
        self.norm = nn.RMSNorm(size)
        self.split = nn.Linear(size, 2 * wide, bias=False)
        self.convolution = nn.Conv1d(wide, wide, WIDTH, groups=wide, padding=WIDTH - 1)
        self.select = nn.Linear(wide, rank + 2 * STATE, bias=False)
        self.steps = nn.Linear(rank, wide)
        self.log_rates = nn.Parameter(torch.log(torch.arange(1, STATE + 1).float()).repeat(wide, 1))
        self.skip = nn.Parameter(torch.ones(wide))
        self.out = nn.Linear(wide, size, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        steps = torch.exp(torch.rand(wide) * (math.log(0.1) - math.log(0.001)) + math.log(0.001))
        with torch.no_grad():
            self.steps.bias.copy_(steps + torch.log(-torch.expm1(-steps)))  # the inverse of softplus

    def forward(self, states_BLD: Tensor) -> Tensor:
        n_places = states_BLD.shape[1]
        inner, gates = self.split(self.norm(states_BLD)).chunk(2, dim=-1)
        inner = self.convolution(inner.transpose(1, 2))[..., :n_places].transpose(1, 2)
        inner_BLW = functional.silu(inner)
        low, writes_BLS, reads_BLS = self.select(inner_BLW).split((self.rank, STATE, STATE), dim=-1)
        steps_BLW = functional.softplus(self.steps(low))
        kept_BLWS = torch.exp(-steps_BLW[..., None] * torch.exp(self.log_rates))
        added_BLWS = (steps_BLW * inner_BLW)[..., None] * writes_BLS[:, :, None]
        state_BWS = torch.zeros_like(added_BLWS[:, 0])
        outputs = []
        for place in range(n_places):
            state_BWS = kept_BLWS[:, place] * state_BWS + added_BLWS[:, place]
            outputs.append((state_BWS * reads_BLS[:, place, None]).sum(dim=-1))
        mixed_BLW = (torch.stack(outputs, dim=1) + self.skip * inner_BLW) * functional.silu(gates)
        return states_BLD + self.dropout(self.out(mixed_BLW))


class Recurrent(nn.Module):
    """Hidasi et al., "Session-based recommendations with recurrent neural networks" (ICLR 2016): GRU layers, and a
    projection of their states."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size = config.dimensions
        between = config.dropout if config.blocks > 1 else 0.0
        self.dropout = nn.Dropout(config.dropout)
        self.recurrent = nn.GRU(size, size, config.blocks, batch_first=True, dropout=between)
        self.out = nn.Linear(size, size)

    def forward(self, events_BLD: Tensor) -> Tensor:
        states_BLD, _ = self.recurrent(self.dropout(events_BLD))
        return self.out(self.dropout(states_BLD))


class RunningMean(nn.Module):
    """The mean of the events so far, projected: what order adds shows against it."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.dimensions, config.dimensions)

    def forward(self, events_BLD: Tensor) -> Tensor:
        counts_L1 = torch.arange(1, events_BLD.shape[1] + 1, device=events_BLD.device)[:, None]
        return self.out(self.dropout(events_BLD.cumsum(dim=1) / counts_L1))
