"""Claims on differences that are written down."""

import pytest

from models.soft_prompt.comparing import AVERAGE
from models.stream_adapter.claims import RIVALS, TEXT, claims, rival

Gaps = dict[str, dict[str, dict[str, float]]]


def gap(value: float, half: float = 0.02) -> dict[str, dict[str, float]]:
    return {AVERAGE: {"value": value, "low": value - half, "high": value + half}}


GOOD: Gaps = {**{name: gap(0.05) for name in RIVALS}, TEXT: gap(0.0)}
STRAY = {"value": -0.01, "low": -0.03, "high": 0.01}


def held(gaps: Gaps, stray: dict[str, float] | None = STRAY) -> str:
    """A letter a goal: above, falls, text; + holds, - does not, ? is not known."""
    return "".join({True: "+", False: "-", None: "?"}[goal["holds"]] for goal in claims(gaps, stray, "text-5").values())


def test_what_is_above_everything_holds_everything() -> None:
    assert held(GOOD) == "+++"
    assert claims(GOOD, STRAY, "text-5")["above"]["lowest"] == pytest.approx(0.03)


@pytest.mark.parametrize("other", RIVALS)
def test_one_rival_is_enough_to_fail(other: str) -> None:
    assert held(GOOD | {other: gap(0.019)}) == "-++"


def test_a_better_text_fails_and_so_does_a_strangers_past_that_does_as_well() -> None:
    assert held(GOOD | {TEXT: gap(-0.001)}) == "++-"
    assert held(GOOD, {"value": 0.1, "low": 0.01, "high": 0.2}) == "+-+"


@pytest.mark.parametrize("missing", [*RIVALS, TEXT])
def test_without_an_arm_to_compare_with_nothing_is_claimed(missing: str) -> None:
    left = {name: one for name, one in GOOD.items() if name != missing}
    assert held(left, None) == ("+??" if missing == TEXT else "??+")


def test_the_rival_is_the_first_text_that_takes_half_as_long_again() -> None:
    texts = {"text-5": 1.2, "text-10": 1.5, "text-25": 3.0}
    assert rival(1.0, texts) == "text-10"
    assert rival(1.2, texts) == "text-25"
    assert rival(9.0, texts) == "text-25"  # none is so slow: the most that there is
    assert rival(1.0, texts | {"text-25": None}) == "text-10"
    assert rival(1.0, texts | {"text-10": None}) is None
    assert rival(1.0, {}) is None
