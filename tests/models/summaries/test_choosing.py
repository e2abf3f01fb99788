from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_raters import ITEMS, SMALL, raters

from models.summaries.choosing import Scored, Scoring, best_of, neighbours, said_of, search, sensitivity
from models.summaries.downstream.cases import Task, cases_of, log_of
from models.summaries.downstream.store import DownstreamStore
from models.summaries.downstream.writing import by_template, usual
from models.summaries.fact import FactKind
from models.summaries.kinds import SHAPES, Shape, Slot, SummaryKind
from models.summaries.retrieval import BM25

SHAPE = Shape((Slot(FactKind.HABIT), Slot(FactKind.LIKED_CATEGORY, 3)), 120)


def scored(error: float, tokens: float = 10.0, scores: list[list[float]] | None = None) -> Scored:
    return Scored({"mae": np.full(4, error)}, np.array(scores or [[0.0, 0.0]], np.float32), tokens)


def test_neighbours_differ_in_one_thing() -> None:
    found = dict(neighbours(SHAPE))
    habit, liked = SHAPE.slots
    assert {name: one.slots for name, one in found.items()} == {
        "without rating_habit": (liked,),
        "without liked_category": (habit,),
        "more liked_category": (habit, replace(liked, most=6)),
        "less liked_category": (habit, replace(liked, most=1)),
        "liked_category first": (liked, habit),
    }
    assert [*neighbours(Shape((habit,), 120))] == []


def test_the_search_goes_on_from_the_best_and_ends_where_nothing_is_better() -> None:
    """Only how many liked categories there is room for counts; twelve are best."""
    asked: list[Shape] = []

    def score(shape: Shape) -> Scored:
        asked.append(shape)
        return scored(
            min([abs(slot.most - 12) for slot in shape.slots if slot.kind is FactKind.LIKED_CATEGORY], default=99)
        )

    shapes, found = search(Task.RATING, score, SHAPE, rounds=9)
    best = best_of(Task.RATING, found)
    assert best == "more liked_category, more liked_category"
    assert shapes[best].slots[1].most == 12
    assert len(asked) == len(set(asked))


def test_of_candidates_that_are_alike_the_shorter_is_better() -> None:
    found = {"long": scored(0.5, 30), "short": scored(0.5, 20), "worse": scored(0.6, 1)}
    assert best_of(Task.RATING, found) == "short"


def test_differences_are_from_the_first() -> None:
    said = said_of(Task.RATING, {"usual": scored(0.5), "worse": scored(0.75)}, 10, 0)
    assert said["usual"]["difference"]["-mae"]["value"] == 0
    assert said["worse"]["difference"]["-mae"]["value"] == -0.25


def test_candidates_that_move_no_answer_have_no_sensitivity() -> None:
    same = scored(0.5, scores=[[1.0, 2.0], [3.0, 0.0]])
    assert sensitivity([same, same]) == 0
    assert sensitivity([same]) is None


def test_sensitivity_is_the_change_of_the_log_probability_of_each_ones_answer() -> None:
    one, other = [[0.9, 0.1]], [[0.3, 0.7]]
    logs = [scored(0.5, scores=np.log(both).tolist()) for both in (one, other)]
    assert sensitivity(logs) == pytest.approx((np.log(0.9 / 0.3) + np.log(0.7 / 0.1)) / 2, abs=1e-5)


def test_a_summary_that_tells_nothing_of_tastes_is_scored_worse(tmp_path: Path) -> None:
    log = log_of(raters(), ITEMS, SMALL)
    cases = cases_of(log, SMALL, 0)
    store = DownstreamStore(tmp_path, may_train=True)
    reader = store.get(log, cases, Task.RATING, BM25(), usual(Task.RATING), SMALL, fingerprint="toy", seed=0)
    score = Scoring(log, cases.validation, Task.RATING, BM25(), reader)
    usual_one = score(usual(Task.RATING))
    assert np.array_equal(usual_one.scores_XA, score(by_template(SHAPES[SummaryKind.RATING])).scores_XA)
    silent = score(by_template(Shape((), 120)))
    assert silent.tokens < usual_one.tokens
    assert float(usual_one.means["mae"].mean()) <= float(silent.means["mae"].mean())
