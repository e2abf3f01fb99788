"""From memories to changed weights: W' = W + s (alpha / rank) U M^T V, in which a small core M is all that is a user's.

M = (H + B) P for every adapted map, of the memory H of its layer, evened: users' memories are much alike, and what
they have in common would be most of what is learned from. U begins at nought, so that an untrained adapter changes
nothing; B is the same for everybody: what there is to learn besides the user. s and the size of V's rows bring what a
map is fed with and gives to about 1. All of it is measured once before training.
A base model's tensors are never written: while a block of code runs, other functions stand in for its linear maps.
Shapes: B, N rows of a batch or users, T tokens, L adapted layers, K adapted maps of a layer, Q queries, D dimensions of
a memory, R ranks, I and O dimensions of a map's inputs and outputs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

FLOOR = 0.1  # of the largest variance, added to all

Linears = Sequence[Sequence[nn.Linear]]  # of each adapted layer, the adapted maps
Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Cores:
    """cores_NLKQR: of each user. is_adapted_N: whether there is an update at all; without, a core is nought, and the
    frozen model answers."""

    cores_NLKQR: Tensor
    is_adapted_N: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.is_adapted_N)

    def of(self, places: Sequence[int]) -> "Cores":
        """Those of these users, who may be named more than once."""
        index_B = torch.tensor(list(places), device=self.cores_NLKQR.device, dtype=torch.long)
        return Cores(self.cores_NLKQR[index_B], self.is_adapted_N[list(places)])

    def norms(self) -> NDArray[np.float32]:
        """norms_NLK: the Frobenius norm of each core."""
        return self.cores_NLKQR.detach().flatten(-2).norm(dim=-1).float().cpu().numpy()


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """One user's weights of the adapted maps, which take the place of the model's while it answers."""

    weights: Mapping[nn.Linear, Tensor]


class WeightAbsorption(nn.Module):
    """mean_LQD, turn_LQDD: by which memories are evened. scale_LK: of what maps give. bound_LK: the largest norms of
    cores that are trusted, infinite until known."""

    mean_LQD: Tensor
    turn_LQDD: Tensor
    scale_LK: Tensor
    bound_LK: Tensor

    def __init__(self, linears: Linears, queries: int, dimensions: int, rank: int, alpha: float) -> None:
        super().__init__()
        layers, maps = len(linears), len(linears[0])
        self._linears = [list(one) for one in zip(*linears, strict=True)]  # by map, then by layer
        self._strength = alpha / rank
        self.base_LQD = nn.Parameter(0.5 * torch.randn(layers, queries, dimensions))
        self.cores_LKDR = nn.Parameter(torch.randn(layers, maps, dimensions, rank) / dimensions**0.5)
        ins, outs = ([getattr(one, name) for one in linears[0]] for name in ("in_features", "out_features"))
        self.downs_KLQI = nn.ParameterList(torch.randn(layers, queries, size) / size**0.5 for size in ins)
        self.ups_KLRO = nn.ParameterList(torch.zeros(layers, rank, size) for size in outs)
        self.register_buffer("mean_LQD", torch.zeros(layers, queries, dimensions))
        self.register_buffer("turn_LQDD", torch.eye(dimensions).repeat(layers, queries, 1, 1))
        self.register_buffer("scale_LK", torch.ones(layers, maps))
        self.register_buffer("bound_LK", torch.full((layers, maps), torch.inf))

    def __deepcopy__(self, memo: dict[int, object]) -> "WeightAbsorption":
        raise TypeError("it belongs to the linear maps of one model")

    @torch.no_grad()
    def measure(self, run: Callable[[], object]) -> None:
        """Sets the sizes that maps are measured by to those of what they are fed with and give while `run` runs."""
        found: dict[nn.Linear, list[tuple[float, float]]] = {}

        def measured(linear: nn.Linear) -> Forward:
            def forward(inputs_BTI: Tensor) -> Tensor:
                outputs_BTO = functional.linear(inputs_BTI, linear.weight, linear.bias)
                sizes = (float(one.float().square().mean().sqrt()) for one in (inputs_BTI, outputs_BTO))
                found.setdefault(linear, []).append((next(sizes), next(sizes)))
                return outputs_BTO

            return forward

        with standing_in({linear: measured(linear) for one in self._linears for linear in one}):
            run()
        for place, of_layers in enumerate(self._linears):
            for layer, linear in enumerate(of_layers):
                size_in, size_out = np.mean(found[linear], axis=0).clip(min=1e-4).tolist()
                self.downs_KLQI[place].data[layer] /= size_in
                self.scale_LK[layer, place] = size_out

    @torch.no_grad()
    def even(self, memory_NLQD: Tensor) -> None:
        """Sets by what memories are turned and stretched, so that those of users differ by as much in every direction
        (PCA whitening); directions in which they hardly differ are left small."""
        self.mean_LQD.copy_(memory_NLQD.mean(dim=0))
        apart_LQND = (memory_NLQD - self.mean_LQD).permute(1, 2, 0, 3)
        spread_LQD, axes_LQDD = torch.linalg.eigh(apart_LQND.mT @ apart_LQND / max(len(memory_NLQD) - 1, 1))
        floor_LQ1 = FLOOR * spread_LQD.amax(dim=-1, keepdim=True)
        stretch_LQD = (spread_LQD.clamp(min=0) + floor_LQ1).clamp(min=1e-6).rsqrt()
        self.turn_LQDD.copy_(axes_LQDD * stretch_LQD[..., None, :])

    def cores(self, memory_NLQD: Tensor) -> Tensor:
        """cores_NLKQR in float32."""
        evened_NLQD = torch.einsum("nlqd,lqde->nlqe", memory_NLQD - self.mean_LQD, self.turn_LQDD)
        return torch.einsum("nlqd,lkdr->nlkqr", evened_NLQD + self.base_LQD, self.cores_LKDR)

    @contextmanager
    def applied(self, cores: Cores) -> Iterator[None]:
        """Row by row of whatever the model reads in the block, each by its own core. Rows without an update take the
        very numbers of the frozen model's, and when no row has one the model is as it is."""
        if not cores.is_adapted_N.any():
            yield
            return
        rows_B = None if cores.is_adapted_N.all() else torch.from_numpy(np.flatnonzero(cores.is_adapted_N))
        kept_NLKQR = cores.cores_NLKQR
        if rows_B is not None:
            rows_B = rows_B.to(kept_NLKQR.device)
            kept_NLKQR = kept_NLKQR[rows_B]
        forwards: dict[nn.Module, Forward] = {}
        for place, of_layers in enumerate(self._linears):
            dtype = of_layers[0].weight.dtype
            writes_LNQO = self._writes(kept_NLKQR, place).to(dtype).unbind(0)
            downs_LIQ = self.downs_KLQI[place].to(dtype).mT.unbind(0)
            for linear, down_IQ, write_NQO in zip(of_layers, downs_LIQ, writes_LNQO, strict=True):
                forwards[linear] = _row_by_row(linear, down_IQ, write_NQO, rows_B)
        with standing_in(forwards):
            yield

    @torch.no_grad()
    def merged(self, core: Cores) -> Merged:
        """The weights of one user; the frozen ones stay as they are."""
        weights: dict[nn.Linear, Tensor] = {}
        if core.is_adapted_N.all():
            for place, of_layers in enumerate(self._linears):
                changes_LOI = self._writes(core.cores_NLKQR, place)[:, 0].mT @ self.downs_KLQI[place]
                for linear, change_OI in zip(of_layers, changes_LOI, strict=True):
                    weights[linear] = (linear.weight.float() + change_OI).to(linear.weight.dtype)
        return Merged(weights)

    def _writes(self, cores_NLKQR: Tensor, place: int) -> Tensor:
        """writes_LNQO of one map: what each of V's rows writes for each user."""
        strength_L = self._strength * self.scale_LK[:, place]
        ups_LRO = self.ups_KLRO[place] * strength_L[:, None, None]
        return torch.einsum("nlqr,lro->lnqo", cores_NLKQR[:, :, place], ups_LRO)


@contextmanager
def standing_in(forwards: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """These functions in place of the modules' own while the block runs; not for two threads at once."""
    for module, forward in forwards.items():
        module.forward = forward
    try:
        yield
    finally:
        for module in forwards:
            del module.forward


@contextmanager
def swapped(merged: Merged) -> Iterator[None]:
    """A user's merged weights in place of the model's while the block runs."""

    def forward_of(linear: nn.Linear, weight_OI: Tensor) -> Forward:
        return lambda inputs_BTI: functional.linear(inputs_BTI, weight_OI, linear.bias)

    with standing_in({linear: forward_of(linear, weight) for linear, weight in merged.weights.items()}):
        yield


def _row_by_row(linear: nn.Linear, down_IQ: Tensor, write_NQO: Tensor, rows_B: Tensor | None) -> Forward:
    def forward(inputs_BTI: Tensor) -> Tensor:
        outputs_BTO = functional.linear(inputs_BTI, linear.weight, linear.bias)
        if rows_B is None:
            return torch.baddbmm(outputs_BTO, inputs_BTI @ down_IQ, write_NQO)
        changed = torch.baddbmm(outputs_BTO[rows_B], inputs_BTI[rows_B] @ down_IQ, write_NQO)
        return outputs_BTO.index_copy(0, rows_B, changed)

    return forward
