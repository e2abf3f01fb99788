"""Pasts streamed piece by piece, or at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_adaptation import ADAPTING, DATA, DRAWN, LINES, quick_adapter
from toy_llama import toy_llama
from toy_sequences import CPU

from models.soft_prompt.language import Language
from models.soft_prompt.questions import Question
from models.soft_prompt.reading import Past, pasts_of
from models.stream_adapter.streaming import Streaming
from models.stream_adapter.trained import StreamAdapter

pytestmark = pytest.mark.usefixtures("one_thread")

PASTS = pasts_of(DATA.events, DRAWN[:6])


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> StreamAdapter:
    """As if trained: with weights that change what the model says."""
    folder = toy_llama(tmp_path_factory.mktemp("llm") / "toy", reads=2048)
    torch.manual_seed(0)
    made = StreamAdapter(quick_adapter(), Language(folder, CPU))
    for ups in made.absorption.ups_KLRO:
        torch.nn.init.normal_(ups)
    made.weights.requires_grad_(False)
    return made


def frozen(adapter: StreamAdapter, question: Question) -> np.ndarray:
    [score_C] = adapter.scores(None, [adapter.asked(question)])
    return score_C


def cut(past: Past, count: int) -> Past:
    values = None if past.values_L is None else past.values_L[:count]
    return Past(past.items_L[:count], None if past.at_L is None else past.at_L[:count], values)


def test_a_past_goes_on_from_what_it_begins_with(adapter: StreamAdapter) -> None:
    whole = Streaming(adapter, LINES).states(PASTS)
    pieces = Streaming(adapter, LINES)
    pieces.states([cut(past, 2) for past in PASTS])
    for past, state, own in zip(PASTS, whole, pieces.states([PASTS[0], *PASTS[1:]]), strict=True):
        [alone] = adapter.advance(
            [adapter.fresh()], [adapter.context.tokens((LINES[item], None) for item in past.items_L)]
        )
        assert own.chunks == state.chunks == alone.chunks > 0
        assert own.tail_T.tolist() == state.tail_T.tolist() == alone.tail_T.tolist()
        np.testing.assert_allclose(own.memory_LQD, alone.memory_LQD, atol=2e-3)


def test_pasts_that_begin_alike_are_told_apart_by_their_ratings(adapter: StreamAdapter) -> None:
    past = PASTS[0]
    rated = replace(past, values_L=np.full(len(past.items_L), 4, np.float32))
    plain, other = Streaming(adapter, LINES).states([past, rated])
    assert (plain.chunks, plain.tail_T.tolist()) != (other.chunks, other.tail_T.tolist())


def test_scores_are_those_of_each_question_alone(adapter: StreamAdapter) -> None:
    streaming = Streaming(adapter, LINES)
    asked = streaming.ask(DRAWN[:6], PASTS)
    for question, past, score_C in zip(DRAWN[:6], PASTS, asked["scores_QC"], strict=True):
        [alone_C] = streaming.ready(past)(question)  # type: ignore[misc]
        np.testing.assert_allclose(score_C, alone_C, atol=1e-4)
        assert not np.allclose(score_C, streaming.plain(question))
    assert asked["history_Q"].tolist() == [0] * 6


def test_an_update_that_is_not_trusted_is_not_applied(adapter: StreamAdapter) -> None:
    streaming = Streaming(adapter, LINES)
    bound_LK = adapter.absorption.bound_LK.clone()
    try:
        adapter.absorption.bound_LK.zero_()
        [score_C] = streaming.ask(DRAWN[:1], PASTS[:1])["scores_QC"]
    finally:
        adapter.absorption.bound_LK.copy_(bound_LK)
    np.testing.assert_array_equal(score_C, frozen(adapter, DRAWN[0]))


def test_others_answer_as_before_beside_users_with_updates(adapter: StreamAdapter) -> None:
    drift, others = Streaming(adapter, LINES).drift(PASTS, DRAWN[0])
    assert len(drift) == len(PASTS)
    assert min(map(abs, drift)) > 0
    assert others == 0


def test_a_user_without_events_has_the_frozen_model(adapter: StreamAdapter) -> None:
    nobody = cut(PASTS[0], 0)
    [score_C] = Streaming(adapter, LINES).ready(nobody)(DRAWN[0])  # type: ignore[misc]
    np.testing.assert_array_equal(score_C, frozen(adapter, DRAWN[0]))
    np.testing.assert_allclose(score_C, Streaming(adapter, LINES).plain(DRAWN[0]), atol=1e-5)
    assert ADAPTING.starts_V[-1] == len(ADAPTING.items_E)
