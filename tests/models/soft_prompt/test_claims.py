"""Claims on differences that are written down."""

import pytest

from models.soft_prompt.claims import RIVALS, TEXT, claims
from models.soft_prompt.comparing import AVERAGE
from models.soft_prompt.tasks import Dimension


def gap(*values: float, half: float = 0.02) -> dict[str, dict[str, float]]:
    """Of understanding, prediction, interest and on average."""
    names = [*map(str, Dimension), AVERAGE]
    return {
        name: {"value": value, "low": value - half, "high": value + half}
        for name, value in zip(names, values, strict=True)
    }


GOOD = {**{name: gap(0.05, 0.06, 0.2, 0.1) for name in RIVALS}, TEXT: gap(0.0, -0.1, 0.2, 0.03)}


def held(gaps: dict[str, dict[str, dict[str, float]]], share: float | None = 0.05) -> list[bool | None]:
    return [goal["holds"] for goal in claims(gaps, share).values()]


def test_what_is_above_everything_holds_everything() -> None:
    assert held(GOOD) == [True, True, True, True]
    assert claims(GOOD, 0.05)["above"]["lowest"] == pytest.approx(0.03)


@pytest.mark.parametrize("rival", RIVALS)
def test_one_rival_in_one_dimension_is_enough_to_fail(rival: str) -> None:
    assert held(GOOD | {rival: gap(0.05, 0.019, 0.2, 0.1)}) == [False, True, True, True]
    assert held(GOOD | {rival: gap(0.05, 0.06, 0.09, 0.1)}) == [True, False, True, True]
    assert held(GOOD | {rival: gap(0.3, 0.3, 0.3, 0.3, half=0.4)}) == [False, False, True, True]


def test_a_text_that_is_better_on_average_or_hardly_longer_fails() -> None:
    assert held(GOOD | {TEXT: gap(0.3, 0.3, 0.3, -0.001)}) == [True, True, False, True]
    assert held(GOOD, 0.101) == [True, True, True, False]


@pytest.mark.parametrize("missing", [*RIVALS, TEXT])
def test_without_an_arm_to_compare_with_nothing_is_claimed(missing: str) -> None:
    left = {name: one for name, one in GOOD.items() if name != missing}
    expected = [True, True, None, None] if missing == TEXT else [None, None, True, True]
    assert held(left, None if missing == TEXT else 0.05) == expected
    assert held({}, None) == [None] * 4
