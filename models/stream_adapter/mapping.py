"""From chunks to a memory of constant size, after StreamAdapter (Muhtar et al., arXiv 2411.09289), in every layer.

Intra-chunk: learnable queries attend to the keys that the frozen model has of a chunk, and read its values, head by
head: S_n. Inter-chunk: H_n = g_n * H_(n-1) + (1 - g_n) * S_n, g_n = sigmoid(W S_n + b), element by element. What is
ours: H_1 = S_1, so that a memory is a mean of what was read, however much that was; values are standardised, keys
scaled, by what they are like in the training's chunks; b begins with a memory of 2 chunks for the first query and of
16 for the last.
Shapes: N chunks or users, S chunks of a user, L adapted layers, C tokens of a chunk, D dimensions of a layer's values:
H heads of E; Q queries; 2 for keys and values.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class ContextMapping(nn.Module):
    """mean_LD, scale_LD: of values; key_scale_LH: of keys. Set by `standardise`, and kept with the weights."""

    mean_LD: Tensor
    scale_LD: Tensor
    key_scale_LH: Tensor

    def __init__(self, layers: int, queries: int, heads: int, dimensions: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries_LQD = nn.Parameter(torch.randn(layers, queries, dimensions))
        self.gates_LDD = nn.Parameter(torch.zeros(layers, dimensions, dimensions))
        spans_Q = torch.logspace(1, 4, queries, base=2.0)
        self.gates_LQD = nn.Parameter((spans_Q - 1).log()[:, None].repeat(layers, 1, dimensions))
        self.register_buffer("mean_LD", torch.zeros(layers, dimensions))
        self.register_buffer("scale_LD", torch.ones(layers, dimensions))
        self.register_buffer("key_scale_LH", torch.ones(layers, heads))

    @torch.no_grad()
    def standardise(self, chunks_NL2HCE: Tensor) -> None:
        """Sets what keys and values are measured by to what they are in these chunks."""
        keys_NLHCE, values_NLHCE = chunks_NL2HCE.float().unbind(2)
        self.mean_LD.copy_(values_NLHCE.mean(dim=(0, 3)).flatten(1))
        self.scale_LD.copy_(values_NLHCE.std(dim=(0, 3)).flatten(1).clamp(min=1e-4))
        self.key_scale_LH.copy_(keys_NLHCE.var(dim=(0, 3)).mean(dim=-1).sqrt().clamp(min=1e-4))

    def read(self, chunks_NL2HCE: Tensor) -> Tensor:
        """reads_NLQD of chunks, each by itself, in float32."""
        keys_NLHCE, values_NLHCE = chunks_NL2HCE.unbind(2)
        queries_LHQE = self.queries_LQD.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        queries_LHQE = queries_LHQE / (self.key_scale_LH[:, :, None, None] * math.sqrt(queries_LHQE.shape[-1]))
        scores_NLHQC = queries_LHQE.to(keys_NLHCE.dtype) @ keys_NLHCE.mT
        weights_NLHQC = scores_NLHQC.float().softmax(dim=-1).to(values_NLHCE.dtype)
        reads_NLQD = (weights_NLHQC @ values_NLHCE).float().transpose(2, 3).flatten(-2)
        return (reads_NLQD - self.mean_LD[:, None]) / self.scale_LD[:, None]

    def step(self, memory_NLQD: Tensor, reads_NLQD: Tensor, is_first_N: Tensor) -> Tensor:
        """The memory after one more chunk of each user."""
        gates_NLQD = self._gates(reads_NLQD).sigmoid()
        after_NLQD = gates_NLQD * memory_NLQD + (1 - gates_NLQD) * reads_NLQD
        return torch.where(is_first_N[:, None, None, None], reads_NLQD, after_NLQD)

    def scan(self, reads_NSLQD: Tensor, counts_N: Tensor) -> Tensor:
        """memory_NLQD after all chunks of each user, of whom the first counts_N are chunks: as the steps one by one.

        The recurrence is linear in H: H_S is the sum of (1 - g_n) S_n, each times the gates of all chunks behind it.
        """
        place_S = torch.arange(reads_NSLQD.shape[1], device=reads_NSLQD.device)
        is_chunk_NS111 = (place_S < counts_N[:, None])[:, :, None, None, None]
        is_first_S111 = (place_S == 0)[:, None, None, None]
        gates_NSLQD = self._gates(reads_NSLQD)
        keeps_NSLQD = functional.logsigmoid(gates_NSLQD) * is_chunk_NS111
        behind_NSLQD = keeps_NSLQD.flip(1).cumsum(1).flip(1) - keeps_NSLQD
        writes_NSLQD = torch.where(is_first_S111, 1.0, (-gates_NSLQD).sigmoid()) * is_chunk_NS111
        return (behind_NSLQD.exp() * writes_NSLQD * reads_NSLQD).sum(dim=1)

    def _gates(self, reads_XLQD: Tensor) -> Tensor:
        """Before the sigmoid."""
        return torch.einsum("...lqd,lde->...lqe", reads_XLQD, self.gates_LDD) + self.gates_LQD
