"""What an adapter learns before the language model is asked: users' answers in the directions of their words.

    states -> soft prompt -> its likeness to the words' embeddings of each choice -> the true one's cross-entropy

No layer of the language model is read, so that a question costs a thousandth of what it costs afterwards, and the
adapter has been asked all of them some times by then. It plays the part of the first of BLIP-2's two stages (Li et al.,
2023): to make what the encoder knows readable first, and to be understood second.
Shapes: B questions, C choices, A different answers, W of embeddings, K vectors, F choices of all B questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.soft_prompt.data import AligningData
from models.soft_prompt.layout import Asked
from models.soft_prompt.questions import Question
from models.soft_prompt.reading import pasts_of
from models.soft_prompt.trained import Aligned

BATCH: Final = 128
SHARPNESS: Final = 5.0  # that likenesses are multiplied by at first


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """words_AW: the mean embedding of each answer's tokens, of length one."""

    place_of: dict[tuple[int, ...], int]
    words_AW: Tensor

    @classmethod
    def of(cls, aligned: Aligned, asked: Sequence[Asked]) -> "_Answers":
        different = dict.fromkeys(tuple(answer) for _, answers in asked for answer in answers)
        words = [aligned.language.embedded([answer])[0][0].mean(dim=0) for answer in different]
        words_AW = functional.normalize(torch.stack(words).float(), dim=-1)
        return cls({answer: place for place, answer in enumerate(different)}, words_AW)


def warm(aligned: Aligned, data: AligningData, seed: int) -> None:
    """Asks the adapter every question as often as the configuration says."""
    config, device = aligned.config, aligned.language.device.name
    asked = [aligned.asked(question) for question in data.questions]
    with torch.no_grad():
        answers = _Answers.of(aligned, asked)
    sharpness = nn.Parameter(torch.tensor(SHARPNESS, device=device).log())
    learns = [*aligned.weights.parameters(), sharpness]
    optimizer = torch.optim.AdamW(learns, lr=config.warm_rate, weight_decay=config.weight_decay, fused=True)
    steps = -(-len(data.questions) // BATCH) * config.warm
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.warm_rate, total_steps=steps)
    aligned.weights.train()
    for number in range(config.warm):
        order = np.random.default_rng((seed, number, 2)).permutation(len(data.questions))
        for places in np.split(order, range(BATCH, len(order), BATCH)):
            some = [(data.questions[place], asked[place]) for place in places]
            loss = _loss(aligned, data, some, answers, sharpness)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    aligned.weights.eval()


def _loss(
    aligned: Aligned,
    data: AligningData,
    some: Sequence[tuple[Question, Asked]],
    answers: _Answers,
    sharpness: Tensor,
) -> Tensor:
    pasts = pasts_of(data.events, [question for question, _ in some])
    soft_BKW = aligned.prompter.soft(pasts, aligned.language.embedded([words for _, (words, _) in some]))
    said_BW = functional.normalize(soft_BKW.mean(dim=1), dim=-1)
    counts = [len(own) for _, (_, own) in some]
    places_F = torch.tensor([answers.place_of[tuple(answer)] for _, (_, own) in some for answer in own])
    rows_F = torch.repeat_interleave(torch.tensor(counts)).to(said_BW.device)
    likeness_F = (said_BW[rows_F] * answers.words_AW[places_F.to(said_BW.device)]).sum(dim=1) * sharpness.exp()
    losses = [
        functional.cross_entropy(likeness_C, torch.tensor(question.truth, device=likeness_C.device))
        for likeness_C, (question, _) in zip(likeness_F.split(counts), some, strict=True)
    ]
    return torch.stack(losses).mean()
