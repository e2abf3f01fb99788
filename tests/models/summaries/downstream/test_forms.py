from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from toy_raters import ITEMS, SMALL, raters

from models.summaries.computing import facts_of
from models.summaries.downstream.cases import Cases, Log, Task, cases_of, log_of
from models.summaries.downstream.forms import ALL, FORM, FORMS, RECENCY, RETRIEVAL, Told, history_of, query_of, told
from models.summaries.downstream.tokens import QUESTIONS, Prompts, trained_on
from models.summaries.downstream.writing import usual
from models.summaries.fact import Fact
from models.summaries.retrieval import BM25


def repeated(facts: Sequence[Sequence[Fact]]) -> list[tuple[str, ...]]:
    """Summaries that tell which facts there are."""
    return [tuple(map(str, some)) for some in facts]


def made(events: pl.DataFrame) -> tuple[Log, Cases]:
    log = log_of(events, ITEMS, SMALL)
    return log, cases_of(log, SMALL, 0)


def test_every_arm_is_there_once() -> None:
    assert [form.name for form in FORMS] == [
        *("none", "recency-1", "recency-4", "recency-16", "retrieval-1", "retrieval-4", "retrieval-16"),
        *("summary", "summary+1", "full"),
    ]
    assert {form.by for form in FORMS} == {"", RECENCY, RETRIEVAL, ALL}


def test_each_form_tells_what_its_name_says() -> None:
    log, cases = made(raters())
    case = cases.test[0]
    known = Told((2, 7, 1), ("Likes Space.", "Dislikes Food."))
    text = [entry.text for entry in log.entries[case.user]]
    parts = {form.name: history_of(log, case, known, form) for form in FORMS}
    assert parts["none"] == []
    assert parts["recency-4"] == text[case.place - 4 : case.place]
    assert parts["recency-16"] == text[case.place - 16 : case.place]
    assert parts["full"] == text[: case.place]
    assert parts["retrieval-1"] == [text[2]]
    assert parts["retrieval-4"] == [text[1], text[7], text[2]]  # the best beside the question
    assert parts["summary"] == ["Likes Space.", "Dislikes Food."]
    assert parts["summary+1"] == ["Likes Space.", "Dislikes Food.", text[2]]


def test_each_case_is_told_of_a_history_that_ends_before_it() -> None:
    log, cases = made(raters())
    for case, known in zip(cases.test[:9], told(log, cases.test[:9], Task.RATING, BM25(), repeated), strict=True):
        before = log.events[int(log.past.starts_V[case.user]) :][: case.place]
        [facts] = facts_of(before, ITEMS).values()
        assert known.summary == tuple(map(str, facts))
        assert max(known.found_K) < case.place


def test_entries_are_found_by_the_item_or_by_all_candidates() -> None:
    log, cases = made(raters())
    for case, known in zip(cases.test[:9], told(log, cases.test[:9], Task.RATING, BM25(), repeated), strict=True):
        shelf = log.names[case.item][1]
        assert log.entries[case.user][known.found_K[0]].categories == shelf
    assert query_of(log, case, Task.CHOICE) == " ".join(
        f"{title} [{', '.join(names)}]" for title, names in (log.names[row] for row in case.candidates)
    )


@pytest.mark.parametrize("task", list(Task))
def test_other_events_from_the_target_on_leave_every_input_as_it_is(task: Task) -> None:
    """All that follows the first event that is asked about is replaced, itself too; candidates are given, for the true
    one is among them."""
    events = raters()
    log, cases = made(events)
    place = pl.int_range(pl.len()).over("user")
    first = int(log.learnt_U[0]) + SMALL.validation
    other = pl.Series(np.random.default_rng(1).permutation(events["item"].to_numpy()))
    changed = events.with_columns(
        item=pl.when(place >= first).then(other).otherwise("item"),
        value=pl.when(place >= first).then(6 - pl.col("value")).otherwise("value"),
    )
    assert (changed["item"] != events["item"]).sum() > 50
    log_after, _ = made(changed)
    asked = [case for case in cases.test if case.place == first] + list(cases.training)
    text = trained_on([entry.text for some in log.entries for entry in some], SMALL.vocabulary)
    inputs = []
    for each in (log, log_after):
        known = told(each, asked, task, BM25(), usual(task))
        prompts = Prompts(text, each, task, SMALL.length)
        inputs.append(
            [(one, prompts.of(case, one, form)) for case, one in zip(asked, known, strict=True) for form in FORMS]
        )
    assert inputs[0] == inputs[1]


def test_candidates_of_a_case_do_not_tell_of_what_comes_after_it() -> None:
    events = raters()
    log, cases = made(events)
    first = int(log.learnt_U[0]) + SMALL.validation
    after = pl.int_range(pl.len()).over("user") > first
    changed = events.with_columns(item=pl.when(after).then(pl.lit("s0")).otherwise("item"))
    _, cases_after = made(changed)
    kept = [[case for case in one.test if case.place == first] for one in (cases, cases_after)]
    assert kept[0] == kept[1]


def test_a_history_that_is_too_long_loses_its_oldest_entries() -> None:
    log, cases = made(raters())
    case = cases.test[0]
    text = trained_on([entry.text for some in log.entries for entry in some] + [*QUESTIONS.values()] * 20, 200)
    whole = Prompts(text, log, Task.RATING, 2048).of(case, Told((), ()), FORM["full"])
    cut = Prompts(text, log, Task.RATING, 64).of(case, Told((), ()), FORM["full"])
    assert len(whole.told) == case.place
    assert cut.told == whole.told[-len(cut.told) :]
    assert 64 - len(whole.told[0]) <= cut.history + len(cut.question) <= 64
    assert cut.question == whole.question


def test_a_rating_asks_about_the_item_and_a_choice_is_answered_by_one() -> None:
    log, cases = made(raters())
    case = cases.test[0]
    text = trained_on([entry.text for some in log.entries for entry in some] + [*QUESTIONS.values()] * 20, 200)
    rating, choice = (Prompts(text, log, task, 2048) for task in Task)
    item = rating.first_item + case.item
    assert item in rating.of(case, Told((), ()), FORM["none"]).question
    assert item not in choice.of(case, Told((), ()), FORM["none"]).question
    assert [len(rating.answers), len(choice.answers)] == [len(log.levels_L), len(log.vocabulary)]
    assert choice.answers[case.item] == item


def test_words_are_the_same_pieces_wherever_they_stand() -> None:
    text = trained_on(["Alien (1979) [Horror, Sci-Fi]: 4", "Likes Horror (4.5)."] * 9, 200)
    pieces = [text.encode(one).tokens for one in ("[Horror, Sci-Fi]: 4", "Likes Horror (4.5).")]
    assert "Horror" in pieces[0]
    assert {"Horror", "4.5"} <= set(pieces[1])
