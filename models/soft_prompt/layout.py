"""What a language model reads behind a soft prompt: a question, and one answer or several, each as if it stood alone.

    [soft prompt][question][answer 1][answer 2] ...

The answers of a question share everything before them, which is read once: an answer's tokens see the soft prompt, the
question and their own answer, and their places follow the question's. An answer's last token is predicted and never
read, for nothing comes after it. The soft prompt comes first, as it does where it is served, and so nothing that is
read is the same for two users.
Shapes: B rows, T tokens of the longest, K vectors of a soft prompt, S = K + T, F answers of all rows, P predicting
places, A tokens of all answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

Asked = tuple[Sequence[int], Sequence[Sequence[int]]]  # a question's tokens, and those of each answer


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """parts_BT: 0 for the question, 1 for its first answer and so on, -1 for padding, which stands behind.
    places_BT: of each token, from the question's first. rows_P, columns_P: after which tokens something is predicted;
    point_A, target_A, answer_A: of each token of an answer where it is predicted (in P), which it is, and whose (in F).
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

    def words(self) -> Tensor:
        """is_word_BT: which tokens are the question's."""
        return self.parts_BT == 0

    def positions(self, tokens: int) -> Tensor:
        """positions_BS, with so many vectors of a soft prompt before the words."""
        soft_BK = torch.arange(tokens, device=self.places_BT.device).expand(len(self.places_BT), -1)
        return torch.cat((soft_BK, tokens + self.places_BT), dim=1)

    def sees(self, tokens: int) -> Tensor | None:
        """sees_B1SS; None where every place sees all before it, as it is with one answer a row."""
        if self.n_answers == len(self.tokens_BT):
            return None
        parts_BS = functional.pad(self.parts_BT, (tokens, 0))
        is_shared_B1S = parts_BS[:, None] == 0
        is_own_BSS = parts_BS[:, :, None] == parts_BS[:, None]
        size = parts_BS.shape[1]
        is_before_SS = torch.ones(size, size, dtype=torch.bool, device=parts_BS.device).tril()
        return ((is_shared_B1S | is_own_BSS) & is_before_SS)[:, None]

    def to(self, device: str) -> "Rows":
        tensors = {one.name: getattr(self, one.name) for one in fields(Rows) if one.name != "n_answers"}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})


def laid_out(asked: Sequence[Asked]) -> Rows:
    """Questions and answers of one token or more, a row each."""
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
        torch.tensor([one + [0] * (width - len(one)) for one in tokens]),
        torch.tensor([one + [-1] * (width - len(one)) for one in parts]),
        torch.tensor([one + [0] * (width - len(one)) for one in places]),
        rows_P,
        columns_P,
        point_A,
        target_A,
        answer_A,
        n_answers,
    )
