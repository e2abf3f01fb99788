"""What summaries are for, and which facts each kind has room for.

Task-aware summaries are Richardson et al.'s (arXiv 2310.20081): for rating, typical scores for what is liked and what
is not; for tagging, the prior of the labels in a slot; for writing, how the user goes about it. A slot also says
whether numbers are told: what is left out takes no tokens, and no summary is written anew because of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from models.summaries.fact import Fact, FactKind


class SummaryKind(StrEnum):
    GENERAL = "general"  # for people to read
    RANKING = "ranking"  # which item comes next
    RATING = "rating"  # how an item will be rated
    TAGGING = "tagging"  # which label is given
    STYLE = "style"  # how to write to, or for, the user


@dataclass(frozen=True, slots=True)
class Slot:
    """Room for facts of a kind. most: how many facts; of a fact with several names, how many of them. has_numbers:
    whether the numbers beside names are told."""

    kind: FactKind
    most: int = 1
    has_numbers: bool = True


@dataclass(frozen=True, slots=True)
class Shape:
    """The slots of a kind in the order they are told. tokens: what a summary is to take at most, a bound for what
    writes it; by template the terse kinds take about half of it."""

    slots: tuple[Slot, ...]
    tokens: int


SHAPES: Final[Mapping[SummaryKind, Shape]] = {
    SummaryKind.GENERAL: Shape(
        (
            Slot(FactKind.ACTIVITY),
            Slot(FactKind.HABIT),
            Slot(FactKind.LIKED_CATEGORY, 3),
            Slot(FactKind.DISLIKED_CATEGORY, 2),
            Slot(FactKind.VARIETY, 3),
            Slot(FactKind.DRIFT, 2),
            Slot(FactKind.FAVOURITE, 3, has_numbers=False),
            Slot(FactKind.DISLIKED, 2, has_numbers=False),
            Slot(FactKind.ERA),
            Slot(FactKind.TIMES),
        ),
        320,
    ),
    SummaryKind.RANKING: Shape(
        (
            Slot(FactKind.RECENT, 4),
            Slot(FactKind.FAVOURITE, 2, has_numbers=False),
            Slot(FactKind.LIKED_CATEGORY, 2, has_numbers=False),
            Slot(FactKind.DRIFT),
        ),
        120,
    ),
    SummaryKind.RATING: Shape(
        (
            Slot(FactKind.HABIT),
            Slot(FactKind.LATELY),
            Slot(FactKind.LIKED_CATEGORY, 3),
            Slot(FactKind.DISLIKED_CATEGORY, 3),
        ),
        120,
    ),
    SummaryKind.TAGGING: Shape(
        (
            Slot(FactKind.VARIETY, 3),
            Slot(FactKind.LIKED_CATEGORY, 2, has_numbers=False),
            Slot(FactKind.DRIFT, 2),
        ),
        120,
    ),
    SummaryKind.STYLE: Shape(
        (
            Slot(FactKind.ACTIVITY),
            Slot(FactKind.HABIT),
            Slot(FactKind.VARIETY, 2),
            Slot(FactKind.LIKED_CATEGORY, 2, has_numbers=False),
            Slot(FactKind.FAVOURITE, 1, has_numbers=False),
            Slot(FactKind.ERA),
            Slot(FactKind.TIMES),
        ),
        160,
    ),
}
_WITH_SEVERAL_NAMES: Final = frozenset({FactKind.RECENT, FactKind.VARIETY})


def chosen(facts: Iterable[Fact], kind: SummaryKind) -> tuple[Fact, ...]:
    """The facts that a summary of this kind tells, in its order, without the numbers that it leaves out."""
    return fitting(facts, SHAPES[kind])


def fitting(facts: Iterable[Fact], shape: Shape) -> tuple[Fact, ...]:
    """The facts that a shape has room for, in its order, without the numbers that it leaves out.

    What is "chosen often" says again what the history is made of: of the two it is told once.
    """
    facts = tuple(facts)
    kept: list[Fact] = []
    for slot in shape.slots:
        those = [fact for fact in facts if fact.kind is slot.kind and not _is_told(fact, kept)]
        kept += [_cut(fact, slot) for fact in those[: 1 if slot.kind in _WITH_SEVERAL_NAMES else slot.most]]
    return tuple(kept)


def _is_told(fact: Fact, kept: Iterable[Fact]) -> bool:
    if fact.detail == "chosen":
        return any(one.kind is FactKind.VARIETY for one in kept)
    return fact.kind is FactKind.VARIETY and any(one.detail == "chosen" for one in kept)


def _cut(fact: Fact, slot: Slot) -> Fact:
    if not fact.names:
        return fact
    names = fact.names[: slot.most]
    numbers = fact.numbers[: slot.most] if slot.has_numbers else ()
    evidence = fact.evidence[: slot.most] if fact.kind is FactKind.RECENT else fact.evidence
    return replace(fact, names=names, numbers=numbers, evidence=evidence)
