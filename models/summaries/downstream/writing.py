"""Summaries of many users as text, to be told in prompts."""

from collections.abc import Mapping

import polars as pl

from models.summaries.computing import STARS, facts_of
from models.summaries.downstream.cases import Log, Task
from models.summaries.downstream.forms import Summary, Writer
from models.summaries.kinds import SummaryKind, chosen
from models.summaries.wording import from_template

KIND: Mapping[Task, SummaryKind] = {Task.RATING: SummaryKind.RATING, Task.CHOICE: SummaryKind.RANKING}


def by_template(kind: SummaryKind, scale: tuple[float, float] = STARS) -> Writer:
    """What writes summaries of a kind by template, from facts."""

    def write(events: pl.DataFrame, items: pl.DataFrame) -> dict[str, Summary]:
        return {
            user: tuple(claim.text for claim in from_template(chosen(facts, kind)))
            for user, facts in facts_of(events, items, scale).items()
        }

    return write


def scale_of(log: Log) -> tuple[float, float]:
    """The least and the most value of a log."""
    return (float(log.levels_L[0]), float(log.levels_L[-1])) if len(log.levels_L) else STARS
