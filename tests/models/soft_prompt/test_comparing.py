"""Accuracies and their differences against what is counted by hand, one resample after another."""

import numpy as np
import pytest

from models.soft_prompt.comparing import AVERAGE, Sheet, differences, interval, spread, terciles
from models.soft_prompt.questions import Question
from models.soft_prompt.tasks import DIMENSIONS, Task


def asked(task: Task, user: int, rank: int = 0, cut: int = 5) -> Question:
    return Question(task, user, cut, "Which?", ("a", "b"), 0, (rank, 1 - rank))


QUESTIONS = [
    *(asked(Task.FEATURE, user) for user in (4, 4, 9, 12)),
    *(asked(Task.MATCH, user) for user in (9, 12)),
    *(asked(Task.LONG_TERM, user) for user in (4, 9, 9, 9)),
]
RIGHT = np.array([1, 0, 1, 1, 0, 1, 1, 0, 0, 1], float)


def test_tasks_dimensions_and_the_average_are_means_of_what_is_below_them() -> None:
    found = Sheet.of(QUESTIONS, 0).accuracies(RIGHT)
    assert {name: values.tolist() for name, values in found.items()} == {
        "direct-feature": [0.75],
        "match-feature": [0.5],
        "long-term-interest": [0.5],
        "sequence-understanding": [0.625],
        "interest-perception": [0.5],
        AVERAGE: [0.5625],
    }


def test_resamples_are_of_users_with_all_that_they_were_asked() -> None:
    sheet = Sheet.of(QUESTIONS, 200, seed=3)
    found = sheet.accuracies(RIGHT)
    for row, weights in enumerate(sheet.weights_RU):
        drawn = np.repeat([4, 9, 12], weights.astype(int))
        assert len(drawn) == 3
        for task in {question.task for question in QUESTIONS}:
            right = [
                value
                for user in drawn
                for question, value in zip(QUESTIONS, RIGHT, strict=True)
                if question.user == user and question.task is task
            ]
            expected = np.mean(right) if right else found[task][0]
            assert found[task][row] == pytest.approx(expected)
        understood = (found["direct-feature"][row] + found["match-feature"][row]) / 2
        assert found[AVERAGE][row] == pytest.approx((understood + found["long-term-interest"][row]) / 2)


def test_an_interval_is_of_the_resamples_and_its_value_of_everybody() -> None:
    assert interval(np.array([7.0, *range(101)])) == {"value": 7.0, "low": 2.5, "high": 97.5}
    assert interval(np.array([7.0])) == {"value": 7.0, "low": 7.0, "high": 7.0}


def test_differences_are_paired() -> None:
    """Who is always better by as much has a difference without a spread, however much users differ."""
    questions = [asked(Task.NEXT_ITEM, user) for user in range(60)]
    ours = np.random.default_rng(0).random(60)
    sheet = Sheet.of(questions, 500)
    gap = differences(sheet.accuracies(ours), sheet.accuracies(ours - 0.25))
    assert gap == {name: {"value": 0.25, "low": 0.25, "high": 0.25} for name in ("action-prediction", AVERAGE)}
    alone = interval(sheet.accuracies(ours)[AVERAGE])
    assert alone["high"] - alone["low"] > 0.1


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    questions = [asked(Task.NEXT_ITEM, user) for user in range(50) for _ in range(2)]
    held = 0
    for trial in range(200):
        right = rng.random(100) < np.repeat(rng.beta(2, 2, 50), 2)  # users differ; half right on average
        one = interval(Sheet.of(questions, 200, trial).accuracies(right)[AVERAGE])
        held += one["low"] <= 0.5 <= one["high"]
    assert 0.88 <= held / 200 <= 0.99


def test_a_part_of_the_questions_is_judged_alone() -> None:
    is_in = np.array([question.user == 9 for question in QUESTIONS])
    found = Sheet.of(QUESTIONS, 20).accuracies(RIGHT, is_in)
    assert found["direct-feature"][0] == 1
    assert found["match-feature"][0] == 0
    assert found["long-term-interest"][0] == pytest.approx(1 / 3)
    assert "next-item" not in found


def test_terciles_part_the_questions() -> None:
    parts = terciles(np.array([3, 9, 5, 7, 8, 4]))
    assert {name: part.nonzero()[0].tolist() for name, part in parts.items()} == {
        "short": [0, 5],
        "middle": [2, 3],
        "long": [1, 4],
    }


def test_questions_are_spread_over_users_and_even() -> None:
    rng = np.random.default_rng(0)
    many = [asked(task, user, int(rng.integers(2))) for task in DIMENSIONS for user in range(10) for _ in range(20)]
    for each in (2, 10, 11):
        some = spread(many, each)
        for task in DIMENSIONS:
            own = [question for question in some if question.task is task]
            assert len(own) == each // 2 * 2
            assert sum(question.popularity_rank == 0 for question in own) == len(own) / 2
            assert max(np.bincount([question.user for question in own])) <= 2
    assert spread(many, 10) == spread(many, 10) != spread(many, 10, seed=1)
