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


STRAY = {"value": -0.01, "low": -0.03, "high": 0.01}


def held(
    gaps: dict[str, dict[str, dict[str, float]]], share: float | None = 0.05, stray: dict[str, float] | None = STRAY
) -> str:
    """A letter a goal: above, interest, falls, text, tokens; + holds, - does not, ? is not known."""
    return "".join({True: "+", False: "-", None: "?"}[goal["holds"]] for goal in claims(gaps, share, stray).values())


def test_what_is_above_everything_holds_everything() -> None:
    assert held(GOOD) == "+++++"
    assert claims(GOOD, 0.05, STRAY)["above"]["lowest"] == pytest.approx(0.03)


@pytest.mark.parametrize("rival", RIVALS)
def test_one_rival_in_one_dimension_is_enough_to_fail(rival: str) -> None:
    assert held(GOOD | {rival: gap(0.05, 0.019, 0.2, 0.1)}) == "-++++"
    assert held(GOOD | {rival: gap(0.05, 0.06, 0.09, 0.1)}) == "+-+++"
    assert held(GOOD | {rival: gap(0.3, 0.3, 0.3, 0.3, half=0.4)}) == "--+++"


def test_a_text_that_is_better_on_average_or_hardly_longer_fails() -> None:
    assert held(GOOD | {TEXT: gap(0.3, 0.3, 0.3, -0.001)}) == "+++-+"
    assert held(GOOD, 0.101) == "++++-"


def test_a_strangers_past_that_does_as_well_as_the_users_fails() -> None:
    assert held(GOOD, stray={"value": 0.1, "low": 0.01, "high": 0.2}) == "++-++"


@pytest.mark.parametrize(
    ("missing", "left"), [(TEXT, "+++??"), ("popularity", "??+++"), ("constant", "???++"), ("another user", "???++")]
)
def test_without_an_arm_to_compare_with_nothing_is_claimed(missing: str, left: str) -> None:
    gaps = {name: one for name, one in GOOD.items() if name != missing}
    stray = None if missing in ("constant", "another user") else STRAY
    assert held(gaps, None if missing == TEXT else 0.05, stray) == left
    assert held({}, None, None) == "?????"


def test_the_best_of_some_texts_is_not_the_best() -> None:
    found = claims(GOOD, 0.05, STRAY, are_all_texts=False)
    assert [found[goal]["holds"] for goal in ("above", "text", "tokens")] == [True, None, None]
