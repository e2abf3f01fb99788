"""A question about a user with its choices, and how it is put to a language model."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from string import ascii_uppercase
from typing import Final

from features.errors import InvalidInput
from models.soft_prompt.tasks import DIMENSIONS, Dimension, Task

CUE: Final = "\nAnswer:"  # between what is asked and its answer


class Style(StrEnum):
    """How an answer is given, and scored by its likelihood."""

    WORDS = "words"  # the choice itself: what a small model can do
    OPEN = "open"  # the same, without the choices being told before: a third of the tokens
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
    """(prompt, the answer of each choice) in plain text; between an answer and its prompt there is the cue alone.

    In an open question the choices are told by nothing but their own likelihoods.
    """
    return put(question.text, question.choices, style)


def put(text: str, choices: Sequence[str], style: Style | str) -> tuple[str, tuple[str, ...]]:
    """The same of a text and its choices, of which there may be none. Raises InvalidInput for more than letters."""
    if Style(style) is Style.LETTERS:
        letters = ascii_uppercase[: len(choices)]
        if len(letters) < len(choices):
            raise InvalidInput(
                "choices", f"{len(choices)} were given; they are answered by letters, of which {len(letters)}"
            )
        told = "".join(f"\n{letter}. {choice}" for letter, choice in zip(letters, choices, strict=True))
        return text + told, tuple(f" {letter}" for letter in letters)
    told = "" if Style(style) is Style.OPEN else "".join(f"\n- {choice}" for choice in choices)
    return text + told, tuple(f" {choice}" for choice in choices)
