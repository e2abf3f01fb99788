"""The downstream model: a T5 whose encoder reads each part of what is told of a user by itself, and whose decoder reads
the question beside all of them and answers with one token among a task's own.

Fusion in the decoder (Izacard and Grave, "Leveraging passage retrieval with generative models for open domain question
answering", 2021), with which LaMP (Salemi et al., 2024) has a T5 read a user's entries; here the question stands once,
in the decoder, and not in every part. The time of a prompt is then linear in its length, and an entry's states are the
same in every prompt, so that what a batch shares is computed once.
Shapes: P parts, L tokens of the longest, R real tokens of all parts, B prompts, T tokens told, Q tokens of a question,
D dimensions, A tokens that may answer.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.p5.model import PLACES, P5Model
from models.p5.tokens import END, PAD
from models.summaries.downstream.tokens import Prompt, Tokens, padded

AT_ONCE: Final = 8192  # tokens, padding included, whose states are made together
_ASKED_AT_ONCE: Final = 512  # prompts
_NOTHING: Final[Tokens] = (END,)  # a part of every prompt, for who is told nothing of a user has to look at something


class Downstream(nn.Module):
    """t5: with an embedding of a part's place, counted from the last. answers: the tokens that answer. prior_A: what is
    added to their scores in training."""

    prior_A: Tensor

    def __init__(self, t5: P5Model, answers: range, prior_A: Tensor) -> None:
        super().__init__()
        self.t5 = t5
        self.answers = answers
        self.register_buffer("prior_A", prior_A, persistent=False)

    def loss(self, prompts: Sequence[Prompt], answers_B: Tensor) -> Tensor:
        """The mean cross-entropy; with the answers' prior added, so that the scores need not tell it (logit adjustment,
        Menon et al., "Long-tail learning via logit adjustment", ICLR 2021)."""
        return nn.functional.cross_entropy(self.scores(prompts) + self.prior_A, answers_B)

    def scores(self, prompts: Sequence[Prompt]) -> Tensor:
        """scores_BA of the answers, in the order of the prompts."""
        parts = dict.fromkeys((_NOTHING, *(part for one in prompts for part in one.told)))
        number_of = {part: number for number, part in enumerate(parts)}
        states_RD, starts_P = self._read([*parts])
        scores_BA = states_RD.new_empty((len(prompts), len(self.answers)), dtype=torch.float32)
        for group in _together([one.history for one in prompts]):
            scores_BA[group] = self._answered([prompts[place] for place in group], number_of, states_RD, starts_P)
        return scores_BA

    def _read(self, parts: Sequence[Tokens]) -> tuple[Tensor, NDArray[np.int64]]:
        """(states_RD of the tokens of all parts, one part after another; where each part begins)."""
        states: list[Tensor] = []
        starts_P = np.zeros(len(parts), np.int64)
        done = 0
        for group in _together(list(map(len, parts))):
            tokens_PL = self._tensor([parts[place] for place in group])
            is_real_PL = tokens_PL != PAD
            read = self.t5.t5.encoder(input_ids=tokens_PL, attention_mask=is_real_PL.long())
            states.append(read.last_hidden_state[is_real_PL])
            for place in group:
                starts_P[place] = done
                done += len(parts[place])
        return torch.cat(states), starts_P

    def _answered(
        self, prompts: Sequence[Prompt], number_of: dict[Tokens, int], states_RD: Tensor, starts_P: NDArray[np.int64]
    ) -> Tensor:
        told = [(*one.told, _NOTHING) for one in prompts]
        rows = [_rows(parts, starts_P[[number_of[part] for part in parts]]) for parts in told]
        places = [np.repeat(np.arange(len(parts), 0, -1), list(map(len, parts))) for parts in told]
        places_BT = self._tensor(places)  # from 1, so that 0 is where there is no token
        assert self.t5.whole is not None  # noqa: S101 - as the configuration has it
        memory_BTD = states_RD[self._tensor(rows)] + self.t5.whole(places_BT.clamp(max=PLACES - 1))
        questions_BQ = self._tensor([(PAD, *one.question) for one in prompts])
        decoded = self.t5.t5.decoder(
            input_ids=questions_BQ,
            encoder_hidden_states=memory_BTD,
            encoder_attention_mask=(places_BT > 0).long(),
            use_cache=False,
        )
        last_B = torch.tensor([len(one.question) for one in prompts], device=memory_BTD.device)
        state_BD = self.t5.scaled(decoded.last_hidden_state[torch.arange(len(prompts), device=last_B.device), last_B])
        answers_AD = self.t5.t5.lm_head.weight[self.answers.start : self.answers.stop]
        return nn.functional.linear(state_BD.float(), answers_AD)

    def _tensor(self, rows: Sequence[Sequence[int] | NDArray[np.int64]]) -> Tensor:
        return torch.from_numpy(padded(rows)).to(self.t5.t5.device)


@torch.inference_mode()
def scores_of(model: Downstream, prompts: Sequence[Prompt]) -> NDArray[np.float32]:
    """scores_BA of the answers, in the order of the prompts."""
    scores_BA = np.zeros((len(prompts), len(model.answers)), np.float32)
    for first in range(0, len(prompts), _ASKED_AT_ONCE):
        some = slice(first, first + _ASKED_AT_ONCE)
        scores_BA[some] = model.scores(prompts[some]).float().cpu().numpy()
    return scores_BA


def _rows(parts: Sequence[Tokens], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which rows of all states are those of these parts."""
    lengths = np.array(list(map(len, parts)))
    return np.repeat(starts - lengths.cumsum() + lengths, lengths) + np.arange(lengths.sum())


def _together(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of like lengths together, at most AT_ONCE tokens with their padding, which is at most a quarter."""
    group: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        length = lengths[place]
        if group and ((len(group) + 1) * length > AT_ONCE or length > 1.33 * lengths[group[0]] + 2):
            yield group
            group = []
        group.append(place)
    if group:
        yield group
