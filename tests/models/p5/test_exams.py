"""The questions that a model is measured by: about targets, with what the user was before them."""

from dataclasses import replace

import numpy as np
import pytest
from toy_p5 import NONE, by_hand, invented, read, tastes

from models.p5.corpus import Corpus, Mix
from models.p5.exams import exams
from models.p5.templates import Family, Task, family_of

ONE = by_hand(
    [[0, 1], [2, 3, 4], [1]],
    stars=[[5, 2], [3, 4, 1], [5]],
    categories=[["War"], ["Comedy"], ["War", "Drama"], [], ["Comedy"], []],
    targets=[2, 0, -1],
    target_stars=[4, NONE, NONE],
)


def test_the_target_is_asked_for_by_all_that_came_before() -> None:
    first, second = exams(Corpus(ONE), Task.NEXT)
    assert (first.user, first.item, first.stars, first.answer) == (0, 2, 4.0, (2,))
    assert first.question.values["history"] == (0, 1)
    assert (second.user, second.item, second.answer) == (1, 0, (0,))
    assert second.question.values["history"] == (2, 3, 4)


def test_stars_are_asked_for_where_the_target_has_some_and_others_are_all_of_training() -> None:
    (exam,) = exams(Corpus(ONE), Task.STARS)
    assert (exam.user, exam.answer) == (0, ("4",))
    assert exam.question.values["rated"] == (0, "5", 1, "2")
    assert exam.question.values["mean"] == ("3.5",)
    assert exam.question.values["others"] == ("3.0",)
    (liked,) = exams(Corpus(ONE), Task.LIKES)
    assert liked.answer == ("like",)


def test_yes_or_no_is_asked_about_the_truth_and_about_something_else() -> None:
    for task in (Task.IS_NEXT, Task.SUITS):
        true, false, *others = exams(Corpus(ONE), task)
        assert (true.answer, false.answer, len(others)) == (("yes",), ("no",), 2)
        assert true.question.values["item"] == (2,)
        assert false.question.values["item"][0] not in (0, 1, 2)
    true, false = exams(Corpus(ONE), Task.GIVES)
    assert (true.question.values["stars"], true.answer) == (("4",), ("yes",))
    assert false.question.values["stars"] != ("4",)
    assert false.answer == ("no",)


@pytest.mark.parametrize("task", [Task.PICK, Task.PICK_NEXT])
def test_candidates_are_the_target_and_what_the_user_never_had(task: Task) -> None:
    data, _ = read(*tastes())
    found = exams(Corpus(data, Mix(candidates=6)), task)
    assert [exam.user for exam in found] == np.flatnonzero(data.targets_U >= 0).tolist()
    for exam in found:
        candidates = exam.question.values["candidates"]
        had = data.items_E[data.starts_V[exam.user] : data.starts_V[exam.user + 1]].tolist()
        assert len(set(candidates)) == 6
        assert exam.item in candidates
        assert set(candidates).isdisjoint(had)


def test_a_good_choice_is_explained_by_facts_and_so_are_stars() -> None:
    (exam,) = exams(Corpus(ONE), Task.EXPLAIN)
    assert " ".join(map(str, exam.answer)) == "You rated Title 0 high and this is War too."
    (by_feature,) = exams(Corpus(ONE), Task.EXPLAIN_BY)
    assert by_feature.question.values["feature"] == ("War",)
    (rated,) = exams(Corpus(ONE), Task.EXPLAIN_RATED)
    assert rated.answer == exam.answer
    disliked = replace(ONE, target_values_U=np.array([1, NONE, NONE], np.float32))
    assert exams(Corpus(disliked), Task.EXPLAIN) == []
    assert exams(Corpus(disliked), Task.EXPLAIN_RATED) == []


def test_what_was_written_of_a_target_is_asked_for_where_there_are_reviews() -> None:
    data, _ = invented()
    written = {review.event: review for review in data.target_reviews}
    headlines = exams(Corpus(data), Task.HEADLINE)
    assert [exam.user for exam in headlines] == sorted(written)
    for exam in headlines:
        assert " ".join(map(str, exam.answer)) == written[exam.user].headline
        assert " ".join(map(str, exam.question.values["review"])) == written[exam.user].text
    assert len(exams(Corpus(data), Task.REVIEW_STARS)) == len(written)
    explained = exams(Corpus(data), Task.EXPLAIN)
    assert explained
    assert all(" ".join(map(str, exam.answer)) in written[exam.user].text for exam in explained)


def test_a_family_that_the_data_lack_is_not_asked_about() -> None:
    for task in Task:
        assert (exams(Corpus(ONE), task) == []) == (family_of(task) is Family.REVIEW)
    for task in Task:
        assert exams(Corpus(by_hand([[0], [1]], categories=[[], []])), task) == []


def test_the_same_seed_asks_the_same() -> None:
    data, _ = read(*tastes())
    corpus = Corpus(data)
    for task in (Task.PICK, Task.SUITS, Task.GIVES):
        asked, again, other = (
            [(exam.question, exam.answer) for exam in exams(corpus, task, seed)] for seed in (3, 3, 4)
        )
        assert asked == again != other
