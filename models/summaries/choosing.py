"""Which way of writing summaries serves a task best: candidates scored on validation users by the downstream measure.

As in APE (Zhou et al., "Large language models are human-level prompt engineers", ICLR 2023): candidates are proposed,
each is scored by what a model answers that reads it, and the neighbours of the best are proposed in turn. How far
answers move with the candidate is told as a sensitivity index. The model that answers is trained on summaries of the
usual shape alone, so that what is far from it is scored too low rather than too high.
Shapes: T candidates, X cases, A answers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.summaries.downstream.answers import among, log_softmax
from models.summaries.downstream.cases import Case, Log, Task
from models.summaries.downstream.forms import FORM, Told, Writer, facts_before, found
from models.summaries.downstream.measures import MAIN, MEASURES, Means, differences, figures, means_of
from models.summaries.downstream.model import scores_of
from models.summaries.downstream.store import Reader
from models.summaries.downstream.train import Progress
from models.summaries.kinds import Shape
from models.summaries.retrieval import Retriever

TOLD: Final = FORM["summary+1"]  # the form in which candidates are told


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A candidate by what was answered. means: of each user. scores_XA: of what might be answered. tokens: of a summary
    and its entry, by the reader's own tokenizer."""

    means: Means
    scores_XA: NDArray[np.float64]
    tokens: float


class Scoring:
    """Scores ways of writing on the same cases; what does not depend on them is made once."""

    def __init__(self, log: Log, cases: Sequence[Case], task: Task, retriever: Retriever, reader: Reader) -> None:
        self.task = task
        self._cases = cases
        self._reader = reader
        self._levels_L = log.levels_L
        self._facts = facts_before(log, cases)
        self._found = found(log, cases, task, retriever)

    def __call__(self, writer: Writer) -> Scored:
        summaries = writer(self._facts)
        known = [Told(*both) for both in zip(self._found, summaries, strict=True)]
        prompts = [self._reader.prompts.of(*one, TOLD) for one in zip(self._cases, known, strict=True)]
        scores_XA = scores_of(self._reader.model, prompts)
        means = means_of(self.task, scores_XA, self._cases, self._levels_L)
        return Scored(means, among(self.task, scores_XA, self._cases), float(np.mean([one.history for one in prompts])))


def search(
    task: Task, score: Callable[[Shape], Scored], shape: Shape, rounds: int, progress: Progress | None = None
) -> tuple[dict[str, Shape], dict[str, Scored]]:
    """(shapes, how each scored) by name: the given one, its neighbours, those of the best that was found, and so on.

    Ends early when no neighbour is better.
    """
    shapes = {"usual": shape}
    scored = {"usual": score(shape)}
    best = "usual"
    for _ in range(rounds):
        new = {
            name if best == "usual" else f"{best}, {name}": one
            for name, one in neighbours(shapes[best])
            if one not in shapes.values()
        }
        for number, (name, one) in enumerate(new.items()):
            if progress is not None:
                progress(number, len(new), name)
            shapes[name], scored[name] = one, score(one)
        if (better := best_of(task, scored)) == best:
            break
        best = better
    return shapes, scored


def neighbours(shape: Shape) -> Iterator[tuple[str, Shape]]:
    """Shapes that differ in one thing: a slot left out, twice or half as roomy, or told first."""
    for place, slot in enumerate(shape.slots):
        before, after = shape.slots[:place], shape.slots[place + 1 :]
        if before or after:
            yield f"without {slot.kind}", replace(shape, slots=before + after)
        if slot.most > 1:
            for word, most in (("more", 2 * slot.most), ("less", slot.most // 2)):
                yield f"{word} {slot.kind}", replace(shape, slots=(*before, replace(slot, most=most), *after))
        if before:
            yield f"{slot.kind} first", replace(shape, slots=(slot, *before, *after))


def best_of(task: Task, scored: Mapping[str, Scored]) -> str:
    """The name of the one with the best figure; of those that are alike the one with the fewest tokens."""
    of, sign = MEASURES[MAIN[task]]
    return max(scored, key=lambda name: (sign * of(scored[name].means[MAIN[task]]), -scored[name].tokens))


def said_of(task: Task, scored: Mapping[str, Scored], resamples: int, seed: int) -> dict[str, Any]:
    """{candidate: figures, paired differences from the first, and tokens}; JSON values."""
    first = next(iter(scored.values()))
    return {
        name: {
            **figures(one.means, resamples, seed),
            "difference": differences(one.means, first.means, resamples, seed),
            "history_tokens": round(one.tokens, 1),
        }
        for name, one in scored.items()
    }


def sensitivity(scored: Sequence[Scored]) -> float | None:
    """How far answers move with the candidate, by POSIX (models/p5/sensitivity.py) for answers of one token: for
    candidates i and j, and y_i the likeliest answer to i,

        |log P(y_i | i) - log P(y_i | j)|

    averaged over the ordered pairs of different candidates, and over cases; None for fewer than two.
    """
    if len(scored) < 2:
        return None
    logs_TXA = np.stack([log_softmax(one.scores_XA) for one in scored])
    changes = [
        np.abs(own_X - np.take_along_axis(other_XA, answers_X1, axis=1)[:, 0]).mean()
        for i, own_XA in enumerate(logs_TXA)
        for answers_X1 in [own_XA.argmax(axis=1)[:, None]]
        for own_X in [own_XA.max(axis=1)]
        for j, other_XA in enumerate(logs_TXA)
        if i != j
    ]
    return float(np.mean(changes))
