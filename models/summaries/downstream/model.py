"""The downstream model: the T5 of P5 (models/p5/model.py), whose answer is one token among a task's own.

Prompts are up to some thousand tokens long. torch has a fused kernel for attention on a CPU, three times as fast
at that length, which gives no gradient to the bias of relative positions. Beyond 128 tokens T5 tells distances no more
apart, so that prompts of that length teach the whole bias, and longer ones take it as given.
Shapes: B prompts, T tokens, D dimensions, A tokens that may answer, C candidates.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.p5.config import P5Config
from models.p5.model import P5Model, new_model
from models.p5.tokens import PAD
from models.summaries.downstream.tokens import padded

NEAR: Final = 128
ALONE: Final = 320
AT_ONCE: Final = 4096  # tokens, padding included, that are read together


class Downstream(nn.Module):
    """reader: the T5. first: of the tokens that answer. prior_A: what is added to their scores in training."""

    prior_A: Tensor

    def __init__(self, reader: P5Model, first: int, prior_A: Tensor) -> None:
        super().__init__()
        self.reader = reader
        self.first = first
        self.register_buffer("prior_A", prior_A, persistent=False)

    @classmethod
    def new(cls, config: P5Config, size: int, first: int, prior_A: Tensor) -> "Downstream":
        """Weights by torch's seed."""
        return cls(new_model(config, size), first, prior_A)

    def scores(self, tokens_BT: Tensor) -> Tensor:
        """scores_BA of the answers to prompts padded with 0."""
        t5 = self.reader.t5
        first_block: Any = t5.encoder.block[0]
        bias = first_block.layer[0].SelfAttention.relative_attention_bias
        bias.weight.requires_grad_(tokens_BT.shape[1] <= NEAR)
        states_BTD, mask_BT = self.reader.encode(tokens_BT, tokens_BT)
        decoded = t5.decoder(
            input_ids=torch.full_like(tokens_BT[:, :1], PAD),
            encoder_hidden_states=states_BTD,
            encoder_attention_mask=mask_BT.long(),
            use_cache=False,
        )
        state_BD = self.reader.scaled(decoded.last_hidden_state[:, 0])
        answers_AD = t5.lm_head.weight[self.first : self.first + len(self.prior_A)]
        return nn.functional.linear(state_BD.float(), answers_AD)

    def loss(self, tokens_BT: Tensor, answers_B: Tensor) -> Tensor:
        """The sum of the cross-entropies; with the answers' prior added, so that the scores need not tell it (logit
        adjustment, Menon et al., 2021)."""
        return nn.functional.cross_entropy(self.scores(tokens_BT) + self.prior_A, answers_B, reduction="sum")


def together(prompts: Sequence[Sequence[int]], most: int = AT_ONCE) -> list[list[int]]:
    """The places of prompts of about one length together, at most `most` tokens with their padding, those of more than
    ALONE tokens one by one: padding has each prompt of a batch a square of biases of its own, which is slower there."""
    groups: list[list[int]] = []
    for place in sorted(range(len(prompts)), key=lambda place: len(prompts[place])):
        length = len(prompts[place])
        if groups and length <= ALONE and (len(groups[-1]) + 1) * length <= most:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


@torch.inference_mode()
def scores_of(model: Downstream, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """scores_BA of the answers, in the order of the prompts."""
    scores_BA = np.zeros((len(prompts), len(model.prior_A)), np.float32)
    for places in together(prompts):
        tokens_BT = torch.from_numpy(padded([prompts[place] for place in places])).to(model.prior_A.device)
        scores_BA[places] = model.scores(tokens_BT).cpu().numpy()
    return scores_BA
