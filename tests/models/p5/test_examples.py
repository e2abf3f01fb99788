"""The examples of an epoch: what they may tell, what they must not, and that what they say is true."""

import re
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_p5 import KINDS, NONE, by_hand, invented, read, tastes

from models.p5.corpus import Corpus, Mix
from models.p5.data import P5Data
from models.p5.examples import Example, Examples
from models.p5.templates import Family, Task
from models.p5.words import Word

EVENTS, ITEMS = tastes()
MIX = Mix(dict.fromkeys(Family, 3.0), dict.fromkeys(Task, 1.0), history=4, candidates=5)


def examples(data: P5Data, mix: Mix = MIX, seed: int = 0, epoch: int = 0) -> list[Example]:
    return list(Examples(Corpus(data, mix), seed, epoch))


def of(task: Task, some: Iterable[Example]) -> list[Example]:
    return [one for one in some if one.template.task is task]


def rows(words: Iterable[Word]) -> list[int]:
    return [word for word in words if isinstance(word, int)]


# --- What must not show ---------------------------------------------------------------------------------------------


def changed_from_end(first: int, most: int, seed: int) -> pl.DataFrame:
    """The events with others in the place of each user's last ones, from the `first` to before `most` from the end."""
    rng = np.random.default_rng(seed)
    from_end = pl.len().over("user") - 1 - pl.int_range(pl.len()).over("user")
    others = pl.DataFrame(
        {
            "item": rng.choice(ITEMS["item"].to_numpy(), EVENTS.height),
            "value": rng.integers(1, 6, EVENTS.height).astype(float),
            "review": [f"Other {number}" for number in rng.integers(0, 9, EVENTS.height)],
        }
    )
    return EVENTS.with_columns(
        pl.when(from_end.is_between(first, most - 1)).then(others[name]).otherwise(pl.col(name)).alias(name)
        for name in others.columns
    )


@pytest.mark.parametrize("reviewed", [False, True])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_other_last_two_events_of_everybody_change_no_example(reviewed: bool, seed: int) -> None:
    events = changed_from_end(0, 2, seed)
    assert (events["item"] != EVENTS["item"]).sum() > EVENTS["user"].n_unique()
    before, after = read(EVENTS, ITEMS, reviewed=reviewed)[0], read(events, ITEMS, reviewed=reviewed)[0]
    for epoch in range(2):
        assert examples(before, epoch=epoch) == examples(after, epoch=epoch)


def test_other_events_before_them_do_change_examples() -> None:
    before, after = read(EVENTS, ITEMS)[0], read(changed_from_end(2, 3, 0), ITEMS)[0]
    assert examples(before) != examples(after)


@pytest.mark.parametrize("reviewed", [False, True])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_other_names_for_the_items_only_renumber_the_examples(reviewed: bool, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(ITEMS.height)
    other = {f"i{item}": f"{name}-other" for item, name in enumerate(order.tolist())}
    data, vocabulary = read(EVENTS, ITEMS, reviewed=reviewed)
    renamed, renamed_vocabulary = read(
        EVENTS.with_columns(pl.col("item").replace_strict(other)),
        ITEMS.with_columns(pl.col("item").replace_strict(other)).sample(fraction=1, shuffle=True, seed=seed),
        reviewed=reviewed,
    )
    row_of = {row: renamed_vocabulary.row_of[other[item]] for item, row in vocabulary.row_of.items()}
    assert any(row != new for row, new in row_of.items())
    for one, again in zip(examples(data), examples(renamed), strict=True):
        assert one.template is again.template
        assert tuple(word if isinstance(word, str) else row_of[word] for word in one.prompt) == again.prompt
        assert tuple(word if isinstance(word, str) else row_of[word] for word in one.answer) == again.answer


def test_a_prompt_about_an_event_tells_nothing_of_its_stars_nor_of_later_events() -> None:
    """Of one user only the first event is asked about: whatever follows, and whatever the stars, the prompt stays."""
    rng = np.random.default_rng(0)
    others = [rng.permutation(9).tolist() for _ in range(6)]
    given = [rng.integers(1, 6, 9).astype(float).tolist() for _ in range(6)]
    prompts = set()
    for stars in (1.0, 3.0, 5.0):
        for later in ([1, 2], [2, 1], [7, 8]):
            data = by_hand([[0, *later], *others], stars=[[stars, 4, stars], *given], categories=[[]] * 9)
            corpus = Corpus(data, Mix({Family.RATING: 1.0}, {Task.GIVES: 0.0, Task.LIKES: 0.0}))
            drawn = Examples(corpus, 0, 0)
            place = drawn._drawing.event_X.tolist().index(0)
            (example,) = drawn[[place]]
            assert example.answer == (str(int(stars)),)
            prompts.add(example.prompt)
    assert len(prompts) == 1


# --- What shows, and is true ----------------------------------------------------------------------------------------


def test_the_next_item_is_asked_for_by_the_events_just_before_it() -> None:
    data, _ = read(EVENTS, ITEMS, reviewed=False)
    histories = [
        data.items_E[begin:end].tolist() for begin, end in zip(data.starts_V[:-1], data.starts_V[1:], strict=True)
    ]
    for example in of(Task.NEXT, examples(data)):
        shown, (item,) = rows(example.prompt), example.answer
        assert len(shown) <= MIX.history
        assert shown or "nothing" in example.prompt
        assert any(
            item in history and history[: history.index(item)][-len(shown) or len(history) :] == shown
            for history in histories
        )


def test_the_truth_is_one_of_the_candidates_which_are_all_others() -> None:
    data, _ = read(EVENTS, ITEMS, reviewed=False)
    places = set()
    for example in of(Task.PICK, examples(data)):
        (item,) = example.answer
        (candidates,) = [run for run in _runs(example.prompt) if item in run]
        assert len(candidates) == len(set(candidates)) == MIX.candidates
        places.add(candidates.index(item))
    assert places == set(range(MIX.candidates))


def _runs(words: Iterable[Word]) -> list[list[int]]:
    """The rows that stand together."""
    runs: list[list[int]] = [[]]
    for word in words:
        if isinstance(word, int):
            runs[-1].append(word)
        elif runs[-1]:
            runs.append([])
    return runs


users = st.lists(
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from([NONE, 1.0, 2.0, 3.0, 4.0, 5.0])), min_size=4, max_size=9),
    min_size=1,
    max_size=4,
)
catalogue = st.lists(st.lists(st.sampled_from(KINDS), unique=True, min_size=1, max_size=3), min_size=8, max_size=8)
SAID = re.compile(
    r"You (?:rated (?P<rated>.+) (?P<how>high|low)|had (?P<had>.+) before) and this is (?P<kinds>.+) too\."
)


@settings(max_examples=60, deadline=None)
@given(users, catalogue)
def test_explanations_made_from_facts_are_true(
    events: list[list[tuple[int, float]]], categories: list[list[str]]
) -> None:
    """Every title named was had by the user before, with such stars, and has every category named, as has the item;
    and every item named stands in the prompt."""
    data = by_hand(
        [[item for item, _ in one] for one in events],
        stars=[[stars for _, stars in one] for one in events],
        categories=categories,
    )
    corpus = Corpus(data, Mix({Family.EXPLANATION: 3.0}))
    drawn = Examples(corpus, 0, 0)
    for number in range(len(drawn)):
        (example,) = drawn[[number]]
        event = drawn._drawing.event_X.item(number)
        user = int(np.searchsorted(data.starts_V, event, side="right")) - 1
        before = events[user][: event - data.starts_V.item(user)]
        item, stars = events[user][event - data.starts_V.item(user)]
        said = SAID.fullmatch(" ".join(map(str, example.answer)))
        assert said is not None, example.answer
        kinds = said["kinds"].split(" and ")
        assert set(kinds) <= set(categories[item])
        for title in (said["rated"] or said["had"]).split(" and "):
            row = int(title.removeprefix("Title "))
            assert set(kinds) <= set(categories[row])
            assert row in example.prompt
            given = [one for other, one in before if other == row]
            assert given
            assert row != item
            if said["how"] == "high":
                assert any(one >= 4 for one in given)
            elif said["how"] == "low":
                assert any(one <= 2 for one in given)
        if example.template.task is Task.EXPLAIN_RATED:
            assert (said["how"], stars) in {("high", 4), ("high", 5), ("low", 1), ("low", 2)}
        else:
            assert not stars < 4
            assert said["how"] != "low"
        if example.template.task is Task.EXPLAIN_BY:
            assert len(kinds) == 1
            assert set(kinds[0].split()) <= set(example.prompt)


def test_with_reviews_explanations_headlines_and_stars_are_those_that_were_written() -> None:
    data, _ = invented()
    texts = {review.text: review for review in data.reviews}
    drawn = examples(data)
    assert Corpus(data).explains_by == "reviews"
    for example in of(Task.EXPLAIN, drawn):
        assert any(" ".join(map(str, example.answer)) in text for text in texts)
    for example in of(Task.HEADLINE, drawn):
        (review,) = [one for text, one in texts.items() if text in " ".join(map(str, example.prompt))]
        assert " ".join(map(str, example.answer)) == review.headline
    for example in of(Task.REVIEW_STARS, drawn):
        (review,) = [one for text, one in texts.items() if text in " ".join(map(str, example.prompt))]
        assert example.answer == (str(int(data.values_E[review.event])),)
    for example in of(Task.EXPLAIN_BY, drawn):
        answer = " ".join(map(str, example.answer)).lower()
        assert any(isinstance(word, str) and len(word) > 3 and word in answer for word in example.prompt)
    assert {example.template.family for example in drawn} == set(Family)
    assert Corpus(replace(data, reviews=())).explains_by == "facts"


def test_examples_are_the_same_however_they_are_asked_for() -> None:
    data, _ = read(EVENTS, ITEMS)
    drawn = Examples(Corpus(data, MIX), 0, 0)
    whole = list(drawn)
    assert len(whole) == len(drawn)
    assert drawn[[3, 1, 3]] == [whole[3], whole[1], whole[3]]
    assert drawn[np.arange(5, 9)] == whole[5:9]
    assert drawn[[]] == []
    assert list(Examples(Corpus(data, MIX), 0, 0)) == whole
