"""Which questions are asked in a training, in which order and in which company.

Every task takes as much of the time as any other: four titles take as long as a dozen questions about categories.
Within a task all questions are asked, in an order drawn anew, before one is asked again.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from models.soft_prompt.config import LOT
from models.soft_prompt.layout import Asked
from models.soft_prompt.questions import Question
from models.soft_prompt.tasks import Task

RIVALS: Final = 24  # tokens of choices that are contrasted with each other
_SAMPLE: Final = 64  # questions of a task, by which what it takes is measured
_WINDOW: Final = 16  # lots' worth of questions that are sorted by length together

Lot = list[tuple[Question, Asked]]  # each question with choices


class Paced(Protocol):
    """batch: questions of a step. steps: of the training. every: those of a round."""

    @property
    def batch(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def every(self) -> int: ...


class Taught(Protocol):
    """Who is asked."""

    @property
    def config(self) -> Paced: ...

    def asked(self, question: Question) -> Asked:
        """The tokens of a question and of its choices."""
        ...

    def reads(self, asked: Asked) -> int:
        """The tokens that are read for a question in training."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """places_of: of each task, where its questions are. share_of: the part of the questions that are of it."""

    taught: Taught
    questions: Sequence[Question]
    seed: int
    places_of: Mapping[Task, NDArray[np.int64]]
    share_of: Mapping[Task, float]

    @classmethod
    def of(cls, taught: Taught, questions: Sequence[Question], seed: int) -> Self:
        places_of: dict[Task, list[int]] = {}
        for place, question in enumerate(questions):
            places_of.setdefault(question.task, []).append(place)
        rng = np.random.default_rng(seed)
        ease_of = {}
        for task, places in places_of.items():
            some = [contrasted(questions[place], taught.asked(questions[place]), rng) for place in places[:_SAMPLE]]
            ease_of[task] = 1 / np.mean([_takes(taught, asked) for _, asked in some])
        whole = sum(ease_of.values())
        return cls(
            taught,
            questions,
            seed,
            {task: np.array(places, np.int64) for task, places in places_of.items()},
            {task: float(ease / whole) for task, ease in ease_of.items()},
        )

    def steps(self, number: int) -> Iterator[list[Lot]]:
        """Those of a round."""
        first, end = self.round(number)
        rng = np.random.default_rng((self.seed, number))
        yield from self.cut(self.places(first, end, rng), rng)

    def round(self, number: int) -> tuple[int, int]:
        """How many questions are asked before a round, and before the next."""
        config = self.taught.config
        return number * config.every * config.batch, min((number + 1) * config.every, config.steps) * config.batch

    def places(self, first: int, end: int, rng: np.random.Generator) -> list[int]:
        """Where the questions are that are asked after so many and before so many, in a drawn order."""
        places = np.concatenate([self._places(task, first, end) for task in self.places_of])
        found: list[int] = rng.permutation(places)[: end - first].tolist()
        return found

    def cut(self, places: Sequence[int], rng: np.random.Generator) -> Iterator[list[Lot]]:
        """Steps of these questions. What is read together is of about one length, and so mostly of one task; a step
        takes several such lots, for what one task teaches is noise to the others."""
        batch = self.taught.config.batch
        lot = min(batch, LOT)
        width = lot * _WINDOW
        lots: list[Lot] = []
        for begin in range(0, len(places), width):
            chosen = (self.questions[place] for place in places[begin : begin + width])
            some = [contrasted(question, self.taught.asked(question), rng) for question in chosen]
            some.sort(key=lambda one: _takes(self.taught, one[1]))
            cut = [some[place : place + lot] for place in range(0, len(some), lot)]
            lots += [cut[place] for place in rng.permutation(len(cut))]
        each = batch // lot
        yield from (lots[place : place + each] for place in range(0, len(lots), each))

    def _places(self, task: Task, first: int, end: int) -> NDArray[np.int64]:
        """The task's part of so many questions, rounded up."""
        places, share = self.places_of[task], self.share_of[task]
        own = np.arange(math.floor(first * share), math.ceil(end * share))
        asked_before, order = divmod(own, len(places))
        drawn = [
            np.random.default_rng((self.seed, again, 1)).permutation(places)[order[asked_before == again]]
            for again in np.unique(asked_before).tolist()
        ]
        return np.concatenate(drawn)


def contrasted(question: Question, asked: Asked, rng: np.random.Generator) -> tuple[Question, Asked]:
    """The question with the true choice and others, drawn, as many as have RIVALS tokens together, but one at least."""
    words, answers = asked
    kept, tokens = [question.truth], len(answers[question.truth])
    for place in rng.permutation([place for place in range(len(answers)) if place != question.truth]).tolist():
        tokens += len(answers[place])
        if len(kept) > 1 and tokens > RIVALS:
            break
        kept.append(place)
    kept.sort()
    fewer = replace(
        question,
        choices=tuple(question.choices[place] for place in kept),
        ranks=tuple(question.ranks[place] for place in kept),
        truth=kept.index(question.truth),
    )
    return fewer, (words, [answers[place] for place in kept])


def _takes(taught: Taught, asked: Asked) -> int:
    """The tokens of a question, and one for what it takes besides."""
    return 1 + taught.reads(asked)
