"""Answers to several users at once: each is the user's own, whoever else is asked about beside."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from toy_llama import toy_llama
from toy_streams import LINES, WORDS, toy_adapter

from features.errors import InvalidInput
from models.stream_adapter.replying import OFTEN, Ask, MergedWeights, next_items, replies
from models.stream_adapter.state import State
from models.stream_adapter.trained import StreamAdapter

CHOICES = (" war", " love", " space")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> StreamAdapter:
    return toy_adapter(toy_llama(tmp_path_factory.mktemp("llama"), words=WORDS))


def state(adapter: StreamAdapter, *rows: int) -> State:
    return adapter.advance([adapter.fresh()], [adapter.context.tokens([(LINES[row], 4.0) for row in rows])])[0]


def ask(adapter: StreamAdapter, user: str, rows: Sequence[int] = (), answers: tuple[str, ...] = CHOICES) -> Ask:
    """Without rows, of the frozen model."""
    return Ask(adapter, (user, str(rows)), state(adapter, *rows) if rows else None, "likes what", answers)


def answered(asks: Sequence[Ask], kept: MergedWeights | None = None, most: int = 3) -> list[tuple[str, np.ndarray]]:
    found = replies(asks, most, MergedWeights(0) if kept is None else kept)
    return [(reply.text, np.array(reply.lifts)) for reply in found]


def test_users_together_are_answered_as_each_alone(adapter: StreamAdapter) -> None:
    asks = [ask(adapter, "ann", [0, 1]), ask(adapter, "nobody"), ask(adapter, "bob", [7, 8, 9], answers=())]
    asks += [next_items(adapter, ("cem", ""), state(adapter, 5, 5), LINES[:3]), ask(adapter, "bob", [7, 8, 9])]
    for (text, chances), one in zip(answered(asks), asks, strict=True):
        [(alone, alone_chances)] = answered([one])
        assert text == alone
        np.testing.assert_allclose(chances, alone_chances, atol=1e-5)
    assert len({text for text, _ in answered(asks)}) > 1


def test_without_a_state_the_frozen_model_answers(adapter: StreamAdapter) -> None:
    before = {name: tensor.clone() for name, tensor in adapter.language.model.state_dict().items()}
    [(_, frozen)] = answered([ask(adapter, "nobody")])
    [(_, adapted)] = answered([ask(adapter, "ann", [0, 1])])
    with torch.no_grad():
        asked = adapter.language.asked("likes what", CHOICES, 0)
        [expected] = adapter.scores(adapter.cores([adapter.fresh()]), [asked])
    np.testing.assert_array_equal(frozen, expected)
    assert np.abs(frozen - adapted).max() > 0.1
    for name, tensor in adapter.language.model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_titles_are_told_apart_by_the_mean_of_a_token(adapter: StreamAdapter) -> None:
    one = state(adapter, 3, 4)
    lines = ("The", "The The The The The The", LINES[0])
    [(text, chances)] = answered([next_items(adapter, ("ann", ""), one, lines)])
    [expected] = adapter.title_scores(adapter.cores([one]), [lines])
    np.testing.assert_allclose(chances, expected, atol=1e-5)
    assert text == lines[int(expected.argmax())]


def test_many_long_choices_are_answered_as_a_few(adapter: StreamAdapter) -> None:
    many = tuple(f" {'war ' * 20}{number}" for number in range(60))
    [(_, chances)] = answered([ask(adapter, "ann", [0, 1], many)])
    [(_, few)] = answered([ask(adapter, "ann", [0, 1], many[57:])])
    np.testing.assert_allclose(chances[57:], few, atol=1e-4)


def test_who_asks_often_and_alone_is_answered_the_same_by_merged_weights(adapter: StreamAdapter) -> None:
    kept, one = MergedWeights(1), ask(adapter, "ann", [0, 1])
    [(_, expected)] = answered([one])
    for times in range(1, OFTEN + 3):
        [(_, chances)] = answered([one], kept)
        assert len(kept) == int(times >= OFTEN)
        np.testing.assert_allclose(chances, expected, atol=1e-4)
    _, (_, beside) = answered([ask(adapter, "bob", [7, 8]), one], kept)
    np.testing.assert_allclose(beside, expected, atol=1e-5)


def test_of_those_who_ask_often_the_last_are_kept_and_none_after_it_is_forgotten(adapter: StreamAdapter) -> None:
    kept = MergedWeights(2)
    asks = [ask(adapter, user, [place, place]) for place, user in enumerate("abc")]
    for one in asks:
        for _ in range(OFTEN):
            kept.of(one)
    assert len(kept) == 2
    kept.forget("c")
    assert len(kept) == 1
    assert kept.of(asks[2]) is None
    assert kept.of(ask(adapter, "b", [0, 0])) is None  # another state of the same user
    assert kept.of(ask(adapter, "nobody")) is None
    assert all(MergedWeights(0).of(asks[0]) is None for _ in range(OFTEN))


def test_a_question_that_is_too_long_is_refused(adapter: StreamAdapter) -> None:
    long = Ask(adapter, ("ann", ""), None, "likes what " * 400, CHOICES)
    with pytest.raises(InvalidInput, match="question"):
        replies([long], 3, MergedWeights(0))


def test_what_is_not_wanted_any_more_is_left(adapter: StreamAdapter) -> None:
    first, second = replies([ask(adapter, "ann"), ask(adapter, "bob")], 3, MergedWeights(0), lambda place: place == 1)
    assert (first.is_finished, second.is_finished) == (False, True)
