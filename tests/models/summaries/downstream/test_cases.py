from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from toy_raters import ITEMS, SMALL, raters

from features.errors import InvalidInput
from models.summaries.downstream.cases import Case, Task, cases_of, log_of

LOG = log_of(raters(), ITEMS, SMALL)
CASES = cases_of(LOG, SMALL, 0)


def of_user(cases: object, user: int) -> list[int]:
    return [case.place for case in cases if case.user == user]  # type: ignore[attr-defined]


def test_the_last_events_are_asked_about_the_ones_before_validate_and_earlier_ones_are_learnt_from() -> None:
    assert of_user(CASES.test, 7) == [17, 18, 19]
    assert of_user(CASES.validation, 7) == [15, 16]
    assert of_user(CASES.training, 7) == [6, 7, 8, 9, 10, 11, 12, 13, 14]


def test_no_more_cases_of_a_user_are_learnt_from_than_are_asked_for() -> None:
    config = replace(SMALL, test=3, validation=2, earlier=3, cases=4)
    assert {len(of_user(cases_of(LOG, config, 0).training, user)) for user in range(40)} == {4}


def test_a_case_is_its_event() -> None:
    for case in CASES.test:
        entry = LOG.entries[case.user][case.place]
        assert LOG.vocabulary.items[case.item] == entry.item
        assert LOG.levels_L[case.level] == entry.value


def test_candidates_are_the_item_and_others_that_the_user_had_not_had() -> None:
    for part in (CASES.training, CASES.validation, CASES.test):
        for case in part:
            had = set(LOG.rows(case.user)[: max(case.place, LOG.learnt_U[case.user])].tolist())
            others = set(case.candidates) - {case.item}
            assert len(case.candidates) == len(others) + 1 == SMALL.candidates
            assert not others & had


def test_the_true_one_stands_at_every_place() -> None:
    places = [case.candidates.index(case.item) for case in CASES.test]
    assert set(places) == set(range(SMALL.candidates))


def test_candidates_are_drawn_as_often_as_they_are_had() -> None:
    """One item is had by everybody, and thirty by one user each."""
    rows = [
        (f"u{user}", item, float(at)) for user in range(30) for at, item in enumerate(("all", f"own{user}", "z", "x"))
    ]
    rows += [("late", item, float(at)) for at, item in enumerate(("a", "b", "c", "d"))]
    events = pl.DataFrame(rows, {"user": pl.String, "item": pl.String, "at": pl.Float64}, orient="row").select(
        pl.format("e-{}", pl.int_range(pl.len()).cast(pl.String).str.zfill(6)).alias("event_id"),
        pl.all(),
        type=pl.lit("view"),
        value=pl.lit(None, pl.Float64),
    )
    config = replace(SMALL, test=1, validation=1, earlier=1, candidates=2)
    log = log_of(events, ITEMS.clear(), config)
    row = log.vocabulary.row_of["all"]  # type: ignore[index]
    drawn = [
        row in cases_of(log, config, seed).test[0].candidates for seed in range(200) if log.past.users[0] == "late"
    ]
    assert 0.35 < np.mean(drawn) < 0.65  # "all" is half of what is learnt from


def test_another_seed_has_other_candidates_and_the_same_one_the_same() -> None:
    assert cases_of(LOG, SMALL, 0) == CASES
    assert cases_of(LOG, SMALL, 1).test != CASES.test


def test_events_without_a_value_are_chosen_and_not_rated() -> None:
    events = raters().with_columns(value=pl.when(pl.col("item") == "s0").then(None).otherwise("value"))
    log = log_of(events, ITEMS, SMALL)
    cases = cases_of(log, SMALL, 0)
    row = log.vocabulary.row_of["s0"]  # type: ignore[index]
    assert any(case.item == row for case in cases.of(Task.CHOICE).test)
    assert not any(case.item == row for case in cases.of(Task.RATING).test)


def test_values_that_float32_does_not_hold_have_their_own_levels() -> None:
    events = raters().with_columns(value=pl.col("value") * 1.1)
    log = log_of(events, ITEMS, SMALL)
    for case in cases_of(log, SMALL, 0).of(Task.RATING).test:
        assert log.levels_L[case.level] == log.entries[case.user][case.place].value


def test_values_that_are_no_scale_have_no_levels() -> None:
    log = log_of(raters().with_columns(value=pl.int_range(pl.len()).cast(pl.Float64)), ITEMS, SMALL)
    assert len(log.levels_L) == 0
    assert cases_of(log, SMALL, 0).of(Task.RATING).test == []


def test_who_has_too_few_events_is_left_out_and_nobody_left_is_bad_input() -> None:
    few = raters(users=1, length=10).with_columns(user=pl.lit("few"), event_id=pl.lit("f-") + pl.col("event_id"))
    assert "few" not in log_of(pl.concat([raters(), few]), ITEMS, SMALL).past.users
    with pytest.raises(InvalidInput, match="no user has 11 events"):
        log_of(few, ITEMS, SMALL)


def test_an_item_that_nobody_describes_is_told_by_its_id() -> None:
    log = log_of(raters(), ITEMS.filter(pl.col("item") != "s0"), SMALL)
    assert log.names[log.vocabulary.row_of["s0"]] == ("s0", ())  # type: ignore[index]
    assert isinstance(cases_of(log, SMALL, 0).test[0], Case)
