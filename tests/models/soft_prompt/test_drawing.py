"""Which questions are drawn: exactly one choice is true, nothing later tells, and no guess answers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_choosers import KINDS, choosers, dataset

from features.errors import InvalidInput
from models.soft_prompt.drawing import draw, even
from models.soft_prompt.log import Log, Split, log_of, split_of
from models.soft_prompt.questions import Question
from models.soft_prompt.report import report
from models.soft_prompt.tasks import COUNTS, DIMENSIONS, PLACES, WORDINGS, Asking, Dimension, Task

HISTORIES, CATEGORIES = choosers()
ASKING = Asking(recent=6, last=5, each=4, moments=3)
LOG = log_of(dataset(HISTORIES, CATEGORIES), ASKING)
TRAINING, TEST = (draw(LOG, split, ASKING) for split in ("train", "test"))
PREDICTED = [task for task in Task if DIMENSIONS[task] is Dimension.PREDICTION]
REMEMBERED = [task for task in Task if task not in PREDICTED]


# --- An oracle that knows the raw events ------------------------------------------------------------------------------

NUMBERS = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def true_choices(question: Question, history: Sequence[str], categories: Mapping[str, Sequence[str]]) -> list[str]:
    """The choices that are true of a user with this whole history."""
    before, after, n = list(history[: question.cut]), history[question.cut :], question.n
    match question.task:
        case Task.FEATURE:
            true = list(categories[before[-n]])
        case Task.MATCH:
            true = [NUMBERS[len([item for item in before[-n:] if question.category in categories[item]])]]
        case Task.NEXT_ITEM:
            true = [f"The {after[0]}"]
        case Task.NEXT_CATEGORY:
            true = list(categories[after[0]])
        case Task.LONG_TERM:
            true = _first(before, categories, question.choices)
        case Task.SHORT_TERM:
            true = _first(before[-n:], categories, question.choices)
        case Task.TRAJECTORY:
            told = [
                name for name in KINDS if 2 * len([1 for of in categories.values() if name in of]) <= len(categories)
            ]
            earlier, later = (_first(some, categories, told) for some in (before[:-n], before[-n:]))
            true = [f"from {one} to {other}" for one in earlier for other in later]
    return [choice for choice in question.choices if choice in true]


def _first(items: Sequence[str], categories: Mapping[str, Sequence[str]], names: Sequence[str]) -> list[str]:
    """The name that most of the items have, if no other has as many."""
    counts = {name: len([item for item in items if name in categories[item]]) for name in names}
    most = [name for name, count in counts.items() if count == max(counts.values())]
    return most if len(most) == 1 else []


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    choices=st.integers(2, 4),
    recent=st.integers(4, 7),
    last=st.integers(1, 6),
    users=st.integers(8, 40),
    items=st.integers(12, 60),
    repeats=st.booleans(),
)
def test_exactly_one_choice_is_true_of_the_raw_events(
    seed: int, choices: int, recent: int, last: int, users: int, items: int, repeats: bool
) -> None:
    histories, categories = choosers(users, 25, items, seed)
    if repeats:
        histories = {user: [*chosen, *chosen[: len(chosen) // 2]] for user, chosen in histories.items()}
    asking = Asking(choices=choices, recent=recent, last=last, each=3, moments=2, train=0.6, validation=0.0)
    for split in (Split.TRAIN, Split.TEST):
        for question in drawn_of(histories, categories, split, asking, seed):
            own = histories[sorted(histories)[question.user]]
            assert true_choices(question, own, categories) == [question.choices[question.truth]]
            assert len(set(question.choices)) == choices
            assert sorted(question.ranks) == list(range(choices))
            if question.task is Task.NEXT_ITEM:
                assert {f"The {item}" for item in own} & set(question.choices) == {question.choices[question.truth]}


def drawn_of(
    histories: Mapping[str, Sequence[str]],
    categories: Mapping[str, Sequence[str]],
    split: Split,
    asking: Asking,
    seed: int = 0,
) -> list[Question]:
    """None where there are none."""
    try:
        return draw(log_of(dataset(histories, categories), asking), split, asking, seed=seed)
    except InvalidInput:
        return []


# --- Cuts, splits, words ----------------------------------------------------------------------------------------------


def test_predictions_are_asked_behind_the_cut_and_all_else_at_it_or_before() -> None:
    lengths_U = np.diff(LOG.past.starts_V)
    for question in TRAINING + TEST:
        cut = LOG.cut_U[question.user]
        if question.task in PREDICTED:
            assert cut <= question.cut < lengths_U[question.user]
        else:
            assert ASKING.least(question.task) <= question.cut <= cut


def test_one_moment_is_the_cut_itself() -> None:
    for question in draw(LOG, "test", replace(ASKING, moments=1), tasks=REMEMBERED):
        assert question.cut == LOG.cut_U[question.user]


def test_every_task_is_asked_in_every_wording_about_users_of_the_split_alone() -> None:
    for split, drawn in ((Split.TRAIN, TRAINING), (Split.TEST, TEST)):
        assert {question.task for question in drawn} == set(Task)
        assert {LOG.splits[question.user] for question in drawn} == {split}
    for task, wordings in WORDINGS.items():
        assert len(set(wordings)) >= 4
        texts = [question.text for question in TRAINING if question.task is task]
        assert all(any(text.startswith(words.partition("{")[0]) for text in texts) for words in wordings)


def test_what_is_asked_about_stands_in_the_words() -> None:
    for question in TRAINING + TEST:
        assert "{" not in question.text
        assert question.category in question.text
        match question.task:
            case Task.FEATURE:
                assert f" {PLACES[question.n - 1]} " in question.text
            case Task.MATCH | Task.TRAJECTORY:
                assert f" {question.n} " in question.text
            case Task.NEXT_ITEM | Task.NEXT_CATEGORY | Task.LONG_TERM:
                assert question.n == 0
        assert all(choice in COUNTS for choice in question.choices) == (question.task is Task.MATCH)


def test_a_distractor_of_the_direct_feature_is_of_another_recent_item_of_the_user() -> None:
    for question in (one for one in TEST if one.task is Task.FEATURE):
        own = HISTORIES[LOG.past.users[question.user]][: question.cut][-ASKING.recent :]
        assert all(any(choice in CATEGORIES[item] for item in own) for choice in question.choices)


def test_the_same_seed_draws_the_same_and_another_others() -> None:
    assert draw(LOG, "test", ASKING) == TEST
    assert draw(LOG, "test", ASKING, seed=1) != TEST


def test_a_task_is_drawn_the_same_whatever_else_is_asked() -> None:
    alone = draw(LOG, "test", ASKING, tasks=[Task.SHORT_TERM])
    assert alone == [question for question in TEST if question.task is Task.SHORT_TERM]


# --- Leaks ------------------------------------------------------------------------------------------------------------


def with_later_events(
    histories: Mapping[str, Sequence[str]], of: Split | None, renamed: Mapping[str, str]
) -> dict[str, list[str]]:
    """The same users, with other items behind their cuts: of one split, or of everybody."""
    changed = {}
    for user, chosen in histories.items():
        cut = LOG.cut_U[LOG.past.users.index(user)]
        later = chosen[cut:] if of not in (None, split_of(user, ASKING)) else [renamed[item] for item in chosen[cut:]]
        changed[user] = [*chosen[:cut], *later]
    return changed


def test_later_events_change_nothing_that_is_asked_of_what_came_before() -> None:
    items = sorted(CATEGORIES)
    others = with_later_events(HISTORIES, None, dict(zip(items, items[1:] + items[:1], strict=True)))
    log = log_of(dataset(others, CATEGORIES), ASKING)
    assert log.popularity_G.tolist() == LOG.popularity_G.tolist()
    for split, before in (("train", TRAINING), ("test", TEST)):
        drawn = draw(log, split, ASKING)
        assert [one for one in drawn if one.task in REMEMBERED] == [one for one in before if one.task in REMEMBERED]
        assert [one for one in drawn if one.task in PREDICTED] != [one for one in before if one.task in PREDICTED]


def test_of_a_prediction_later_events_change_the_true_choice_alone() -> None:
    twins = CATEGORIES | {f"{item}-twin": kinds for item, kinds in CATEGORIES.items()}
    twin_of = {item: f"{item}-twin" for item in CATEGORIES}
    log, other = (
        log_of(dataset(histories, twins), ASKING)
        for histories in (HISTORIES, with_later_events(HISTORIES, Split.TEST, twin_of))
    )
    before, after = (draw(one, "test", ASKING, tasks=PREDICTED) for one in (log, other))
    kinds = [[question for question in some if question.task is Task.NEXT_CATEGORY] for some in (before, after)]
    assert kinds[0] == kinds[1]
    told = [
        {_but_the_truth(one): one.choices[one.truth] for one in some if one.task is Task.NEXT_ITEM}
        for some in (before, after)
    ]
    assert told[0]
    for question, truth in told[0].items():  # a twin fits wherever its item did, since nobody has it
        assert told[1][question] == f"{truth}-twin"


def _but_the_truth(question: Question) -> tuple[object, ...]:
    others = tuple(choice for place, choice in enumerate(question.choices) if place != question.truth)
    return question.user, question.cut, question.text, question.truth, others


def test_what_is_asked_about_one_user_does_not_depend_on_the_other_users_of_a_test() -> None:
    [one, *others] = [user for user in sorted(HISTORIES) if split_of(user, ASKING) is Split.TEST]
    without = {user: chosen for user, chosen in HISTORIES.items() if user not in others}
    changed = {user: chosen[::-1] if user in others else chosen for user, chosen in HISTORIES.items()}
    asked = [_about(LOG, TEST, one)]
    for histories in (without, changed):
        log = log_of(dataset(histories, CATEGORIES), ASKING)
        asked.append(_about(log, draw(log, "test", ASKING), one))
    assert asked[0]
    assert asked[0] == asked[1] == asked[2]


def _about(log: Log, drawn: Sequence[Question], user: str) -> list[Question]:
    return [replace(question, user=0) for question in drawn if log.past.users[question.user] == user]


# --- Guesses ----------------------------------------------------------------------------------------------------------


def test_no_guess_that_knows_no_user_is_better_than_chance() -> None:
    told = report(draw(LOG, "train", replace(ASKING, each=8, moments=6)))
    assert set(told["tasks"]) == set(Task)
    for task, figures in told["tasks"].items():
        assert figures["questions"] > 700
        np.testing.assert_allclose(figures["positions"], 0.25, atol=0.04)
        np.testing.assert_allclose(figures["popularity_ranks"], 0.25, atol=0.06)
        assert figures["popularity_guess"] == pytest.approx(0.25, abs=0.06)
        assert figures["majority_guess"] == pytest.approx(0.25, abs=0.06) or task == Task.NEXT_ITEM  # learnt by heart


def test_even_questions_have_every_rank_equally_often_and_are_some_of_those_drawn() -> None:
    left = even(TEST)
    for figures in report(left)["tasks"].values():
        assert figures["popularity_ranks"] == [0.25] * 4
        assert figures["popularity_guess"] == 0.25
    assert 0.5 * len(TEST) < len(left) < len(TEST)
    numbers = [number for number, question in enumerate(TEST) if any(question is one for one in left)]
    assert [TEST[number] for number in numbers] == left
    assert even(TEST) == left
    assert even([]) == []


def test_data_without_such_questions_are_refused() -> None:
    short = {user: chosen[:5] for user, chosen in HISTORIES.items()}
    with pytest.raises(InvalidInput, match="more than 6 events"):
        draw(log_of(dataset(short, CATEGORIES), ASKING), "test", ASKING)
    with pytest.raises(InvalidInput, match="bring items with categories"):
        log_of(dataset(HISTORIES, {item: [] for item in CATEGORIES}), ASKING)
