"""What a report says of questions whose figures one sees."""

import orjson
import pytest

from models.soft_prompt.questions import Question
from models.soft_prompt.report import report
from models.soft_prompt.tasks import Task


def asked(task: Task, user: int, choices: tuple[str, str], truth: int, ranks: tuple[int, int]) -> Question:
    return Question(task, user, 5, "Which?", choices, truth, ranks)


QUESTIONS = [
    asked(Task.FEATURE, 0, ("War", "Crime"), 0, (0, 1)),
    asked(Task.FEATURE, 0, ("War", "Drama"), 0, (1, 0)),
    asked(Task.FEATURE, 1, ("Crime", "War"), 0, (1, 0)),
    asked(Task.FEATURE, 2, ("Drama", "War"), 1, (0, 1)),
    asked(Task.NEXT_ITEM, 2, ("Fargo", "Heat"), 1, (0, 1)),
]


def test_shares_and_guesses_are_told_for_each_task() -> None:
    told = report(QUESTIONS)
    assert (told["questions"], told["users"]) == (5, 3)
    assert told["tasks"]["direct-feature"] == {
        "dimension": "sequence-understanding",
        "questions": 4,
        "users": 3,
        "moments": 3,
        "chance": 0.5,
        "positions": [0.75, 0.25],
        "popularity_ranks": [0.25, 0.75],
        "popularity_guess": 0.25,
        "majority_guess": 0.75,  # War
    }
    assert told["tasks"]["next-item"]["popularity_guess"] == 0.0
    assert list(told["tasks"]) == ["direct-feature", "next-item"]


def test_the_majority_is_learnt_from_other_questions_where_there_are_some() -> None:
    learnt = [asked(Task.FEATURE, 7, ("Crime", "War"), 0, (0, 1)), asked(Task.NEXT_ITEM, 7, ("War", "Heat"), 0, (0, 1))]
    assert report(QUESTIONS, learnt)["tasks"]["direct-feature"]["majority_guess"] == pytest.approx(0.5)


def test_a_report_is_json_and_of_no_questions_too() -> None:
    assert orjson.loads(orjson.dumps(report(QUESTIONS))) == report(QUESTIONS)
    assert report([]) == {"questions": 0, "users": 0, "tasks": {}}
