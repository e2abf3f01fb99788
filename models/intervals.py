"""What an experiment on users says: rates with intervals, differences, preferences, and whether the split is sound.

Users are what was randomised, so users are what varies: impressions of one user go together, and an interval over
impressions as if they were independent would be too narrow. Everything here takes one figure a user. Intervals are
95 % and by the normal approximation, which wants some hundred users; where nothing varies there is none. They hold for
one look at a time fixed beforehand: who looks daily and stops at the first p below .05 finds differences everywhere.
Shapes: U users, V variants.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, chdtrc, ndtr

NORMAL: Final = 1.959963984540054  # the 97.5 % point
MISMATCH: Final = 0.001  # a p-value below it means a fault: chance alone would raise one alarm in a thousand


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and the variance of its error; both NaN where there are too few users to say."""

    value: float
    variance: float

    def __sub__(self, other: "Estimate") -> "Estimate":
        """The difference of two groups of users without a user in common."""
        return Estimate(self.value - other.value, self.variance + other.variance)

    def interval(self) -> dict[str, float | None]:
        """{value, low, high}, None for what cannot be said."""
        half = NORMAL * self.variance**0.5 if self.variance > 0 else float("nan")
        return {"value": _said(self.value), "low": _said(self.value - half), "high": _said(self.value + half)}

    def tested(self) -> dict[str, float | None]:
        """The interval, and the two-sided p-value of the figure being 0."""
        if not self.variance > 0:
            return {**self.interval(), "p": None}
        return {**self.interval(), "p": float(2 * ndtr(-abs(self.value) / self.variance**0.5))}


def ratio(numerators_U: NDArray[Any], denominators_U: NDArray[Any]) -> Estimate:
    """The sum of the numerators over that of the denominators, with the delta method's variance.

    Deng, Knoblich and Lu, "Applying the delta method in metric analytics" (KDD 2018), for users who are randomised and
    lists that are counted: to first order the error is the mean over users of (numerator - ratio * denominator) / mean
    denominator. It agrees with a bootstrap over users, costs one pass where that costs a thousand, and draws nothing.
    With denominators of 1 it is a plain mean.
    """
    n_users, total = len(numerators_U), float(denominators_U.sum())
    if not total:
        return Estimate(float("nan"), float("nan"))
    value = float(numerators_U.sum()) / total
    if n_users < 2:
        return Estimate(value, float("nan"))
    errors_U = (numerators_U - value * denominators_U) / (total / n_users)
    variance = float(errors_U.var(ddof=1)) / n_users
    return Estimate(value, variance if variance > (1e-9 * value) ** 2 else 0.0)  # what is less is rounding


def sign_test(wins: int, losses: int) -> float | None:
    """The two-sided exact p-value of so many wins and losses where both are as likely; ties are left out."""
    if not wins + losses:
        return None
    return float(min(1.0, 2 * bdtr(min(wins, losses), wins + losses, 0.5)))


def sample_ratio(users_V: Sequence[int], shares_V: Sequence[float]) -> float | None:
    """The p-value of Pearson's chi-square test that users fell to the variants by these shares.

    Fabijan et al., "Diagnosing sample ratio mismatch in online controlled experiments" (KDD 2019): a split that is off
    means that users are missing from a variant, and not by chance, so that no comparison can be trusted.
    """
    total = sum(users_V)
    if not total:
        return None
    expected_V = np.asarray(shares_V) * total
    statistic = float(((np.asarray(users_V) - expected_V) ** 2 / expected_V).sum())
    return float(chdtrc(len(users_V) - 1, statistic))


def _said(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
