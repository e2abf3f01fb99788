from dataclasses import replace

import numpy as np
import pytest
from toy_p5 import NONE, by_hand

from models.p5.biases import STRENGTHS, Ratings, biased, choose_strength, fit_biases, ratings_of


def toy(users: int = 12, items: int = 9, count: int = 60, seed: int = 0) -> Ratings:
    """Users and items with tastes of their own; the last user and the last item are without ratings."""
    rng = np.random.default_rng(seed)
    of_user, of_item = rng.normal(0, 0.8, users), rng.normal(0, 0.8, items)
    users_E, items_E = rng.integers(0, users - 1, count), rng.integers(0, items - 1, count)
    return users_E, items_E, np.clip(np.round(3.4 + of_user[users_E] + of_item[items_E]), 1, 5)


@pytest.mark.parametrize("strength", [0.5, 5.0])
def test_biases_are_those_of_ridge_regression(strength: float) -> None:
    users_E, items_E, stars_E = toy()
    rows = np.zeros((len(users_E), 12 + 9))
    for event, (user, item) in enumerate(zip(users_E, items_E, strict=True)):
        rows[event, user] = rows[event, 12 + item] = 1
    penalised = np.vstack([rows, np.sqrt(strength) * np.eye(21)])
    expected, *_ = np.linalg.lstsq(penalised, np.concatenate([stars_E - stars_E.mean(), np.zeros(21)]), rcond=None)
    found = fit_biases((users_E, items_E, stars_E), 12, 9, strength)
    np.testing.assert_allclose(found.users_U, expected[:12], atol=1e-5)
    np.testing.assert_allclose(found.items_N, expected[12:], atol=1e-5)
    assert found.users_U[11] == found.items_N[8] == 0  # of whom nothing is known
    assert found.mean == stars_E.mean()


def test_predictions_stay_among_the_stars_that_were_given() -> None:
    ratings = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([2.0, 2.0, 5.0, 5.0])
    found = replace(fit_biases(ratings, 2, 2, 1.0), users_U=np.array([-9.0, 9.0]))
    assert found.predict(np.array([0, 1]), np.array([0, 1])).tolist() == [2, 5]


def test_the_strength_is_the_best_on_validation_ratings() -> None:
    known, validation = toy(), toy(seed=1)
    errors = []
    for strength in STRENGTHS:
        found = fit_biases(known, 12, 9, strength).predict(*validation[:2]) - validation[2]
        errors.append(float((found**2).mean()))
    assert choose_strength(known, validation, 12, 9) == STRENGTHS[int(np.argmin(errors))]


def test_ratings_are_those_of_events_and_of_targets_that_have_some() -> None:
    data = by_hand([[0, 1], [2]], stars=[[5, NONE], [3]], categories=[()] * 3, targets=[2, 0], target_stars=[1, NONE])
    events, targets = ratings_of(data)
    assert [column.tolist() for column in events] == [[0, 1], [0, 2], [5, 3]]
    assert [column.tolist() for column in targets] == [[0], [2], [1]]


def test_what_is_asked_about_is_not_fitted_on() -> None:
    data = by_hand([[0, 1], [1, 0]], stars=[[5, 1], [1, 5]], categories=[()] * 3, targets=[2, 2], target_stars=[4, 2])
    asked = np.array([0, 1]), np.array([2, 2])
    errors = [biased(data, (*asked, np.array(stars))).errors_X for stars in ([1.0, 1.0], [3.0, 5.0])]
    np.testing.assert_allclose(errors[0] - errors[1], [2, 4])
    found = biased(data, (*asked, np.array([3.0, 3.0])))
    np.testing.assert_allclose(
        found.train_errors_X, [0, 0], atol=1e-6
    )  # without the targets nobody is kinder, and of item 2 nothing is known
    assert found.described()["rmse"] > found.described()["train_rmse"] >= 0
