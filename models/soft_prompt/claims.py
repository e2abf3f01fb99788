"""What a soft prompt must reach to be worth its place, and whether it does, by an evaluation's figures."""

from collections.abc import Mapping
from typing import Any, Final

from models.soft_prompt.comparing import AVERAGE
from models.soft_prompt.tasks import Dimension

POINTS: Final = 0.1  # of accuracy in the perception of interests
SHARE: Final = 0.1  # of a text's tokens
RIVALS: Final = ("popularity", "constant", "another user")
TEXT: Final = "text"

ABOVE: Final = "above popularity and both controls in every dimension"
PLAINLY: Final = f"at least {100 * POINTS:.0f} points above them in {Dimension.INTEREST}"
FALLS: Final = "fed with another user's past on average not above the constant"
NOT_BELOW: Final = "on average not below the best tuned text"
SHORT: Final = f"at most {SHARE:.0%} of that text's history tokens"

Figures = Mapping[str, Mapping[str, float]]


def claims(
    gaps: Mapping[str, Figures],
    share: float | None,
    stray: Mapping[str, float] | None,
    *,
    are_all_texts: bool = True,
) -> dict[str, dict[str, Any]]:
    """By the goal, {is, holds}, with the figure that decides; holds is None where an arm to compare with is missing.

    gaps: an arm's differences to RIVALS and to TEXT, by dimension and on average. share: of the text's history tokens.
    stray: how much better than the constant it is on average when it is fed with another user's past. are_all_texts:
    whether TEXT was chosen among all; the best of some is not the best.
    """
    rivals = [gaps[name] for name in RIVALS if name in gaps]
    are_all = len(rivals) == len(RIVALS)
    lowest = min((gap[name]["low"] for gap in rivals for name in gap if name != AVERAGE), default=None)
    interests = [gap[Dimension.INTEREST] for gap in rivals if Dimension.INTEREST in gap]
    least = min((one["value"] for one in interests), default=None)
    text = gaps.get(TEXT, {}).get(AVERAGE)
    return {
        "above": {
            "is": f"{ABOVE}: the lowest bound of the differences is above 0",
            "lowest": lowest,
            "holds": lowest > 0 if are_all and lowest is not None else None,
        },
        "interest": {
            "is": f"{PLAINLY}: the least difference is, and every lower bound is above 0",
            "least": least,
            "lowest": min((one["low"] for one in interests), default=None),
            "holds": least >= POINTS and all(one["low"] > 0 for one in interests)
            if are_all and least is not None
            else None,
        },
        "falls": {
            "is": f"{FALLS}: the lower bound of the difference is not above 0",
            "difference": None if stray is None else dict(stray),
            "holds": None if stray is None else stray["low"] <= 0,
        },
        "text": {
            "is": f"{NOT_BELOW}: the difference is not below 0",
            "difference": None if text is None else dict(text),
            "holds": None if text is None or not are_all_texts else text["value"] >= 0,
        },
        "tokens": {
            "is": SHORT,
            "share": share,
            "holds": None if share is None or not are_all_texts else share <= SHARE,
        },
    }
