"""The forms of prompt that are compared: what each tells of a user before the question.

Summary first, then entries, the one most to the point beside the question (Richardson et al., 2023, section 3).
Shapes: K entries found.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from models.summaries.computing import STARS, facts_of
from models.summaries.downstream.cases import Case, Log, Task, rows_of
from models.summaries.entries import named
from models.summaries.fact import Fact
from models.summaries.retrieval import Retriever

FOUND: Final = 16  # most entries that a form retrieves
_AT_ONCE: Final = 2000  # users whose facts are computed together


@dataclass(frozen=True, slots=True)
class Form:
    """has_summary: whether the summary is told. by: how entries are chosen, "" for none; k: how many."""

    name: str
    has_summary: bool = False
    by: str = ""
    k: int = 0


RECENCY: Final = "recency"
RETRIEVAL: Final = "retrieval"
ALL: Final = "full"

FORMS: Final[Sequence[Form]] = (
    Form("none"),
    *(Form(f"recency-{k}", by=RECENCY, k=k) for k in (1, 4, 16)),
    *(Form(f"retrieval-{k}", by=RETRIEVAL, k=k) for k in (1, 4, FOUND)),
    Form("summary", has_summary=True),
    Form("summary+1", has_summary=True, by=RETRIEVAL, k=1),
    Form("full", by=ALL),
)
FORM: Final[Mapping[str, Form]] = {form.name: form for form in FORMS}

Summary = tuple[str, ...]
"""Sentences."""

Writer = Callable[[Sequence[Sequence[Fact]]], Sequence[Summary]]
"""The facts of each of several users -> the summary of each."""


class Told(NamedTuple):
    """What is known of a user when a case is asked about. found_K: places of entries, the best first."""

    found_K: tuple[int, ...]
    summary: Summary


def told(log: Log, cases: Sequence[Case], task: Task, retriever: Retriever, writer: Writer) -> list[Told]:
    """What came before each case, as forms tell it."""
    summaries = writer(facts_before(log, cases))
    return [Told(*both) for both in zip(found(log, cases, task, retriever), summaries, strict=True)]


def history_of(log: Log, case: Case, known: Told, form: Form) -> list[str]:
    """The parts of a prompt that tell of the user, in order; of a full history all, however long."""
    entries = log.entries[case.user]
    if form.by == RETRIEVAL:
        places = known.found_K[: form.k][::-1]
    else:
        count = form.k if form.by == RECENCY else case.place if form.by == ALL else 0
        places = tuple(range(max(case.place - count, 0), case.place))
    summary = known.summary if form.has_summary else ()
    return [*summary, *(entries[place].text for place in places)]


def query_of(log: Log, case: Case, task: Task) -> str:
    """What a history is searched for."""
    return " ".join(named(*log.names[row]) for row in rows_of(task, case))


def found(log: Log, cases: Sequence[Case], task: Task, retriever: Retriever) -> list[tuple[int, ...]]:
    """The places of the entries before each case that suit it best."""
    of_user: dict[int, list[int]] = {}
    for number, case in enumerate(cases):
        of_user.setdefault(case.user, []).append(number)
    places: list[tuple[int, ...]] = [()] * len(cases)
    for user, numbers in of_user.items():
        queries = [query_of(log, cases[number], task) for number in numbers]
        rankings = retriever(queries, log.entries[user], [cases[number].place for number in numbers])
        for number, ranking in zip(numbers, rankings, strict=True):
            places[number] = tuple(ranking[:FOUND].tolist())
    return places


def facts_before(log: Log, cases: Sequence[Case]) -> list[tuple[Fact, ...]]:
    """The facts of what came before each case: each stands for a user whose history ends there."""
    scale = (float(log.levels_L[0]), float(log.levels_L[-1])) if len(log.levels_L) else STARS
    facts: list[tuple[Fact, ...]] = []
    for first in range(0, len(cases), _AT_ONCE):
        some = cases[first : first + _AT_ONCE]
        starts = log.past.starts_V[[case.user for case in some]]
        lengths = np.array([case.place for case in some])
        rows = np.repeat(starts - lengths.cumsum() + lengths, lengths) + np.arange(lengths.sum())
        names = [f"{case.user}:{case.place}" for case in some]
        events = log.events[rows].with_columns(user=pl.Series(np.repeat(np.array(names), lengths)))
        of_user = facts_of(events, log.items, scale)
        facts += [of_user.get(name, ()) for name in names]
    return facts
