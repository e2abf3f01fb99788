"""What a weight update must reach to be worth its place, and whether it does, by an evaluation's figures."""

from collections.abc import Mapping
from typing import Any, Final

from models.soft_prompt.comparing import AVERAGE

RIVALS: Final = ("zero-shot", "popularity", "constant", "another user")
TEXT: Final = "text"
SLOWER: Final = 1.5  # times the adapted request's latency: what recency in the prompt may take

ABOVE: Final = "on average above the frozen model, popularity and both controls"
FALLS: Final = "fed with another user's past on average not above the constant"
NOT_BELOW: Final = f"on average not below tuned text of as many events as take {SLOWER:g} times the latency"

Figures = Mapping[str, Mapping[str, float]]


def claims(
    gaps: Mapping[str, Figures], stray: Mapping[str, float] | None, text: str | None = None
) -> dict[str, dict[str, Any]]:
    """By the goal, {is, holds}, with the figure that decides; holds is None where an arm to compare with is missing.

    gaps: an arm's differences to RIVALS and to TEXT, by dimension and on average. stray: how much better than the
    constant it is on average when it is fed with another user's past. text: the name of the arm that TEXT is.
    """
    rivals = {name: gaps[name][AVERAGE]["low"] for name in RIVALS if name in gaps}
    lowest = min(rivals.values(), default=None)
    worst = gaps.get(TEXT, {}).get(AVERAGE)
    return {
        "above": {
            "is": f"{ABOVE}: the lowest bound of the differences is above 0",
            "lowest": lowest,
            "holds": lowest > 0 if lowest is not None and len(rivals) == len(RIVALS) else None,
        },
        "falls": {
            "is": f"{FALLS}: the lower bound of the difference is not above 0",
            "difference": None if stray is None else dict(stray),
            "holds": None if stray is None else stray["low"] <= 0,
        },
        "text": {
            "is": f"{NOT_BELOW}: the difference is not below 0",
            "arm": text,
            "difference": None if worst is None else dict(worst),
            "holds": None if worst is None else worst["value"] >= 0,
        },
    }


def rival(latency: float, texts: Mapping[str, float | None]) -> str | None:
    """Of texts from the fewest events to the most, by the latencies of their requests, all in one unit: the first that
    takes SLOWER times the adapted one's or more, the last where none does. None of none, or where a latency is unknown
    (None) that might decide."""
    for name, one in texts.items():
        if one is None:
            return None
        if one >= SLOWER * latency:
            return name
    return [*texts][-1] if texts else None
