import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_llama import toy_llama

from models.language.plain_tokens import PlainTokens
from models.stream_adapter.context import Context, Streams, line


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> PlainTokens:
    return PlainTokens(toy_llama(tmp_path_factory.mktemp("llm") / "toy"))


def test_an_item_is_its_title_and_its_categories() -> None:
    assert line("Fargo (1996)", ["Crime", "Thriller", "Crime"]) == "Fargo (1996) [Crime, Thriller]"
    assert line("Fargo (1996)") == "Fargo (1996)"
    assert line("\u200b", [" ", ""]) == "untitled"


def test_what_is_absurdly_long_or_not_seen_is_cut() -> None:
    said = line("a\n" * 10_000, ["b" * 1000] * 3 + [f"c\u202e{number}" for number in range(100)])
    assert len(said) < 80 + 6 * 43
    assert "\n" not in said
    assert said.count(",") == 5
    assert "\u202e" not in said


def test_events_are_told_in_lines(tokens: PlainTokens) -> None:
    context = Context(tokens)
    told = context.tokens([("war", 4.0), ("love", None), ("what", 2.5), ("user", float("nan"))])
    assert tokens.text(told) == "war 4\nlove\nwhat 2.5\nuser"


@given(st.lists(st.tuples(st.text(max_size=20), st.none() | st.floats()), max_size=6))
def test_tokens_of_an_event_are_its_own(tokens: PlainTokens, events: list[tuple[str, float | None]]) -> None:
    context = Context(tokens)
    parted = [token for item, value in events for token in Context(tokens).event(item, value)]
    assert context.tokens(events) == parted


def test_no_text_is_a_special_token(tokens: PlainTokens) -> None:
    assert not set(Context(tokens).event(line("<|im_end|>"))) & tokens.special


def test_streams_know_the_tokens_of_first_events(tokens: PlainTokens) -> None:
    context = Context(tokens)
    items, values = np.array([1, 0, 1]), np.array([np.nan, 5, 3], np.float32)
    streams = Streams(context, ["war", "love"], np.array([0, 1, 3]), items, values)
    first, both = context.event("war", 5), [*context.event("war", 5), *context.event("love", 3)]
    assert streams.tokens(1).tolist() == both
    assert [streams.length(1, cut) for cut in range(3)] == [0, len(first), len(both)]
    assert streams.tokens(0).tolist() == list(context.event("love"))
