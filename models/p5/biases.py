"""What ratings are by who rates and what is rated alone: the predictor that a model of ratings must beat.

    rating of i by u  =  mean + b_u + b_i

with the biases that minimise the squared errors plus `strength` times the squared biases (Koren, Bell and Volinsky,
"Matrix factorization techniques for recommender systems", Computer 2009, equations 3 and 4 without the factors).
Shapes: E ratings, U users, N items, X any number.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.p5.data import P5Data
from models.p5.measures import rmse

STRENGTHS: Final = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 40.0)
SWEEPS: Final = 100
SETTLED: Final = 1e-6  # stars by which no bias moves any more

Ratings = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""(users_E, items_E, stars_E)"""


@dataclass(frozen=True, slots=True, eq=False)
class Biases:
    """least, most: the range of the ratings, in which predictions stay."""

    mean: float
    users_U: NDArray[np.float64]
    items_N: NDArray[np.float64]
    least: float
    most: float

    def predict(self, users_X: NDArray[np.int64], items_X: NDArray[np.int64]) -> NDArray[np.float64]:
        """stars_X."""
        return np.clip(self.mean + self.users_U[users_X] + self.items_N[items_X], self.least, self.most)


@dataclass(frozen=True, slots=True, eq=False)
class Biased:
    """How far biases are off on some ratings. errors_X: fitted on validation ratings too, which P5's prompts tell of;
    train_errors_X: fitted without them, as P5 is."""

    strength: float
    train_errors_X: NDArray[np.float64]
    errors_X: NDArray[np.float64]

    def described(self) -> dict[str, float]:
        """The figures by name."""
        return {
            "rmse": rmse(self.errors_X),
            "mae": float(np.abs(self.errors_X).mean()),
            "strength": self.strength,
            "train_rmse": rmse(self.train_errors_X),
        }


def biased(data: P5Data, asked: Ratings) -> Biased:
    """Fitted on the ratings of the events, with the strength that is best on those of the targets."""
    known, validation = ratings_of(data)
    users_X, items_X, stars_X = asked
    strength = choose_strength(known, validation, data.n_users, data.n_items)
    users, items, stars = (np.concatenate(column) for column in zip(known, validation, strict=True))
    errors = [
        fit_biases(ratings, data.n_users, data.n_items, strength).predict(users_X, items_X) - stars_X
        for ratings in (known, (users, items, stars))
    ]
    return Biased(strength, *errors)


def ratings_of(data: P5Data) -> tuple[Ratings, Ratings]:
    """The ratings of the events, and those of the targets."""
    users_E = np.repeat(np.arange(data.n_users), np.diff(data.starts_V))
    rated_E = np.flatnonzero(~np.isnan(data.values_E))
    rated_U = np.flatnonzero(~np.isnan(data.target_values_U) & (data.targets_U >= 0))
    return (
        (users_E[rated_E], data.items_E[rated_E], data.values_E[rated_E].astype(np.float64)),
        (rated_U, data.targets_U[rated_U], data.target_values_U[rated_U].astype(np.float64)),
    )


def fit_biases(ratings: Ratings, n_users: int, n_items: int, strength: float) -> Biases:
    """Each side's biases in turn, exactly, given the other's, until they have settled: the function is convex."""
    users_E, items_E, stars_E = ratings
    mean = float(stars_E.mean())
    of_user_U, of_item_N = np.bincount(users_E, minlength=n_users), np.bincount(items_E, minlength=n_items)
    users_U, items_N = np.zeros(n_users), np.zeros(n_items)
    for _ in range(SWEEPS):
        before_U = users_U
        items_N = np.bincount(items_E, stars_E - mean - users_U[users_E], n_items) / (of_item_N + strength)
        users_U = np.bincount(users_E, stars_E - mean - items_N[items_E], n_users) / (of_user_U + strength)
        if np.abs(users_U - before_U).max(initial=0.0) < SETTLED:
            break
    return Biases(mean, users_U, items_N, float(stars_E.min()), float(stars_E.max()))


def choose_strength(ratings: Ratings, validation: Ratings, n_users: int, n_items: int) -> float:
    """The one of STRENGTHS with the least squared error on validation ratings."""
    users_X, items_X, stars_X = validation

    def error(strength: float) -> float:
        predicted_X = fit_biases(ratings, n_users, n_items, strength).predict(users_X, items_X)
        return float(np.square(predicted_X - stars_X).mean())

    return min(STRENGTHS, key=error) if len(stars_X) else STRENGTHS[len(STRENGTHS) // 2]
