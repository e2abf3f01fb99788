"""Which examples an epoch has: how often each event is met, and what is asked about it."""

from collections import Counter
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from toy_p5 import by_hand, invented, read, tastes

from features.errors import InvalidInput
from models.p5.corpus import Corpus, Mix, families_of
from models.p5.drawing import PICKS, VERDICTS, Drawing, draw, other_stars
from models.p5.templates import TEMPLATES, Family, Task, tasks_of

DATA, _ = read(*tastes(), reviewed=False)
REVIEWED, _ = invented()
MANY = Corpus(DATA, Mix(dict.fromkeys(Family, 20.0), dict.fromkeys(Task, 1.0), history=4, candidates=5))


def only(family: Family, share: float) -> Mix:
    return Mix({family: share})


def of_family(drawing: Drawing, family: Family) -> list[int]:
    return [event for event, place in _asked(drawing) if TEMPLATES[place].family is family]


def _asked(drawing: Drawing) -> list[tuple[int, int]]:
    return list(zip(drawing.event_X.tolist(), drawing.template_X.tolist(), strict=True))


def test_every_event_after_another_is_the_next_item_once() -> None:
    drawing = draw(Corpus(DATA, only(Family.SEQUENTIAL, 1.0)), 0, 0)
    firsts = set(DATA.starts_V.tolist())
    assert sorted(drawing.event_X.tolist()) == [event for event in range(len(DATA.items_E)) if event not in firsts]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0, 2.5])
def test_a_family_has_as_many_examples_as_its_share_says(share: float) -> None:
    counts = Counter(draw(Corpus(DATA, only(Family.RATING, share)), 0, 0).event_X.tolist())
    rated = np.flatnonzero(~np.isnan(DATA.values_E)).tolist()
    assert sum(counts.values()) == round(share * len(rated))
    assert set(counts) <= set(rated)
    assert set(counts.values()) <= {int(share), int(share) + 1}


def test_tasks_share_a_family_by_their_weights() -> None:
    weights = {Task.NEXT: 6.0, Task.PICK_NEXT: 3.0, Task.IS_NEXT: 0.0}
    drawing = draw(Corpus(DATA, Mix({Family.SEQUENTIAL: 100.0}, weights)), 0, 0)
    counts = Counter(TEMPLATES[place].task for place in drawing.template_X.tolist())
    assert counts[Task.IS_NEXT] == 0
    assert counts[Task.NEXT] / counts[Task.PICK_NEXT] == pytest.approx(2, rel=0.1)


def test_no_held_out_wording_is_drawn_and_every_other_is() -> None:
    drawn = {*draw(MANY, 0, 0).template_X.tolist()}
    drawn |= {*draw(Corpus(REVIEWED, Mix(dict.fromkeys(Family, 20.0))), 0, 0).template_X.tolist()}
    assert drawn == {place for place, one in enumerate(TEMPLATES) if not one.held_out}


def test_half_of_the_verdicts_are_false_and_about_what_the_user_never_had() -> None:
    drawing = draw(MANY, 0, 0)
    had = {(MANY.users_E[event], item) for event, item in enumerate(DATA.items_E.tolist())}
    false = 0
    asked = [place for place, (_, one) in enumerate(_asked(drawing)) if TEMPLATES[one].task in VERDICTS]
    for place in asked:
        event, item = drawing.event_X[place], drawing.asked_X[place]
        assert ((MANY.users_E[event], item) in had) == drawing.is_true_X[place]
        assert not drawing.is_true_X[place] or item == DATA.items_E[event]
        false += not drawing.is_true_X[place]
    assert false / len(asked) == pytest.approx(0.5, abs=0.05)


def test_where_stars_are_asked_about_half_are_others() -> None:
    drawing = draw(MANY, 0, 0)
    places = [place for place, (_, one) in enumerate(_asked(drawing)) if TEMPLATES[one].task is Task.GIVES]
    true_X, asked_X, stars_X = drawing.is_true_X[places], drawing.asked_X[places], drawing.stars_X[places]
    np.testing.assert_array_equal(asked_X == stars_X, true_X)
    assert true_X.mean() == pytest.approx(0.5, abs=0.05)
    assert set(asked_X.tolist()) == {1, 2, 3, 4, 5}


def test_other_stars_are_any_but_the_own() -> None:
    for stars in range(1, 6):
        assert {other_stars(stars, step) for step in range(4)} == {1, 2, 3, 4, 5} - {stars}


def test_strangers_are_items_of_the_training_part_that_the_user_never_had() -> None:
    drawing = draw(MANY, 0, 0)
    had = {(MANY.users_E[event], item) for event, item in enumerate(DATA.items_E.tolist())}
    picks = [place for place, (_, one) in enumerate(_asked(drawing)) if TEMPLATES[one].task in PICKS]
    assert sorted(drawing.pick_X[picks].tolist()) == list(range(len(drawing.strangers_PC)))
    assert set(drawing.pick_X.tolist()) - set(drawing.pick_X[picks].tolist()) == {-1}
    for place in picks:
        strangers = drawing.strangers_PC[drawing.pick_X[place]].tolist()
        assert set(strangers) <= {-1, *DATA.items_E.tolist()}
        assert not any((MANY.users_E[drawing.event_X[place]], row) in had for row in strangers)


def test_who_had_everything_has_no_strangers() -> None:
    corpus = Corpus(by_hand([[0, 1, 2], [2, 1]], categories=[[]] * 4), Mix(dict.fromkeys(Family, 9.0)))
    assert (corpus.strangers(np.array([0, 0]), 3, np.random.default_rng(0)) == -1).all()
    drawing = draw(corpus, 0, 0)
    is_first = corpus.users_E[drawing.event_X] == 0
    assert drawing.is_true_X[is_first].all()


def test_most_histories_are_whole_some_short_and_few_empty() -> None:
    corpus = Corpus(by_hand([list(range(40))], categories=[[]] * 40), Mix({Family.SEQUENTIAL: 200.0}, history=10))
    drawing = draw(corpus, 0, 0)
    late = drawing.event_X >= 10
    lengths, before = drawing.length_X[late], corpus.before_E[drawing.event_X[late]]
    assert (lengths == 0).mean() == pytest.approx(0.02, abs=0.01)
    assert (lengths == before).mean() == pytest.approx(0.8, abs=0.03)
    short = lengths[(lengths > 0) & (lengths < before)]
    assert set(short.tolist()) == set(range(1, 11))


def test_an_epoch_is_the_same_again_and_the_next_another() -> None:
    first, again, second, other = draw(MANY, 1, 0), draw(MANY, 1, 0), draw(MANY, 1, 1), draw(MANY, 2, 0)
    for one in fields(Drawing):
        np.testing.assert_array_equal(getattr(first, one.name), getattr(again, one.name))
    assert (first.event_X != second.event_X).any()
    assert (first.event_X != other.event_X).any()


def test_more_of_one_family_leaves_the_examples_of_the_others_as_they_are() -> None:
    shares = dict.fromkeys(Family, 1.0)
    some = draw(Corpus(DATA, Mix(shares)), 0, 0)
    more = draw(Corpus(DATA, Mix(shares | {Family.SEQUENTIAL: 3.0})), 0, 0)
    for family in (Family.RATING, Family.DIRECT, Family.EXPLANATION):
        tasks = tasks_of(family)
        kept = [
            Counter(
                (event, place, share)
                for event, place, share in zip(
                    one.event_X.tolist(), one.template_X.tolist(), one.share_X.tolist(), strict=True
                )
                if TEMPLATES[place].task in tasks
            )
            for one in (some, more)
        ]
        assert kept[0] == kept[1]


def test_a_family_that_the_data_lack_is_left_out_with_a_message() -> None:
    unrated = by_hand([[0, 1, 2]], categories=[["War"], ["War"], []])
    assert families_of(unrated) == (
        [Family.SEQUENTIAL, Family.EXPLANATION, Family.DIRECT],
        [
            "rating is left out: no event has a rating from 1 to 5 stars, or all have the same",
            "review is left out: no event has a review",
        ],
    )
    bare = families_of(by_hand([[0], [1]], categories=[[], []]))
    assert bare[0] == []
    assert len(bare[1]) == 5
    assert len(draw(Corpus(by_hand([[0], [1]], categories=[[], []])), 0, 0).event_X) == 0
    assert len(draw(Corpus(by_hand([])), 0, 0).event_X) == 0
    assert families_of(REVIEWED) == (list(Family), [])
    assert families_of(replace(REVIEWED, reviews=()))[0] == [one for one in Family if one is not Family.REVIEW]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("history", {"history": 0}),
        ("candidates", {"candidates": 1}),
        ("mix", {"families": {Family.RATING: -1.0}}),
        ("mix", {"tasks": {Task.NEXT: float("inf")}}),
        ("mix", {"tasks": {Task.NEXT: float("nan")}}),
    ],
)
def test_a_mix_that_cannot_be_is_refused_by_its_field(field: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Mix(**wrong)
    assert refusal.value.field == field
