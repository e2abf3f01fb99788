"""What people and services ask of P5, and what it answers, in rows of items."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from models.p5.past import Person
from models.p5.templates import Family, Task

FROM_MODEL: Final = "model"
FROM_FACTS: Final = "model, trained on facts"
FACTS: Final = "facts"
UNTRAINED: Final = "untrained"


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """One question. Of an item: rating, explanation, direct. Of candidates, one of which suits best: direct.

    text: a review. stars: those that an explanation is of. k: how many next items. seen: rows that must not be among
    them, besides the history. template: the id of a wording; the first of its task when None.
    """

    family: Family
    person: Person
    item: int | None = None
    candidates: tuple[int, ...] = ()
    text: str = ""
    stars: float | None = None
    k: int = 10
    template: str | None = None
    seen: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """items: rows with their log-probabilities, greatest first. text: an explanation, a headline, or the verdict of the
    greatest probability. stars: the mean of the five, as probable as each is. log_probability: the verdict's, among the
    words that may answer. made_from: the answers that training had, FROM_MODEL, FROM_FACTS or UNTRAINED; or
    FACTS, for an explanation that was told by the facts themselves, since what the model wrote was not true.
    """

    family: Family
    task: Task
    template: str
    text: str = ""
    items: tuple[tuple[int, float], ...] = ()
    stars: float | None = None
    log_probability: float | None = None
    made_from: str = FROM_MODEL
