"""The ids of all items as a tree of tokens, so that a search walks only along ids that exist.

A node stands for the items whose ids begin with the same tokens. Items are sorted by their ids, and then called leaves,
so that a node is a range of leaves; nodes are numbered level by level, so that a node's children are a range of nodes.
A node with one leaf has no children in store: what tokens are to come is read from the leaf's id.
Shapes: N items or leaves, C tokens of the longest id with its end, M nodes, B users, S rows of the longest list.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.errors import InvalidInput

PAD: Final = 0  # T5's token of padding, with which a decoder also starts
EOS: Final = 1  # T5's token of the end


@dataclass(frozen=True, slots=True, eq=False)
class Trie:
    """Everything int32, on one device. codes_NC: of leaves, with EOS where ids have ends; PAD fills up behind them.

    rows_N: the item of each leaf. leaves_N: the leaf of each item. firsts_M, lasts_M: leaves firsts <= leaf < lasts are
    below a node. children_M1: node m's children are the nodes children_M1[m] <= node < children_M1[m + 1].
    """

    codes_NC: Tensor
    rows_N: Tensor
    leaves_N: Tensor
    firsts_M: Tensor
    lasts_M: Tensor
    children_M1: Tensor

    @classmethod
    def of(cls, token_codes_NC: NDArray[np.int32], *, ends: bool = True) -> "Trie":
        """From each item's tokens, -1 behind their end. ends: whether EOS is a part of each id, which it must be where
        one id begins with another. Raises InvalidInput where these are not ids of items.
        """
        codes_NC = _checked(token_codes_NC, ends=ends)
        rows_N = np.lexsort(codes_NC.T[::-1]).astype(np.int32)
        codes_NC = codes_NC[rows_N]
        begins_NC = np.ones(codes_NC.shape, bool)  # whether a leaf is the first with its first 1, 2, ... tokens
        np.logical_or.accumulate(codes_NC[1:] != codes_NC[:-1], axis=1, out=begins_NC[1:])
        if not begins_NC[:, -1].all():
            leaf = int(np.argmin(begins_NC[:, -1]))
            raise InvalidInput("codes", f"items {rows_N[leaf - 1]} and {rows_N[leaf]} have one id; each needs its own")
        if not ends and (begins := _beginning(codes_NC)) is not None:
            one, other = rows_N[begins : begins + 2]
            raise InvalidInput("codes", f"the id of item {other} begins with that of item {one}; ids need ends")
        leaves_N = np.empty_like(rows_N)
        leaves_N[rows_N] = np.arange(len(rows_N))
        arrays = (codes_NC, rows_N, leaves_N, *_nodes(begins_NC))
        return cls(*(torch.from_numpy(array.astype(np.int32, copy=False)) for array in arrays))

    @property
    def n_items(self) -> int:
        return len(self.rows_N)

    @property
    def depth(self) -> int:
        """Tokens of the longest id, its end included."""
        return self.codes_NC.shape[1]

    @property
    def nbytes(self) -> int:
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    def to(self, device: torch.device) -> "Trie":
        return Trie(*(getattr(self, field.name).to(device) for field in fields(self)))

    def decided(self, nodes: Tensor) -> Tensor:
        """Whether there is one item below a node, so that all tokens to come are known."""
        return self.lasts_M[nodes] - self.firsts_M[nodes] == 1

    def ended(self, nodes: Tensor, depth: int) -> Tensor:
        """Whether a node at this depth is an item whose tokens were all met."""
        if depth == self.depth:
            return torch.ones_like(nodes, dtype=torch.bool)
        return self.decided(nodes) & (self.codes_NC[self.firsts_M[nodes], depth] == PAD)

    def children(self, nodes_BW: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        """(children_BWC, tokens_BWC) int64 of nodes at this depth, which the tokens lead to; token PAD: no such child.

        A node with one item is its own only child.
        """
        starts_BW, ends_BW = self.children_M1[nodes_BW].long(), self.children_M1[nodes_BW + 1].long()
        counts_BW = (ends_BW - starts_BW).clamp(min=1)
        starts_BW = torch.where(self.decided(nodes_BW), nodes_BW, starts_BW)
        offsets_C = torch.arange(int(counts_BW.max()), device=nodes_BW.device)
        absent_BWC = offsets_C >= counts_BW[..., None]
        children_BWC = (starts_BW[..., None] + offsets_C).masked_fill(absent_BWC, 0)
        tokens_BWC = self.codes_NC[self.firsts_M[children_BWC], depth].long().masked_fill(absent_BWC, PAD)
        return children_BWC, tokens_BWC

    def tails(self, nodes_BW: Tensor, depth: int) -> Tensor:
        """tokens_BWJ int64 behind the first `depth` of the one item below each node, its end included."""
        return self.codes_NC[self.firsts_M[nodes_BW], depth:].long()

    def leaves(self, rows: Sequence[NDArray[np.integer]], padding: int) -> Tensor:
        """leaves_BS int64 of lists of item rows, sorted and each once; padding behind, which sorts behind."""
        known = [np.unique(np.asarray(one, np.int64)) for one in rows]
        for place, one in enumerate(known):
            if len(one) and not (one[0] >= 0 and one[-1] < self.n_items):
                wrong = one[0] if one[0] < 0 else one[-1]
                raise InvalidInput(f"{place}.rows", f"{wrong} was given; items are 0 to {self.n_items - 1}")
        rows_BS = np.full((len(rows), max(map(len, known), default=0)), -1)
        for place, one in enumerate(known):
            rows_BS[place, : len(one)] = one
        given_BS = torch.from_numpy(rows_BS).to(self.leaves_N.device)
        leaves_BS = self.leaves_N[given_BS.clamp(min=0)].long()
        return leaves_BS.masked_fill(given_BS < 0, padding).sort(dim=1).values


def _checked(token_codes_NC: NDArray[np.int32], *, ends: bool) -> NDArray[np.int32]:
    """The ids with padding, and EOS where they have ends."""
    if token_codes_NC.ndim != 2 or not token_codes_NC.size:
        raise InvalidInput("codes", f"of shape {list(token_codes_NC.shape)}; it takes an item, and a token of its id")
    lengths_N = (token_codes_NC >= 0).sum(axis=1)
    within_NC = np.arange(token_codes_NC.shape[1]) < lengths_N[:, None]
    wrong_N = (lengths_N == 0) | ((token_codes_NC > EOS) != within_NC).any(axis=1)
    if wrong_N.any():
        row = int(np.argmax(wrong_N))
        raise InvalidInput("codes", f"item {row} has {token_codes_NC[row].tolist()}; tokens are above {EOS}, then -1")
    codes_NC = np.full((len(lengths_N), int(lengths_N.max()) + ends), PAD, np.int32)
    width = int(lengths_N.max())
    codes_NC[:, :width] = np.where(within_NC, token_codes_NC, PAD)[:, :width]
    if ends:
        codes_NC[np.arange(len(lengths_N)), lengths_N] = EOS
    return codes_NC


def _beginning(codes_NC: NDArray[np.int32]) -> int | None:
    """The first of sorted ids with which the one behind it begins."""
    if len(codes_NC) < 2:
        return None
    is_same_NC = (codes_NC[:-1] == codes_NC[1:]) | (codes_NC[:-1] == PAD)
    places = np.flatnonzero(is_same_NC.all(axis=1))
    return int(places[0]) if len(places) else None


def _nodes(begins_NC: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """(firsts_M, lasts_M, children_M1), level by level from the root."""
    firsts, lasts = np.array([0], np.int32), np.array([len(begins_NC)], np.int32)
    levels, counts = [(firsts, lasts)], []
    shared_N = np.full(len(begins_NC), len(begins_NC) > 1)  # leaves below a node with other leaves
    for begins_N in begins_NC.T:
        starts = np.flatnonzero(begins_N & shared_N).astype(np.int32)
        counts.append(np.searchsorted(starts, lasts) - np.searchsorted(starts, firsts))
        if not len(starts):
            break
        before_N = np.concatenate([[0], np.cumsum(shared_N)])
        sizes = np.diff(before_N[starts], append=before_N[-1])
        firsts, lasts = starts, (starts + sizes).astype(np.int32)
        levels.append((firsts, lasts))
        shared_N[firsts[sizes == 1]] = False
    children_M1 = 1 + np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    firsts_M, lasts_M = (np.concatenate(side) for side in zip(*levels, strict=True))
    return firsts_M, lasts_M, children_M1
