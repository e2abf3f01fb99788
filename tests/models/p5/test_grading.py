import math
from collections.abc import Sequence

import numpy as np
import pytest

from models.p5.exams import Exam
from models.p5.grading import by_user, figures, grade, main_measure
from models.p5.questions import Question
from models.p5.replies import Reply
from models.p5.templates import Task
from models.p5.words import Word


def exam(task: Task, *answer: Word, user: int = 0, stars: float = 3.0) -> Exam:
    return Exam(user, 0, stars, Question(task, {}), answer)


def valued(*values: float) -> list[Reply]:
    return [Reply((5,), value) for value in values]


def test_next_items_are_graded_by_their_rank_and_not_found_is_beyond() -> None:
    grades = grade(Task.NEXT, [exam(Task.NEXT, 0)] * 4, valued(1, 3, 7, 11))
    means = {name: values_X.mean() for name, values_X in grades.each.items()}
    assert means == {
        "hr@5": 0.5,
        "hr@10": 0.75,
        "ndcg@5": pytest.approx((1 + 0.5) / 4),
        "ndcg@10": pytest.approx((1 + 0.5 + 1 / 3) / 4),
    }


def test_picks_are_graded_by_their_rank_among_the_candidates() -> None:
    grades = grade(Task.PICK, [exam(Task.PICK, 0)] * 2, valued(1, 3))
    assert {name: values_X.tolist() for name, values_X in grades.each.items()} == {"hr@1": [1, 0], "ndcg@10": [1, 0.5]}


@pytest.mark.parametrize(
    ("task", "truths"), [(Task.SUITS, ("yes", "no", "yes", "no")), (Task.LIKES, ("like", "dislike", "like", "dislike"))]
)
def test_verdicts_are_graded_by_the_probability_of_the_first_word(task: Task, truths: Sequence[str]) -> None:
    grades = grade(task, [exam(task, truth) for truth in truths], valued(0.9, 0.2, 0.4, 0.3))
    assert grades.each["accuracy"].tolist() == [1, 1, 0, 1]
    assert grades.whole == {"auc": 1.0, "always": 0.5}


def test_every_prediction_of_stars_counts() -> None:
    exams = [exam(Task.STARS, "5", stars=5), exam(Task.STARS, "1", stars=0.5), exam(Task.STARS, "3", stars=3)]
    grades = grade(Task.STARS, exams, valued(5.0, 1.5, 1.0))
    assert grades.each["mae"].mean() == 1
    assert grades.whole["rmse"] == pytest.approx(math.sqrt((0 + 1 + 4) / 3))


def test_texts_are_graded_against_the_true_ones() -> None:
    exams = [exam(Task.HEADLINE, "Soft", "light"), exam(Task.HEADLINE, "Leaks")]
    grades = grade(Task.HEADLINE, exams, [Reply((5,), text="Soft light"), Reply((5,), text="Soft light")])
    assert grades.each["rouge-l"].tolist() == [1, 0]
    assert grades.whole["distinct"] == 0.5


def test_figures_are_means_over_templates_and_name_each() -> None:
    exams = [exam(Task.STARS, "3", user=7), exam(Task.STARS, "3", user=9)]
    graded = {
        "a": grade(Task.STARS, exams, valued(3, 3)),
        "b": grade(Task.STARS, exams, valued(5, 1)),
    }
    found = figures(Task.STARS, exams, graded, bootstrap=20)
    assert found.pop("rmse_low") <= found["rmse"] <= found.pop("rmse_high")
    assert found == {
        "templates": 2, "users": 2, "questions": 2, "mae": 1.0, "rmse": 1.0, "by_template": {"a": 0.0, "b": 2.0},
    }  # fmt: skip


def test_intervals_are_over_users_and_not_over_questions() -> None:
    # Each user is right once and wrong once: nothing varies between them.
    exams = [exam(Task.SUITS, truth, user=user) for user in range(5) for truth in ("yes", "no")]
    found = figures(Task.SUITS, exams, {"a": grade(Task.SUITS, exams, valued(*[0.9] * 10))}, bootstrap=20)
    assert (found["users"], found["questions"]) == (5, 10)
    assert found["accuracy_low"] == found["accuracy"] == found["accuracy_high"] == 0.5
    assert by_user(np.array([1.0, 0.0, 1.0]), np.array([0, 0, 1])).tolist() == [0.5, 1.0]


def test_where_all_truths_are_alike_no_curve_has_an_area() -> None:
    exams = [exam(Task.LIKES, "like")] * 3
    found = figures(Task.LIKES, exams, {"a": grade(Task.LIKES, exams, valued(0.9, 0.1, 0.5))}, bootstrap=0)
    assert found["auc"] is None
    assert found["always"] == 1


def test_every_task_has_a_measure_that_it_is_graded_by() -> None:
    for task in Task:
        answers = {"rmse": "3", "rouge-l": "word", "accuracy": "yes"}
        exams = [exam(task, answers.get(main_measure(task), 0), user=user) for user in range(2)]
        found = figures(task, exams, {"a": grade(task, exams, [Reply((5,), 1.0, "word")] * 2)}, bootstrap=2)
        assert {main_measure(task), f"{main_measure(task)}_low"} <= set(found)
