import math

import numpy as np
import pytest

from models.intervals import Estimate, ratio, sample_ratio, sign_test


def test_a_ratio_and_its_variance_by_hand() -> None:
    # 1 of 2, 0 of 2 and 2 of 4 are 3/8. What each user has above it: .25, -.75, .5; the squares sum to .875, their
    # variance is .4375; a user has 8/3 on average: .4375 / (8/3)^2 / 3 users.
    found = ratio(np.array([1, 0, 2]), np.array([2, 2, 4]))
    assert found.value == 3 / 8
    assert found.variance == pytest.approx(0.4375 / (64 / 9) / 3)
    half = 1.96 * math.sqrt(found.variance)
    assert found.interval() == pytest.approx({"value": 0.375, "low": 0.375 - half, "high": 0.375 + half}, rel=1e-4)


def test_with_denominators_of_one_it_is_a_mean_and_its_standard_error() -> None:
    values = np.random.default_rng(0).exponential(size=50)
    found = ratio(values, np.ones(50))
    assert found.value == pytest.approx(values.mean())
    assert found.variance == pytest.approx(values.var(ddof=1) / 50)


def test_the_variance_is_that_of_a_bootstrap_over_users() -> None:
    rng = np.random.default_rng(3)
    shown = rng.geometric(0.1, 2000)
    clicked = rng.binomial(shown, rng.beta(1, 9, 2000))  # each user has a rate of their own
    resampled = [clicked[users].sum() / shown[users].sum() for users in rng.integers(0, 2000, (1000, 2000))]
    assert ratio(clicked, shown).variance == pytest.approx(np.var(resampled), rel=0.15)


def test_of_two_groups_alike_one_in_twenty_is_found_different() -> None:
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(400):
        groups = []
        for _ in range(2):
            shown = rng.geometric(0.1, 300)
            groups.append(ratio(rng.binomial(shown, rng.beta(1, 9, 300)), shown))
        tested = (groups[1] - groups[0]).tested()
        found += tested["p"] < 0.05
        assert (tested["low"] <= 0 <= tested["high"]) == (tested["p"] >= 0.05)
    assert 8 <= found <= 34  # 20 is expected, 4.4 the standard deviation


def test_a_difference_by_hand() -> None:
    difference = Estimate(0.3, 0.0009) - Estimate(0.2, 0.0016)
    assert (difference.value, difference.variance) == pytest.approx((0.1, 0.0025))
    assert difference.tested() == pytest.approx({"value": 0.1, "low": 0.002, "high": 0.198, "p": 0.0455}, abs=1e-4)


@pytest.mark.parametrize(
    ("numerators", "denominators", "value"),
    [([], [], None), ([1], [4], 0.25), ([0, 0], [3, 5], 0.0), ([0], [0], None), ([1, 2, 1], [3, 6, 3], 1 / 3)],
)
def test_where_users_are_too_few_or_nothing_varies_there_is_no_interval(
    numerators: list[int], denominators: list[int], value: float | None
) -> None:
    found = ratio(np.array(numerators), np.array(denominators))
    assert found.interval() == {"value": value, "low": None, "high": None}
    assert found.tested()["p"] is None


def test_a_group_in_which_nothing_varies_is_compared_by_the_variance_of_the_other() -> None:
    nobody = ratio(np.array([0, 0, 0]), np.array([2, 5, 1]))
    assert (nobody - Estimate(0.2, 0.0025)).tested() == Estimate(-0.2, 0.0025).tested()
    too_few = ratio(np.array([1]), np.array([2]))
    assert (too_few - Estimate(0.2, 0.0025)).tested()["p"] is None


def test_sign_tests_by_hand() -> None:
    assert sign_test(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert sign_test(2, 8) == sign_test(8, 2)
    assert sign_test(3, 3) == 1.0
    assert sign_test(0, 1) == 1.0
    assert sign_test(0, 0) is None


def test_sample_ratios_by_hand() -> None:
    assert sample_ratio([60, 40], [0.5, 0.5]) == pytest.approx(0.0455, abs=1e-4)  # chi-square 4, one degree
    assert sample_ratio([10, 30, 60], [0.1, 0.3, 0.6]) == pytest.approx(1.0)
    assert sample_ratio([5000, 5400], [0.5, 0.5]) < 0.001
    assert sample_ratio([0, 0], [0.5, 0.5]) is None
