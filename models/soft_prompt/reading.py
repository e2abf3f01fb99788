"""What an adapter reads of users: an encoder's states after each of their events, or the same vector for everybody.

Shapes: B users, L events, D dimensions, E events of all users.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from features.errors import InvalidInput
from models.encoders.data import EncoderData
from models.encoders.frozen import FrozenEncoder
from models.encoders.model import Batch
from models.soft_prompt.questions import Question
from models.soft_prompt.tasks import Task


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What is known of a user: item rows, oldest first, with epoch seconds and ratings (NaN for none) where known."""

    items_L: NDArray[np.int64]
    at_L: NDArray[np.float64] | None = None
    values_L: NDArray[np.float32] | None = None


def past_of(events: EncoderData, user: int, cut: int) -> Past:
    """The first `cut` events of a user. Raises InvalidInput when there are not so many."""
    first, end = (int(place) for place in events.starts_V[user : user + 2])
    if not 0 <= cut <= end - first:
        raise InvalidInput("cut", f"{cut} events of user {user}, who has {end - first}")
    some = slice(first, first + cut)
    return Past(events.items_E[some], events.at_E[some], events.values_E[some])


def pasts_of(events: EncoderData, questions: Sequence[Question]) -> list[Past]:
    """What may be known when each question is asked."""
    return [past_of(events, question.user, question.cut) for question in questions]


def pasts_of_strangers(events: EncoderData, questions: Sequence[Question], seed: int = 0) -> list[Past]:
    """The pasts of other users in their place: in each task, a user's stranger is the next one on a drawn ring, at the
    first moment that the stranger is asked this task at, for a task goes with how much is known. Raises InvalidInput
    when the questions of a task are all of one user."""
    past_of_asked: dict[tuple[Task, int], Past] = {}
    for task in dict.fromkeys(question.task for question in questions):
        moments = {question.user: question.cut for question in reversed(questions) if question.task is task}
        ring = np.random.default_rng(seed).permutation(sorted(moments)).tolist()
        if len(ring) < 2:
            raise InvalidInput("questions", f"of {task} are of one user; another's past takes two")
        for user, other in zip(ring, ring[1:] + ring[:1], strict=True):
            past_of_asked[task, user] = past_of(events, other, moments[other])
    return [past_of_asked[question.task, question.user] for question in questions]


class EncoderReader(nn.Module):
    """pasts -> (states_BLD, is_event_BL). is_tuned: whether the encoder's weights get gradients."""

    def __init__(self, frozen: FrozenEncoder, *, is_tuned: bool) -> None:
        super().__init__()
        self._frozen = frozen
        self.encoder = frozen.module().requires_grad_(is_tuned)

    def forward(self, pasts: Sequence[Past]) -> tuple[Tensor, Tensor]:
        given = self._frozen.batch(
            [past.items_L for past in pasts], [past.at_L for past in pasts], [past.values_L for past in pasts]
        )
        device = self.encoder.rows.weight.device
        batch = Batch(given.items_BL.to(device), given.ratings_BL.to(device), given.gaps_BL.to(device))
        return self.encoder.states(batch), batch.items_BL < self.encoder.n_items


class ConstantReader(nn.Module):
    """The same for every past: one learned vector, as if after one event. What an adapter comes to with it, it comes
    to without the users."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.state_D = nn.Parameter(torch.randn(dimensions))

    def forward(self, pasts: Sequence[Past]) -> tuple[Tensor, Tensor]:
        states_B1D = self.state_D.expand(len(pasts), 1, -1)
        return states_B1D, torch.ones(states_B1D.shape[:2], dtype=torch.bool, device=states_B1D.device)
