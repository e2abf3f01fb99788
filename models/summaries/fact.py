"""A fact about a user: computed from the history, borne out by events, and the only thing that a summary may state."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final

import orjson

from features.events import EventId


class FactKind(StrEnum):
    """What a fact is about."""

    ACTIVITY = "activity"  # how many events, over how long
    HABIT = "rating_habit"  # the mean of all ratings, and how they spread
    LATELY = "rating_lately"  # the mean of the newest ratings
    LIKED_CATEGORY = "liked_category"
    DISLIKED_CATEGORY = "disliked_category"
    FAVOURITE = "favourite"  # items
    DISLIKED = "disliked"  # items
    RECENT = "recent"  # the newest items
    DRIFT = "drift"  # a category that has lately come up, or gone
    VARIETY = "variety"  # how many categories make up most of it
    TIMES = "times"  # when the user is active
    ERA = "era"  # the decades that the items are from, where titles tell years


class Polarity(StrEnum):
    POSITIVE = "positive"
    NEGATIVE = "negative"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True)
class Fact:
    """names: titles or categories, cleaned. numbers: each as it may be written ("4.2", "17"). detail: which of several
    forms a fact of this kind has ("rising", "evening"), "" for the only one. evidence: ids of the events that bear it
    out, at most EVIDENCE_MOST of them, the weightiest first."""

    kind: FactKind
    names: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    polarity: Polarity = Polarity.NEUTRAL
    detail: str = ""
    evidence: tuple[EventId, ...] = ()

    @property
    def key(self) -> str:
        """What a correction names it by: the same while it is about the same, whatever its numbers are."""
        return ":".join([self.kind, *self.names]) if self.kind in _BY_NAME else str(self.kind)


EVIDENCE_MOST: Final = 20
_PLAIN: Final = re.compile(r"-?\d+(?:\.\d+)?")
_BY_NAME: Final = frozenset(
    {
        FactKind.LIKED_CATEGORY,
        FactKind.DISLIKED_CATEGORY,
        FactKind.FAVOURITE,
        FactKind.DISLIKED,
        FactKind.DRIFT,
    }
)


def digest(facts: Iterable[Fact]) -> str:
    """What a summary of these facts is made of, in so far as it matters: facts with one digest need no new summary.

    Evidence is no part of it, nor is the order of facts of a kind; plain numbers count to a half, shares to a fifth.
    """
    said = sorted({(one.kind, one.detail, one.names, tuple(map(_coarse, one.numbers))) for one in facts})
    return sha256(orjson.dumps(said)).hexdigest()[:16]


def _coarse(number: str) -> str:
    if number.endswith("%"):
        return f"{round(int(number[:-1]) / 20) * 20}%"
    return str(round(float(number) * 2) / 2) if _PLAIN.fullmatch(number) else number
