"""Facts in words of many kinds: what a generator is shown, so that it says facts as a person would.

Facts of a kind become a clause ("enjoys Drama (4.2) and War"), neighbouring clauses now and then one sentence ("They
enjoy Drama (4.2) and War, but were let down by Jaws 2."). Every word is one that the check lets pass, and which of them
is drawn. By itself no way of saying a fact is the template's: a generator that is taught these says what the template
does not.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

import numpy as np

from models.summaries.fact import Fact, FactKind, Polarity

# {}: the names, each with its number; {0}, {1}: the numbers. a/b: a of this user, b of them. [a|b]: a
# where there is one name, b where there are several. Ways that begin with = have a subject of their own.
_HABIT: Final = ("=their average rating is {0}, mostly {1}", "=their mean rating is {0}, mostly from {1}")
_ACTIVE: Final = ("is/are mostly active {} (UTC)", "is/are active {} (UTC)")
WAYS: Final[Mapping[tuple[FactKind, str], Sequence[str]]] = {
    (FactKind.ACTIVITY, ""): ("has/have {0} in all", "={0} so far"),
    (FactKind.ACTIVITY, "over"): ("has/have {0} in {1} so far", "={0} in {1} so far"),
    (FactKind.ACTIVITY, "day"): ("has/have {0} within a day",),
    (FactKind.HABIT, ""): _HABIT,
    (FactKind.HABIT, "generous"): (*_HABIT, "is/are generous, with a mean rating of {0}, mostly {1}"),
    (FactKind.HABIT, "strict"): (*_HABIT, "is/are strict, with a mean rating of {0}, mostly {1}"),
    (FactKind.LATELY, ""): ("=their ratings lately average {0}",),
    (FactKind.LIKED_CATEGORY, ""): ("enjoys/enjoy {}", "loves/love {}", "is/are fond of {}", "is/are keen on {}"),
    (FactKind.LIKED_CATEGORY, "chosen"): ("often goes/go for {}",),
    (FactKind.DISLIKED_CATEGORY, ""): ("is/are less keen on {}",),
    (FactKind.DISLIKED_CATEGORY, "low"): ("is/are less keen on {}", "is/are disappointed by {}"),
    (FactKind.FAVOURITE, ""): ("enjoyed {}", "liked {}", "=their [favourite is|favourites are] {}"),
    (FactKind.FAVOURITE, "again"): ("returns/return to {}",),
    (FactKind.DISLIKED, ""): ("was/were let down by {}", "was/were disappointed by {}"),
    (FactKind.RECENT, ""): ("=the newest [is|are] {}",),
    (FactKind.DRIFT, "rising"): ("is/are turning to {} lately", "=of late, more {}"),
    (FactKind.DRIFT, "falling"): ("is/are turning away from {} lately", "=of late, less {}"),
    (FactKind.VARIETY, ""): ("=what they choose is mainly {}",),
    (FactKind.VARIETY, "narrow"): ("=their narrow taste is mostly {}", "=what they choose is mainly {}"),
    (FactKind.VARIETY, "broad"): ("=their broad taste is mostly {}", "=what they choose is mainly {}"),
    (FactKind.ERA, ""): ("={1} are from the {0}",),
    (FactKind.TIMES, "night"): tuple(way.format("at night") for way in _ACTIVE),
    (FactKind.TIMES, "weekend"): tuple(way.format("at the weekend") for way in _ACTIVE),
    **{
        (FactKind.TIMES, part): tuple(way.format(f"in the {part}") for way in _ACTIVE)
        for part in ("morning", "afternoon", "evening")
    },
}
_USER: Final = "This user"
_THEY: Final = "They"
_MERGED: Final = 0.7  # of the neighbours that may stand in one sentence
_CLAUSES_MOST: Final = 2
_BY_SUBJECT: Final = re.compile(r"(\w+)/(\w+)")
_BY_COUNT: Final = re.compile(r"\[([^|]*)\|([^|]*)\]")


def phrased(facts: Sequence[Fact], rng: np.random.Generator) -> str:
    """The facts in words that are drawn, all of them, in their order; neighbours of a kind in one clause."""
    groups = [list(group) for _, group in groupby(facts, lambda fact: (fact.kind, fact.detail))]
    sentences: list[list[_Clause]] = []
    for group in groups:
        clause = _Clause(group, _drawn(WAYS[_form(group[0])], rng))
        if sentences and len(sentences[-1]) < _CLAUSES_MOST and rng.random() < _MERGED:
            sentences[-1].append(clause)
        else:
            sentences.append([clause])
    subject = _drawn((_USER, _THEY), rng)
    texts = []
    for sentence in sentences:
        texts.append(_sentence(sentence, subject, rng))
        if any(not clause.has_subject for clause in sentence):
            subject = _THEY
    return " ".join(texts)


@dataclass(frozen=True, slots=True)
class _Clause:
    facts: Sequence[Fact]
    way: str

    @property
    def has_subject(self) -> bool:
        return self.way.startswith("=")

    def said_of(self, subject: str, rng: np.random.Generator) -> str:
        names = [name for fact in self.facts for name in _named(fact)] if self.facts[0].names else []
        text = _BY_SUBJECT.sub(r"\1" if subject == _USER else r"\2", self.way.removeprefix("="))
        text = _BY_COUNT.sub(r"\1" if len(names) == 1 else r"\2", text)
        return text.format(_listed(names, rng)) if names else text.format(*self.facts[0].numbers)


def _form(fact: Fact) -> tuple[FactKind, str]:
    is_long = fact.kind is FactKind.ACTIVITY and len(fact.numbers) > 1
    return fact.kind, "over" if is_long else fact.detail


def _sentence(clauses: Sequence[_Clause], subject: str, rng: np.random.Generator) -> str:
    """Clauses as one sentence; of two that say what the user does, the second goes without its subject."""
    first = clauses[0]
    text = first.said_of(subject, rng)
    text = text if first.has_subject else f"{subject} {text}"
    for before, clause in pairwise(clauses):
        is_turn = {before.facts[0].polarity, clause.facts[0].polarity} == {Polarity.POSITIVE, Polarity.NEGATIVE}
        joint = _drawn((", but", ", while") if is_turn else (", and", ";"), rng)
        is_short = clause.has_subject or (not before.has_subject and joint != ";" and joint != ", while")
        whom = "" if is_short else f"{subject.lower()} "
        text = f"{text}{joint} {whom}{clause.said_of(subject, rng)}"
    return f"{text[0].upper()}{text[1:]}."


def _named(fact: Fact) -> list[str]:
    if not fact.numbers:
        return list(fact.names)
    return [f"{name} ({number})" for name, number in zip(fact.names, fact.numbers, strict=True)]


def _listed(names: Sequence[str], rng: np.random.Generator) -> str:
    comma = "; " if any("," in name for name in names) else ", "
    last = _drawn((" and ", comma), rng)
    return last.join([comma.join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _drawn(ways: Sequence[str], rng: np.random.Generator) -> str:
    return ways[int(rng.integers(len(ways)))]
