import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InvalidInput
from models.p5.item_index import ItemIndex
from models.p5.tokens import END, LONGEST, REMEMBERED, UNKNOWN, P5Tokenizer, trained_on

TEXTS = ["Toy Story (1995)", "Star Wars (1977)", "stars: 3.6 on average", "Will the user like it? yes no"] * 30
INDEX = ItemIndex(("<a>", "<b>", "<c>"), np.array([[0, 1], [0, 2], [2, -1]], np.int32))


@pytest.fixture(scope="module")
def tokenizer() -> P5Tokenizer:
    return P5Tokenizer(trained_on(TEXTS, 200), INDEX)


def test_items_are_written_by_the_tokens_of_their_ids(tokenizer: P5Tokenizer) -> None:
    first = tokenizer.n_text
    tokens, places = tokenizer.encode(["yes", 0, 2])
    assert tokens == [*tokenizer.pieces("yes"), first, first + 1, first + 2, END]
    assert tokenizer.decode(tokens) == "yes<a><b><c>"
    assert places[-4:] == [2, 2, 3, 0]


def test_the_pieces_of_one_word_share_a_place_and_words_have_places_of_their_own(tokenizer: P5Tokenizer) -> None:
    tokens, places = tokenizer.encode(["likeStory", "yes", 1])
    pieces = len(tokenizer.pieces("likeStory"))
    assert pieces > 1
    assert places == [1] * pieces + [2] * len(tokenizer.pieces("yes")) + [3, 3, 0]
    assert len(tokens) == len(places)


def test_common_words_and_means_of_stars_are_single_pieces_and_punctuation_stands_apart(tokenizer: P5Tokenizer) -> None:
    assert len(tokenizer.pieces("3.6")) == 1
    assert tokenizer.pieces("it?") == (*tokenizer.pieces("it"), tokenizer.text.token_to_id("?"))


def test_what_was_never_met_is_unknown_and_not_left_out(tokenizer: P5Tokenizer) -> None:
    assert UNKNOWN in tokenizer.pieces("\u4e16\u754c")
    assert tokenizer.pieces("") == (UNKNOWN,)


@given(st.lists(st.sampled_from(["Toy", "Story", "(1995)", "3.6", "user", "stars:"]), min_size=1, max_size=6))
def test_text_comes_back_as_it_was(words: list[str]) -> None:
    tokenizer = P5Tokenizer(_TEXT, INDEX)
    tokens, _ = tokenizer.encode(words)
    assert tokenizer.decode(tokens) == " ".join(words)


def test_a_tokenizer_depends_on_its_words_and_not_on_their_order() -> None:
    assert trained_on(TEXTS, 200).to_str() == trained_on(reversed(TEXTS), 200).to_str()


def test_a_prompt_that_is_too_long_is_refused_or_loses_its_last_words(tokenizer: P5Tokenizer) -> None:
    long = [0] * 9
    with pytest.raises(InvalidInput, match="prompt: 19 tokens were given, and the model reads 7"):
        tokenizer.prompts([[1], long], 7)
    tokens_BT, places_BT = tokenizer.prompts([[1], long], 7, cut=True)
    first = tokenizer.n_text
    assert tokens_BT.tolist() == [[first, first + 2, END, 0, 0, 0, 0], [first, first + 1] * 3 + [END]]
    assert places_BT[1].tolist() == [1, 1, 2, 2, 3, 3, 0]


def test_answers_of_items_have_no_end_and_texts_have(tokenizer: P5Tokenizer) -> None:
    first = tokenizer.n_text
    yes = list(tokenizer.pieces("yes"))
    assert tokenizer.answers([[0, 1], ["yes"]]).tolist() == [
        [first, first + 1, first, first + 2],
        [*yes, END, *[0] * (3 - len(yes))],
    ]


def test_only_the_words_it_was_told_to_are_remembered_short_ones_and_a_bounded_number() -> None:
    tokenizer = P5Tokenizer(_TEXT, INDEX)
    tokenizer.prompts([["secret", "word"]], 99, cut=True)
    tokenizer.answers([["private"]])
    assert not tokenizer._pieces
    tokenizer.remember(["story", 1, "a" * LONGEST, "b" * (LONGEST + 1)])
    assert [*tokenizer._pieces] == ["story", "a" * LONGEST]
    assert tokenizer.pieces("story") == P5Tokenizer(_TEXT, INDEX).pieces("story")
    tokenizer.remember(map(str, range(REMEMBERED + 9)))
    assert len(tokenizer._pieces) == REMEMBERED


def test_without_memory_it_writes_the_same_tokens() -> None:
    tokenizer = P5Tokenizer(_TEXT, INDEX, 210)
    tokenizer.remember(["secret"])
    other = tokenizer.without_memory()
    assert not other._pieces
    assert other.text.to_str() == tokenizer.text.to_str()
    assert other.encode(["secret", "Toy", 0]) == tokenizer.encode(["secret", "Toy", 0])


_TEXT = trained_on(TEXTS, 200)
