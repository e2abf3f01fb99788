import numpy as np
import pytest

from models.summaries.downstream.answers import log_chances, ranks, ratings
from models.summaries.downstream.cases import Case, Task
from models.summaries.downstream.measures import differences, figures, means_of

LEVELS = np.array([1.0, 2.0, 4.0])


def rated(user: int, level: int) -> Case:
    return Case(user, 0, 0, level, ())


def test_a_rating_is_the_mean_of_the_levels_by_their_probabilities() -> None:
    scores = np.log(np.array([[0.5, 0.25, 0.25], [1e-9, 1e-9, 1.0]], np.float32))
    np.testing.assert_allclose(ratings(scores, LEVELS), [2.0, 4.0], atol=1e-5)


def test_a_choice_is_ranked_among_its_candidates_and_ties_count_against_it() -> None:
    scores = np.array([[9.0, 1.0, 2.0, 3.0], [5.0, 5.0, 0.0, 0.0]], np.float32)
    cases = [Case(0, 0, 2, -1, (1, 2, 3)), Case(0, 0, 1, -1, (0, 1))]
    assert ranks(scores, cases).tolist() == [2, 2]


def test_chances_are_of_all_levels_or_among_the_candidates() -> None:
    scores = np.log(np.array([[0.2, 0.3, 0.5]], np.float32))
    assert np.exp(log_chances(Task.RATING, scores, [rated(0, 1)]))[0] == pytest.approx(0.3, abs=1e-6)
    chosen = Case(0, 0, 1, -1, (1, 2))
    assert np.exp(log_chances(Task.CHOICE, scores, [chosen]))[0] == pytest.approx(0.375, abs=1e-6)


def test_users_count_alike_however_many_cases_they_have() -> None:
    sure = np.log(np.array([[1.0, 1e-12, 1e-12]] * 4, np.float32))  # says 1
    cases = [rated(7, 0), rated(3, 1), rated(7, 0), rated(7, 2)]
    means = means_of(Task.RATING, sure, cases, LEVELS)
    np.testing.assert_allclose(means["mae"], [1.0, 1.0], atol=1e-5)  # user 3, then user 7
    np.testing.assert_allclose(means["rmse"], [1.0, 3.0], atol=1e-5)
    found = figures(means, 10, 0)
    assert found["mae"]["value"] == pytest.approx(1.0, abs=1e-5)
    assert found["rmse"]["value"] == pytest.approx(2.0**0.5, abs=1e-5)


def test_more_of_a_difference_is_better() -> None:
    ours, others = {"mae": np.full(5, 0.5)}, {"mae": np.full(5, 0.8)}
    assert differences(ours, others, 10, 0)["-mae"]["value"] == pytest.approx(0.3)
    hits = {"accuracy": np.full(5, 0.5)}, {"accuracy": np.full(5, 0.8)}
    assert differences(*hits, 10, 0)["accuracy"]["value"] == pytest.approx(-0.3)


def test_a_paired_difference_that_is_the_same_for_everybody_is_certain() -> None:
    others = np.random.default_rng(0).random(50)
    found = differences({"mae": others + 0.25}, {"mae": others}, 100, 0)["-mae"]
    assert found["low"] == pytest.approx(-0.25)
    assert found["high"] == pytest.approx(-0.25)


def test_the_interval_of_a_mean_is_two_standard_errors_either_way() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = figures({"mrr": values}, 2000, 0)["mrr"]
    error = values.std() / 20
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.1)
