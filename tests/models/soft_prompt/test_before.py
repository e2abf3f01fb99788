"""Questions that are read once."""

from collections.abc import Sequence

import pytest
import torch

from models.soft_prompt import before
from models.soft_prompt.before import Kept
from models.soft_prompt.layout import Before


class Reader:
    """A made-up model of one layer: a token's key is its number, its value the number doubled."""

    def __init__(self) -> None:
        self.read: list[list[tuple[int, ...]]] = []

    def __call__(self, questions: Sequence[Sequence[int]]) -> Before:
        asked = [tuple(question) for question in questions]
        self.read.append(asked)
        width = max(map(len, asked))
        keys = torch.tensor([[*one, *[0] * (width - len(one))] for one in asked], dtype=torch.float32)[:, None, :, None]
        return Before([(keys, 2 * keys)], torch.tensor([len(one) for one in asked]))


def test_a_question_is_read_once_and_found_again_in_any_company() -> None:
    reader = Reader()
    kept = Kept(reader)
    kept.before([[1, 2, 3], [4], [1, 2, 3]])
    found = kept.before([[4], [5, 6], [1, 2, 3]])
    assert reader.read == [[(1, 2, 3), (4,)], [(5, 6)]]
    [(keys, values)] = found.layers
    assert keys[:, 0, :, 0].tolist() == [[4, 0, 0], [5, 6, 0], [1, 2, 3]]
    assert torch.equal(values, 2 * keys)
    assert found.counts_B.tolist() == [1, 2, 3]
    assert found.sees()[:, 0, 0].tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def test_long_ones_are_not_kept_and_old_ones_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader()
    kept = Kept(reader)
    long = [7] * (before.TOKENS + 1)
    kept.before([long])
    kept.before([long])
    assert reader.read == [[tuple(long)]] * 2
    monkeypatch.setattr(before, "BYTES", 2 * 2 * 4)  # two tokens' keys and values
    for question in ([1], [2], [1], [3], [1], [2]):
        kept.before([question])
    assert reader.read[2:] == [[(1,)], [(2,)], [(3,)], [(2,)]]
