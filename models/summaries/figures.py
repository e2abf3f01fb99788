"""How facts are counted and written: coarse numbers, and the few steps that all of them take.

Frames of one row an item, or an item and a category, hold users together, each user's oldest first.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import polars as pl

from features.events import EventId
from models.summaries.fact import EVIDENCE_MOST, Fact, FactKind, Polarity

RATED_LEAST: Final = 5  # rated items that make a rater; events before their number is told
ENOUGH: Final = 10  # items before shares are told
MOST: Final = 5  # facts of a kind

Told = Iterator[tuple[str, Fact]]  # users, each with a fact of theirs


def step_of(count: float) -> int:
    """The step of 1, 2, 3, 5, 10, 20, 30, 50 ... that a count from 1 has reached."""
    size = 1
    while size * 10 <= count:
        size *= 10
    return max(step for step in (size, 2 * size, 3 * size, 5 * size) if step <= count)


def written(number: float) -> str:
    """A rating or a mean of ratings, to one decimal."""
    return f"{number:.1f}".removesuffix(".0")


def tenths(share: float) -> str:
    """A share to a tenth; all of it only where it is."""
    return "100%" if share == 1 else f"{min(round(share * 10), 9) * 10}%"


def fact_of(
    kind: FactKind,
    names: Iterable[str] = (),
    numbers: Iterable[str] = (),
    polarity: Polarity = Polarity.NEUTRAL,
    detail: str = "",
    evidence: Iterable[EventId] = (),
) -> Fact:
    """The fact, with as much evidence as is kept."""
    return Fact(kind, tuple(names), tuple(numbers), polarity, detail, tuple(evidence)[:EVIDENCE_MOST])


def shares_of(by_category: pl.DataFrame) -> pl.DataFrame:
    """By user and category: count of items, share of the user's; the greatest first."""
    shares = by_category.group_by("user", "category", maintain_order=True).agg(
        pl.len().alias("count"), (pl.len() / pl.col("n").first()).alias("share")
    )
    return shares.sort("user", -pl.col("share"), "category")


def first_of(rows: pl.DataFrame, most: int) -> pl.DataFrame:
    """The first `most` rows of each user."""
    return rows.filter(pl.int_range(pl.len()).over("user") < most)


def with_evidence(chosen: pl.DataFrame, rows: pl.DataFrame, *order: pl.Expr) -> pl.DataFrame:
    """With the ids of the events of the same user and category: the first by `order`, the newest where it is not given
    or leaves it open."""
    keys = ["user", "category"]
    theirs = rows.join(chosen.select(keys), on=keys, how="semi", maintain_order="left").reverse()
    theirs = theirs.sort(*order, maintain_order=True) if order else theirs
    ids = theirs.group_by(keys).agg(pl.col("event_id").head(EVIDENCE_MOST))
    return chosen.join(ids, on=keys, how="left", maintain_order="left")
