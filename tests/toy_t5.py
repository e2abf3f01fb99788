"""A small T5 with no weight that is zero or one by construction, and what it says of ids by plain forward passes."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

TOKENS = 40


def toy_t5(*, gated: bool = False, seed: int = 0) -> T5ForConditionalGeneration:
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=TOKENS,
        d_model=24,
        d_kv=6,
        d_ff=20,
        num_layers=2,
        num_heads=3,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=12,
        feed_forward_proj="gated-gelu" if gated else "relu",
        tie_word_embeddings=not gated,  # T5 1.1 does not scale what it says
        decoder_start_token_id=0,
    )
    t5 = T5ForConditionalGeneration(config).eval()
    for name, weights in t5.named_parameters():
        nn.init.normal_(weights, mean=1.0 if "layer_norm" in name else 0.0, std=0.3)
    t5.decoder.final_layer_norm.weight.data *= 1.0 if gated else 5.0  # so that the likely and the unlikely differ
    return t5


def toy_prompts(users: int = 3, length: int = 7, seed: int = 1) -> tuple[Tensor, Tensor]:
    """(tokens_BT, mask_BT): the first as long as they get, each of the others one token shorter than the one before."""
    tokens_BT = torch.randint(2, TOKENS, (users, length), generator=torch.Generator().manual_seed(seed))
    mask_BT = (torch.arange(length) < length - torch.arange(users)[:, None]).long()
    return tokens_BT * mask_BT, mask_BT


@torch.no_grad()
def encoded(t5: T5ForConditionalGeneration, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
    return t5.encoder(input_ids=tokens_BT, attention_mask=mask_BT).last_hidden_state


@torch.no_grad()
def said(t5: T5ForConditionalGeneration, prompt: Sequence[int], answer: Sequence[int], *, ends: bool = True) -> float:
    """The log-probability of an answer, with its end or without, by one teacher-forced pass of one answer."""
    labels = torch.tensor([[*answer, 1] if ends else [*answer]])
    logits = t5(input_ids=torch.tensor([list(prompt)]), labels=labels).logits[0]
    return float(logits.double().log_softmax(-1)[torch.arange(labels.shape[1]), labels[0]].sum())


def prefix_free(codes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Those with which no other one begins."""
    return [one for one in codes if not any(other != one and other[: len(one)] == one for other in codes)]


def ids_of(codes: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    """codes_NC, -1 behind the ends."""
    codes_NC = np.full((len(codes), max(map(len, codes))), -1, np.int32)
    for row, code in enumerate(codes):
        codes_NC[row, : len(code)] = code
    return codes_NC
