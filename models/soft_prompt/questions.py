"""A question about a user with its choices, and how it is put to a language model."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from string import ascii_uppercase

from features.errors import InvalidInput
from models.soft_prompt.tasks import DIMENSIONS, Dimension, Task


class Style(StrEnum):
    """How an answer is given, and scored by its likelihood."""

    WORDS = "words"  # the choice itself: what a small model can do
    LETTERS = "letters"  # the letter before it


@dataclass(frozen=True, slots=True)
class Question:
    """user: the row among the log's users. cut: how many of the user's events, oldest first, may be known when it is
    asked: what an encoder is fed with. choices: different texts, of which exactly one is true. truth: its place.
    ranks: the place of each choice by popularity among training users, 0 for the most popular.
    n, category: what the text asks about: how far back, or of how many items; 0 and "" where the task has neither.
    """

    task: Task
    user: int
    cut: int
    text: str
    choices: tuple[str, ...]
    truth: int
    ranks: tuple[int, ...]
    n: int = 0
    category: str = ""

    @property
    def dimension(self) -> Dimension:
        return DIMENSIONS[self.task]

    @property
    def popularity_rank(self) -> int:
        """The truth's."""
        return self.ranks[self.truth]

    @property
    def guess(self) -> int:
        """The place of the most popular choice: what one answers who knows nothing of the user."""
        return self.ranks.index(0)


def rendered(question: Question, style: Style | str) -> tuple[str, tuple[str, ...]]:
    """(prompt, the answer of each choice) in plain text; an answer follows its prompt with nothing in between.

    The choices are told in either style: which of them a user likes best is not to be said without them.
    """
    return put(question.text, question.choices, style)


def put(text: str, choices: Sequence[str], style: Style | str) -> tuple[str, tuple[str, ...]]:
    """The same of a text and its choices, of which there may be none. Raises InvalidInput for more than letters."""
    if Style(style) is Style.WORDS:
        told = "".join(f"- {choice}\n" for choice in choices)
        return f"{text}\n{told}Answer:", tuple(f" {choice}" for choice in choices)
    letters = ascii_uppercase[: len(choices)]
    if len(letters) < len(choices):
        raise InvalidInput(
            "choices", f"{len(choices)} were given; they are answered by letters, of which {len(letters)}"
        )
    told = "".join(f"{letter}. {choice}\n" for letter, choice in zip(letters, choices, strict=True))
    return f"{text}\n{told}Answer:", tuple(f" {letter}" for letter in letters)
