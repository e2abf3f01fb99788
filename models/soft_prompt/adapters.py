"""Adapters: from a user encoder's states after each event to the vectors that prompt a language model.

    linear      a linear map of the states' mean over the events (UQABench: Liu et al., KDD 2025)
    query       learned queries attend to the states (one layer in the style of the Q-Former: Li et al., "BLIP-2", 2023)
    instructed  as query, and what is asked changes the queries (after Zhu et al., "IAPT: instruction-aware prompt
                tuning for large language models", 2024: attention pooling, then a bottleneck)
    dept        as query, and what is asked is read with a low-rank update of its words' embeddings (Shi and Lipani,
                "DePT: decomposed prompt tuning for parameter-efficient fine-tuning", ICLR 2024)
    none        no vectors

Departures: attention knows how many events ago each state is from, for a state does not; IAPT makes vectors for every
layer from the question alone, here they stand before the words alone and are the user's too; DePT's short prompt is one
for all, here it is the user's.
Shapes: B users, L events, D dimensions of states, T words of a question, W of the language model's embeddings, K
vectors, H hidden dimensions, M = L + 1, A heads of E dimensions, R dimensions of a bottleneck or an update.
"""

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.soft_prompt.config import SoftPromptConfig

FLOOR: Final = 0.1  # of the largest variance of states, added to every direction's
NEAR: Final = 0.05  # what users differ by at first, beside the length of a word's embedding
WORDS_MOST: Final = 128  # of a question that "dept" updates; its last ones, which the choices and what is asked are in


class Adapter(nn.Module):
    """(states_BLD, is_event_BL, words_BTW, is_word_BT) -> soft_BKW; words_BTW are the embeddings of what is asked.

    Each vector is brought to a length of its own, which is learned and begins as `norm`, the mean length of a word's
    embedding: a layer adds to its input what it makes of the input's direction, so that a vector much longer than words
    passes unread, one much shorter is drowned by the first layer, and an encoder's scale is neither.
    """

    def __init__(self, config: SoftPromptConfig, dimensions: int, width: int, norm: float, length: int) -> None:
        """length: the most events whose states are given."""
        super().__init__()
        self.tokens, self.width = config.tokens, width
        self.update: LowRank | None = LowRank(config.rank, width) if config.kind == "dept" else None
        if config.kind == "none":
            return
        self.even = Evened(dimensions)
        self.pool: nn.Module = Mean()
        if config.kind != "linear":
            question = Question(config, width) if config.kind == "instructed" else None
            self.pool = Queries(config, dimensions, length, question)
        self.out = nn.Linear(dimensions if config.kind == "linear" else config.hidden, width)
        self.log_norms_K1 = nn.Parameter(torch.full((config.tokens, 1), norm).log())

    def forward(self, states_BLD: Tensor, is_event_BL: Tensor, words_BTW: Tensor, is_word_BT: Tensor) -> Tensor:
        if not self.tokens:
            return words_BTW.new_zeros(len(words_BTW), 0, self.width, dtype=torch.float32)
        if isinstance(self.pool, Mean):
            pooled_BKH = self.even(self.pool(states_BLD, is_event_BL))
        else:
            pooled_BKH = self.pool(states_BLD, is_event_BL, words_BTW.float(), is_word_BT, self.even)
        return functional.normalize(self.out(pooled_BKH), dim=-1) * self.log_norms_K1.exp()

    @torch.no_grad()
    def start(self, word_W: Tensor) -> None:
        """Begins with vectors near a word's, by which users differ a little: the language model then goes on from what
        it says of its own accord."""
        if self.tokens:
            self.out.weight.mul_(NEAR * word_W.norm())
            self.out.bias.copy_(word_W)

    @torch.no_grad()
    def settle(self, states_BLD: Tensor, is_event_BL: Tensor) -> None:
        """Fits what evens states out to those of many users, before anything is learned."""
        is_mean = isinstance(self.pool, Mean)
        self.even.fit(self.pool(states_BLD, is_event_BL)[:, 0] if is_mean else states_BLD[is_event_BL])

    def reworded(self, words_BTW: Tensor, is_word_BT: Tensor) -> Tensor:
        """What the language model is to read in the words' place: with "dept" something else than they are."""
        return words_BTW if self.update is None else words_BTW + self.update(is_word_BT).to(words_BTW.dtype)

    def groups(self, config: SoftPromptConfig) -> list[dict[str, Any]]:
        """Its parameters with their learning rates, for AdamW. What DePT adds to words learns slower: it changes
        everything that is read."""
        updates = [] if self.update is None else list(self.update.parameters())
        known = {id(one) for one in updates}
        own = [one for one in self.parameters() if id(one) not in known]
        groups = [{"params": own, "lr": config.learning_rate}, {"params": updates, "lr": config.words_rate}]
        return [group for group in groups if group["params"]]


class Evened(nn.Module):
    """States turned and stretched so that users differ by as much in every direction (PCA whitening): an encoder's are
    much alike, and what they have in common would be most of what is learned from."""

    mean_D: Tensor
    turn_DD: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("mean_D", torch.zeros(dimensions))
        self.register_buffer("turn_DD", torch.eye(dimensions))

    def fit(self, states_ND: Tensor) -> None:
        """Directions in which they hardly differ are left small."""
        self.mean_D.copy_(states_ND.mean(dim=0))
        spread_D, axes_DD = torch.linalg.eigh(torch.cov(states_ND.double().T))
        stretch_D = (spread_D.clamp_min(0) + FLOOR * spread_D.max()).rsqrt()
        self.turn_DD.copy_(axes_DD * stretch_D)

    def forward(self, states_BLD: Tensor) -> Tensor:
        return (states_BLD - self.mean_D) @ self.turn_DD


class Mean(nn.Module):
    """Of the states of all events; zeros where there are none."""

    def forward(self, states_BLD: Tensor, is_event_BL: Tensor) -> Tensor:
        is_event_BL1 = is_event_BL[:, :, None].to(states_BLD.dtype)
        return (states_BLD * is_event_BL1).sum(dim=1, keepdim=True) / is_event_BL1.sum(dim=1, keepdim=True).clamp_min(1)


class Queries(nn.Module):
    """Learned queries attend to states, padded behind, and to one learned vector besides, so that there is something
    where there are no events."""

    def __init__(self, config: SoftPromptConfig, dimensions: int, length: int, question: "Question | None") -> None:
        super().__init__()
        size = config.hidden
        self.heads = config.heads
        self.question = question
        self.queries_KH = nn.Parameter(0.1 * torch.randn(config.tokens, size))  # little beside what is found
        self.nothing_H = nn.Parameter(torch.randn(size) * 0.02)
        self.read = nn.Linear(dimensions, size)
        self.ago = nn.Embedding(length, size)
        nn.init.normal_(self.ago.weight, std=size**-0.5)
        self.keys_values = nn.Linear(size, 2 * size)
        self.ask, self.mixed = nn.Linear(size, size), nn.Linear(size, size)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(3))
        self.wide = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))

    def forward(
        self, states_BLD: Tensor, is_event_BL: Tensor, words_BTW: Tensor, is_word_BT: Tensor, even: "Evened"
    ) -> Tensor:
        """even: what states are to go through; it is done with what is read of them, and not with each."""
        asked_BKH = self.queries_KH[None]  # of one row, unless a question changes them
        if self.question is not None:
            asked_BKH = asked_BKH + self.question(words_BTW, is_word_BT)
        counts_B1 = is_event_BL.sum(dim=1, keepdim=True)
        ages_L = torch.arange(is_event_BL.shape[1], device=states_BLD.device)
        places_BL1 = (counts_B1 - 1 - ages_L).clamp_min(0)[:, :, None]
        newest_BLD = states_BLD.gather(1, places_BL1.expand_as(states_BLD))
        mixed_BKH = self._attended(self.ask(self.norms[0](asked_BKH)), newest_BLD, ages_L < counts_B1, even)
        found_BKH = asked_BKH + self.mixed(mixed_BKH)
        found_BKH = found_BKH + self.wide(self.norms[1](found_BKH))
        return self.norms[2](found_BKH)

    def _attended(self, asks_BKH: Tensor, newest_BLD: Tensor, is_event_BL: Tensor, even: "Evened") -> Tensor:
        """mixed_BKH: attention of several heads to states from the newest, with keys and values that are not made.

        An event is r + a, r what is read of its state, a linear map, and a what its age is read as; a key and a value
        are maps of that. A query's product with a key is that of the query, brought back through the maps, with the
        state and with the age; and a mean of values is the value of the means. Of few queries that is a fraction of
        the work. What a key's bias adds is the same for everything that a query sees, and so weighs nothing.
        """
        size = asks_BKH.shape[-1]
        keys_AEH, values_AEH = self.keys_values.weight.view(2, self.heads, -1, size)
        read_DH = even.turn_DD @ self.read.weight.T
        bias_H = self.read.bias - even.mean_D @ read_DH
        ago_LH = self.ago.weight[: newest_BLD.shape[1]] + bias_H
        asks_BKAE = asks_BKH.unflatten(-1, (self.heads, -1))
        sought_BXH = torch.einsum("bkae,aeh->bkah", asks_BKAE, keys_AEH).flatten(1, 2) * asks_BKAE.shape[-1] ** -0.5
        scores_BXL = (newest_BLD @ (sought_BXH @ read_DH.T).transpose(1, 2)).transpose(1, 2) + sought_BXH @ ago_LH.T
        scores_BXL = scores_BXL.masked_fill(~is_event_BL[:, None], -torch.inf)
        nothing_BX1 = (sought_BXH @ self.nothing_H)[:, :, None].expand(len(newest_BLD), -1, -1)
        weights_BXM = torch.cat((nothing_BX1, scores_BXL), dim=2).softmax(dim=-1)
        weight_BX1, weights_BXL = weights_BXM.split([1, weights_BXM.shape[2] - 1], dim=2)
        found_BXH = weight_BX1 * self.nothing_H + weights_BXL @ newest_BLD @ read_DH + weights_BXL @ ago_LH
        found_BKAH = found_BXH.unflatten(1, (-1, self.heads))
        value_H = self.keys_values.bias.chunk(2)[1]
        return torch.einsum("bkah,aeh->bkae", found_BKAH, values_AEH).flatten(2) + value_H


class Question(nn.Module):
    """What a question adds to each query: its words pooled by attention, and brought through a bottleneck."""

    def __init__(self, config: SoftPromptConfig, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.weigh = nn.Linear(width, config.tokens, bias=False)
        self.down, self.up = nn.Linear(width, config.bottleneck), nn.Linear(config.bottleneck, config.hidden)

    def forward(self, words_BTW: Tensor, is_word_BT: Tensor) -> Tensor:
        words_BTW = self.norm(words_BTW)
        weights_BTK = self.weigh(words_BTW).masked_fill(~is_word_BT[:, :, None], -torch.inf).softmax(dim=1)
        return self.up(functional.gelu(self.down(weights_BTK.transpose(1, 2) @ words_BTW)))


class LowRank(nn.Module):
    """What is added to a word's embedding, by its place counted back from the question's end; nothing at first."""

    def __init__(self, rank: int, width: int) -> None:
        super().__init__()
        self.places_TR = nn.Parameter(torch.randn(WORDS_MOST, rank) * rank**-0.5)
        self.up_RW = nn.Parameter(torch.zeros(rank, width))

    def forward(self, is_word_BT: Tensor) -> Tensor:
        back_BT = is_word_BT.sum(dim=1, keepdim=True) - is_word_BT.cumsum(dim=1)
        is_updated_BT1 = (is_word_BT & (back_BT < WORDS_MOST))[:, :, None]
        return self.places_TR[back_BT.clamp_max(WORDS_MOST - 1)] @ self.up_RW * is_updated_BT1
