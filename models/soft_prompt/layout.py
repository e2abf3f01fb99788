"""What a language model reads around a soft prompt: a question, and one answer or several, each as if it stood alone.

    [question][soft prompt][answer 1][answer 2] ...

The question comes first, so that it is read once for all users who are asked the same, and what it is about is known
where the soft prompt is read; its keys and values are a `Before`. Without a soft prompt it is of the words themselves.
The answers of a question share everything before them, which is read once: an answer's tokens see the question, the
soft prompt and their own answer, and their places follow the soft prompt's. An answer's last token is predicted and
never read, for nothing comes after it.
Shapes: B rows, T tokens of the longest, K vectors of a soft prompt, S = K + T, F answers of all rows, P predicting
places, A tokens of all answers, Q tokens of the longest question, H heads of E dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

Asked = tuple[Sequence[int], Sequence[Sequence[int]]]  # a question's tokens, and those of each answer


@dataclass(frozen=True, slots=True, eq=False)
class Before:
    """What stands before a soft prompt, read. layers: (keys_BHQE, values_BHQE) of each. counts_B: of tokens of each
    row; what is behind them is padding."""

    layers: Sequence[tuple[Tensor, Tensor]]
    counts_B: Tensor

    def sees(self) -> Tensor:
        """sees_B11Q: what of it is no padding."""
        size = self.layers[0][0].shape[2]
        return (torch.arange(size, device=self.counts_B.device) < self.counts_B[:, None])[:, None, None]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The words behind a soft prompt. parts_BT: 0 for what answers share, 1 for the first answer and so on, -1 for
    padding, which stands behind. places_BT: of each token, from the first shared one. rows_P, columns_P: after which
    tokens something is predicted; point_A, target_A, answer_A: of each token of an answer where it is predicted (in P),
    which it is, and whose (in F).
    """

    tokens_BT: Tensor
    parts_BT: Tensor
    places_BT: Tensor
    rows_P: Tensor
    columns_P: Tensor
    point_A: Tensor
    target_A: Tensor
    answer_A: Tensor
    n_answers: int

    def positions(self, tokens: int, before: Before | None = None) -> Tensor:
        """positions_BS, with so many vectors of a soft prompt before the words."""
        soft_BK = torch.arange(tokens, device=self.places_BT.device).expand(len(self.places_BT), -1)
        positions_BS = torch.cat((soft_BK, tokens + self.places_BT), dim=1)
        return positions_BS if before is None else positions_BS + before.counts_B[:, None]

    def sees(self, tokens: int, before: Before | None = None) -> Tensor | None:
        """sees_B1SX, X = S or Q + S; None where every place sees all before it, as it is with one answer a row."""
        if before is None and self.n_answers == len(self.tokens_BT):
            return None
        parts_BS = functional.pad(self.parts_BT, (tokens, 0))
        is_shared_B1S = parts_BS[:, None] == 0
        is_own_BSS = parts_BS[:, :, None] == parts_BS[:, None]
        size = parts_BS.shape[1]
        is_before_SS = torch.ones(size, size, dtype=torch.bool, device=parts_BS.device).tril()
        sees_B1SS = ((is_shared_B1S | is_own_BSS) & is_before_SS)[:, None]
        if before is None:
            return sees_B1SS
        return torch.cat((before.sees().expand(-1, -1, size, -1), sees_B1SS), dim=3)

    def to(self, device: str) -> "Rows":
        tensors = {one.name: getattr(self, one.name) for one in fields(Rows) if one.name != "n_answers"}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})


def laid_out(asked: Sequence[Asked]) -> Rows:
    """Words that answers share, of which there may be none behind a soft prompt, and answers of one token or more; a
    row each."""
    tokens: list[list[int]] = []
    parts: list[list[int]] = []
    places: list[list[int]] = []
    points: list[tuple[int, int]] = []
    predicted: list[tuple[int, int, int]] = []
    n_answers = 0
    for row, (question, answers) in enumerate(asked):
        read, part, place = list(question), [0] * len(question), list(range(len(question)))
        ask = len(points)
        points.append((row, len(question) - 1))
        for number, answer in enumerate(answers, 1):
            predicted.append((ask, answer[0], n_answers))
            for back, (token, following) in enumerate(pairwise(answer)):
                predicted.append((len(points), following, n_answers))
                points.append((row, len(read)))
                read.append(token)
                part.append(number)
                place.append(len(question) + back)
            n_answers += 1
        tokens.append(read)
        parts.append(part)
        places.append(place)
    width = max(map(len, tokens))
    rows_P, columns_P = torch.tensor(points).T
    point_A, target_A, answer_A = torch.tensor(predicted).T
    return Rows(
        _padded(tokens, 0, width),
        _padded(parts, -1, width),
        _padded(places, 0, width),
        rows_P,
        columns_P,
        point_A,
        target_A,
        answer_A,
        n_answers,
    )


def _padded(rows: Sequence[Sequence[int]], by: int, width: int) -> Tensor:
    return torch.tensor([[*row, *[by] * (width - len(row))] for row in rows], dtype=torch.int64)
