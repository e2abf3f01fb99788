"""A fact about a user: computed from the history, borne out by events, and the only thing that a summary may state."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

import orjson

from features.events import EventId


class FactKind(StrEnum):
    """What a fact is about."""

    ACTIVITY = "activity"  # how many events, over how long
    HABIT = "rating_habit"  # the mean of all ratings, and how they spread
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


EVIDENCE_MOST = 20
_BY_NAME = frozenset(
    {
        FactKind.LIKED_CATEGORY,
        FactKind.DISLIKED_CATEGORY,
        FactKind.FAVOURITE,
        FactKind.DISLIKED,
        FactKind.DRIFT,
    }
)


def digest(facts: Iterable[Fact]) -> str:
    """The same for the same facts, without their evidence: new events that change no fact change no digest."""
    said: Sequence[object] = [(one.kind, one.names, one.numbers, one.polarity, one.detail) for one in facts]
    return sha256(orjson.dumps(said)).hexdigest()[:16]
