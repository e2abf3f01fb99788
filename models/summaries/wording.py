"""Facts in words, by template: plain, short, and several ways of saying each.

The first way is the tersest; the others are what a generator learns from to say it in its own words.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from features.profile import Claim
from models.summaries.fact import EVIDENCE_MOST, Fact, FactKind

_HABITS: Final = {
    "": (
        "Rates {0} on average, mostly {1}.",
        "Average rating {0}, mostly {1}.",
        "Their mean rating is {0}, mostly {1}.",
    ),
    "generous": (
        "Rates high: {0} on average, mostly {1}.",
        "Generous: rates {0} on average, mostly {1}.",
        "A generous rater, with a mean of {0}, mostly {1}.",
    ),
    "strict": (
        "Rates low: {0} on average, mostly {1}.",
        "Strict: rates {0} on average, mostly {1}.",
        "A strict rater, with a mean of {0}, mostly {1}.",
    ),
}
# By kind, detail and, where it makes a difference, how many numbers. {}: the names, each with its number.
_WORDINGS: Final[dict[tuple[FactKind, str], tuple[str, ...]]] = {
    (FactKind.ACTIVITY, ""): ("{0}.", "{0} in all.", "Has {0} so far.", "They have {0} so far."),
    (FactKind.ACTIVITY, "over"): ("{0} over {1}.", "{0} in {1}.", "Has {0} over {1}.", "They have {0} over {1}."),
    (FactKind.ACTIVITY, "day"): ("{0} within a day.", "{0}, all within a day.", "Has {0}, all within a day."),
    **{(FactKind.HABIT, detail): wordings for detail, wordings in _HABITS.items()},
    (FactKind.LATELY, ""): ("Lately rates {0}.", "Of late ratings average {0}.", "Lately {0} on average."),
    (FactKind.LIKED_CATEGORY, ""): ("Likes {}.", "Enjoys {}.", "Is fond of {}.", "They like {}.", "Rates {} high."),
    (FactKind.LIKED_CATEGORY, "chosen"): ("Often chooses {}.", "Often goes for {}.", "They often choose {}."),
    (FactKind.DISLIKED_CATEGORY, ""): (
        "Less fond of {}.",
        "Less keen on {}.",
        "Rates {} lower.",
        "They are less fond of {}.",
    ),
    (FactKind.DISLIKED_CATEGORY, "low"): ("Dislikes {}.", "Rates {} low.", "They dislike {}.", "Is let down by {}."),
    (FactKind.FAVOURITE, ""): ("Loved {}.", "Favourites: {}.", "Rated high: {}.", "They loved {}."),
    (FactKind.FAVOURITE, "again"): ("Comes back to {}.", "Returns to {}.", "They come back to {}."),
    (FactKind.DISLIKED, ""): ("Disliked {}.", "Rated low: {}.", "They disliked {}.", "Was let down by {}."),
    (FactKind.RECENT, ""): ("Recent: {}.", "Newest first: {}.", "Most recently: {}.", "Their latest are {}."),
    (FactKind.DRIFT, "rising"): ("Lately more {}.", "More {} of late.", "Has turned to {} lately."),
    (FactKind.DRIFT, "falling"): ("Lately less {}.", "Less {} of late.", "Has turned away from {} lately."),
    (FactKind.VARIETY, ""): ("Mostly {}.", "Mainly {}.", "What they choose is mostly {}."),
    (FactKind.VARIETY, "narrow"): ("Narrow taste: mostly {}.", "A narrow taste, mainly {}."),
    (FactKind.VARIETY, "broad"): ("Broad taste: mostly {}.", "A broad taste, mainly {}."),
    (FactKind.ERA, ""): ("{1} from the {0}.", "About {1} are from the {0}.", "Mostly from the {0} ({1})."),
    (FactKind.TIMES, "night"): ("Active at night (UTC).", "Mostly active at night (UTC)."),
    **{
        (FactKind.TIMES, part): (f"Active in the {part} (UTC).", f"Mostly active in the {part} (UTC).")
        for part in ("morning", "afternoon", "evening")
    },
    (FactKind.TIMES, "weekend"): ("Active at the weekend (UTC).", "Mostly active at the weekend (UTC)."),
}
STYLES: Final = max(map(len, _WORDINGS.values()))


def sentence(fact: Fact, style: int = 0) -> str:
    """One fact in words. style: which of the ways to say it, counted round; 0 the tersest."""
    return _worded([fact], style)


def from_template(facts: Iterable[Fact], style: int = 0) -> tuple[Claim, ...]:
    """The facts in words, in their order; neighbours that say the same of other names stand in one sentence."""
    return tuple(
        claim_of(_worded(group, style), group)
        for group in (list(same) for _, same in groupby(facts, lambda fact: (fact.kind, fact.detail)))
    )


def listed(fact: Fact) -> list[str]:
    """What a sentence about the fact has to list: its names, each with its number, or the numbers alone."""
    if not fact.names or not fact.numbers:
        return list(fact.names or fact.numbers)
    return [f"{name} ({number})" for name, number in zip(fact.names, fact.numbers, strict=True)]


def claim_of(text: str, facts: Sequence[Fact]) -> Claim:
    """A sentence with what it rests on. Of the evidence of several facts as much of each is kept."""
    share = max(1, EVIDENCE_MOST // len(facts))
    evidence = dict.fromkeys(event for fact in facts for event in fact.evidence[:share])
    return Claim(text, tuple(fact.key for fact in facts), tuple(evidence))


def _worded(facts: Sequence[Fact], style: int) -> str:
    first = facts[0]
    detail = "over" if first.kind is FactKind.ACTIVITY and len(first.numbers) > 1 else first.detail
    wordings = _WORDINGS[first.kind, detail]
    wording = wordings[style % len(wordings)]
    if not first.names:
        return wording.format(*first.numbers)
    said = [one for fact in facts for one in listed(fact)]
    return wording.format(("; " if any("," in one for one in said) else ", ").join(said))
