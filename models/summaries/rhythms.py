"""What users do, and when: how much, how lately, of what, whether it changes, from which times.

`named` has a row an event, `newest` a row an item, `by_category` a row an item and category; users together, each
user's oldest first.
"""

from typing import Final

import polars as pl

from models.summaries.fact import EVIDENCE_MOST, FactKind
from models.summaries.figures import (
    ENOUGH,
    MOST,
    RATED_LEAST,
    Told,
    fact_of,
    first_of,
    shares_of,
    step_of,
    tenths,
    with_evidence,
)

RECENT_MOST: Final = 8  # names of the newest items
OFTEN_LEAST: Final = 0.1  # share of a category that is among those which make up the history
NARROW: Final = 2 / 3  # share of the first category from which on the history is narrow
BROAD: Final = 1 / 3  # and below which it is broad
NEW_SHARE: Final = 5  # one in so many items is new, for what is told of drift
DRIFT_LEAST: Final = 0.15  # difference of shares, and in standard errors:
DRIFT_ERRORS: Final = 2.0
USUAL_LEAST: Final = 0.6  # share of the user's sittings that makes a habit of the time
USUAL_SITTINGS: Final = 5
ERA_LEAST: Final = 0.5

_DAY: Final = 86_400.0
_PARTS: Final = {0: "night", 1: "morning", 2: "afternoon", 3: "evening"}


def activity(named: pl.DataFrame, raters: pl.DataFrame) -> Told:
    counted = named.join(raters.select("user", "rated"), on="user", how="left", maintain_order="left")
    counted = counted.group_by("user", maintain_order=True).agg(
        pl.len(),
        pl.col("value").count().alias("ratings"),
        pl.col("rated").first(),
        ((pl.col("at").last() - pl.col("at").first()) / _DAY).alias("days"),
        pl.col("event_id").tail(EVIDENCE_MOST - 1).reverse().alias("last"),
        pl.col("event_id").first().alias("first"),
    )
    for user, events, ratings, rated, days, last, first in counted.filter(pl.col("len") >= RATED_LEAST).iter_rows():
        count = f"{step_of(ratings)}+ ratings" if rated else f"{step_of(events)}+ events"
        numbers = (count, f"{step_of(days)}+ days") if days >= 2 else (count,)
        detail = "" if days >= 1 else "day"
        yield user, fact_of(FactKind.ACTIVITY, (), numbers, detail=detail, evidence=dict.fromkeys((*last, first)))


def recent(newest: pl.DataFrame) -> Told:
    """The newest items, the newest first."""
    columns = [pl.col(name).tail(RECENT_MOST).reverse() for name in ("name", "event_id")]
    for user, names, ids in newest.group_by("user", maintain_order=True).agg(columns).iter_rows():
        yield user, fact_of(FactKind.RECENT, names, evidence=ids)


def drift(by_category: pl.DataFrame) -> Told:
    """Categories whose share of the newest items is another than before, by far and beyond chance."""
    new = (pl.col("n") // NEW_SHARE).clip(ENOUGH, None)
    is_new = pl.col("place") >= pl.col("n") - new
    old = pl.col("n") - new
    compared = by_category.filter(pl.col("n") >= 3 * ENOUGH)
    compared = (
        compared.group_by("user", "category", maintain_order=True)
        .agg(
            is_new.sum().alias("lately"),
            (~is_new).sum().alias("before"),
            new.first().alias("new"),
            old.first().alias("old"),
        )
        .with_columns(
            (pl.col("lately") / pl.col("new") - pl.col("before") / pl.col("old")).alias("rise"),
            ((pl.col("lately") + pl.col("before")) / (pl.col("new") + pl.col("old"))).alias("share"),
        )
        .with_columns(
            (pl.col("share") * (1 - pl.col("share")) * (1 / pl.col("new") + 1 / pl.col("old"))).sqrt().alias("error")
        )
        .filter(pl.col("rise").abs() >= DRIFT_LEAST, pl.col("rise").abs() >= DRIFT_ERRORS * pl.col("error"))
        .sort("user", -pl.col("rise").abs(), "category")
    )
    best = with_evidence(first_of(compared, MOST), by_category)
    for user, category, rise, ids in best.select("user", "category", "rise", "event_id").iter_rows():
        yield user, fact_of(FactKind.DRIFT, (category,), detail="rising" if rise > 0 else "falling", evidence=ids)


def variety(by_category: pl.DataFrame) -> Told:
    """The categories that make up most of the history, with the share of the items that have each."""
    shares = shares_of(by_category.filter(pl.col("n") >= ENOUGH)).filter(pl.col("share") >= OFTEN_LEAST)
    best = with_evidence(first_of(shares, 3), by_category)
    best = best.group_by("user", maintain_order=True).agg("category", "share", pl.col("event_id").first())
    for user, categories, each, ids in best.iter_rows():
        detail = "narrow" if each[0] >= NARROW else "broad" if each[0] < BROAD else ""
        yield user, fact_of(FactKind.VARIETY, categories, map(tenths, each), detail=detail, evidence=ids)


def times(named: pl.DataFrame) -> Told:
    """The part of the day (UTC), else of the week, in which the user is mostly active. A sitting counts once, however
    many events it has."""
    day = (pl.col("at") // _DAY).cast(pl.Int64)
    parts = named.select(
        "user",
        "event_id",
        day.alias("day"),
        (pl.col("at") % _DAY // (_DAY / 4)).cast(pl.Int64).replace_strict(_PARTS, return_dtype=pl.String).alias("part"),
        pl.when((day + 3) % 7 >= 5)
        .then(pl.lit("weekend"))
        .otherwise(pl.lit("week"))
        .alias("week"),  # day 0: a Thursday
    )
    told: set[str] = set()
    for part, sitting in ((pl.col("part"), ("day", "part")), (pl.col("week"), ("day",))):
        sittings = parts.unique(["user", *sitting]).with_columns(pl.len().over("user").alias("n"))
        shares = sittings.group_by("user", part.alias("detail")).agg(pl.len(), pl.col("n").first())
        usual = shares.filter(pl.col("n") >= USUAL_SITTINGS, pl.col("len") >= USUAL_LEAST * pl.col("n"))
        usual = usual.filter(pl.col("detail") != "week")
        theirs = parts.join(
            usual, left_on=["user", part], right_on=["user", "detail"], how="semi", maintain_order="left"
        )
        ids = theirs.group_by("user").agg(part.first(), pl.col("event_id").tail(EVIDENCE_MOST).reverse())
        for user, detail, events in ids.iter_rows():
            if user not in told:
                yield user, fact_of(FactKind.TIMES, (), detail=detail, evidence=events)
        told.update(ids["user"])


def eras(newest: pl.DataFrame) -> Told:
    """The decade that most items with a year in their title are from."""
    dated = newest.filter(pl.col("year").is_not_null()).with_columns(pl.len().over("user").alias("n"))
    decades = dated.group_by("user", (pl.col("year") // 10 * 10).alias("decade"), maintain_order=True).agg(
        (pl.len() / pl.col("n").first()).alias("share"), pl.col("n").first(), pl.col("event_id").tail(EVIDENCE_MOST)
    )
    decades = decades.filter(pl.col("n") >= ENOUGH, pl.col("share") > ERA_LEAST)
    for user, decade, share, ids in decades.select("user", "decade", "share", "event_id").iter_rows():
        yield user, fact_of(FactKind.ERA, (), (f"{decade}s", tenths(share)), evidence=reversed(ids))
