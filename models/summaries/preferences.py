"""What users like and dislike, told from their ratings, or from what they choose where they do not rate.

An item is liked when its rating is above the middle of the scale and not below the user's mean, and disliked when it is
below both. Categories are told from those means that lie far from the user's own, drawn towards it by SHRINKAGE ratings
as in a Bayesian average, so that two high ratings make no taste; one that is rated low for this user is "low" only
where it lies below the middle of the scale, and else merely liked less.

`newest` has a row an item, `by_category` a row an item and category, `raters` a row a user who rates.
"""

from typing import Final

import polars as pl

from models.summaries.fact import EVIDENCE_MOST, FactKind, Polarity
from models.summaries.figures import (
    MOST,
    RATED_LEAST,
    Told,
    fact_of,
    first_of,
    shares_of,
    step_of,
    tenths,
    with_evidence,
    written,
)

SHRINKAGE: Final = 5.0  # ratings at the user's mean that every category is given beside its own
FAR: Final = 0.15  # standard deviations of the user's ratings that a category's mean is to be off
CATEGORY_LEAST: Final = 3  # items of a category before anything is said of it
LATELY: Final = 5  # newest ratings that are lately so; told of who has twice as many
CHOSEN_LEAST: Final = 0.2  # share of the items that a category has which is often chosen


def raters(newest: pl.DataFrame, scale: tuple[float, float]) -> pl.DataFrame:
    """user, mean, spread, low and high (between them lie six in ten), middle and quarter of the scale."""
    value = pl.col("value")
    return (
        newest.filter(value.is_not_null())
        .group_by("user", maintain_order=True)
        .agg(
            value.mean().alias("mean"),
            value.std(ddof=0).alias("spread"),
            value.quantile(0.2, "lower").alias("low"),
            value.quantile(0.8, "higher").alias("high"),
            pl.len().alias("rated"),
        )
        .filter(pl.col("rated") >= RATED_LEAST)
        .with_columns(pl.lit(sum(scale) / 2).alias("middle"), pl.lit((scale[1] - scale[0]) / 4).alias("quarter"))
    )


def tastes(by_category: pl.DataFrame, raters: pl.DataFrame) -> pl.DataFrame:
    """Of raters, by category: category_mean, off (in ratings, drawn towards 0), is_liked, is_disliked."""
    off = (pl.col("value").sum() - pl.len() * pl.col("mean").first()) / (pl.len() + SHRINKAGE)
    far = FAR * pl.col("spread")
    is_enough = pl.col("count") >= CATEGORY_LEAST
    is_high = pl.col("category_mean") > pl.col("middle")
    return (
        by_category.filter(pl.col("value").is_not_null())
        .join(raters, on="user", maintain_order="left")
        .group_by("user", "category", maintain_order=True)
        .agg(
            pl.col("value").mean().alias("category_mean"),
            off.alias("off"),
            pl.len().alias("count"),
            pl.col("spread", "middle").first(),
        )
        .with_columns(
            (is_enough & is_high & (pl.col("off") > far)).alias("is_liked"),
            (is_enough & (pl.col("off") < -far)).alias("is_disliked"),
        )
    )


def habits(newest: pl.DataFrame, raters: pl.DataFrame) -> Told:
    """The mean of the ratings, and between which lie at least six in ten."""
    rated = newest.filter(pl.col("value").is_not_null()).group_by("user").agg(pl.col("event_id").tail(EVIDENCE_MOST))
    columns = ("user", "mean", "low", "high", "middle", "quarter", "event_id")
    for user, mean, low, high, middle, quarter, ids in raters.join(rated, on="user").select(columns).iter_rows():
        detail = "generous" if mean >= middle + quarter else "strict" if mean <= middle else ""
        numbers = (written(mean), f"{written(low)} to {written(high)}")
        yield user, fact_of(FactKind.HABIT, (), numbers, detail=detail, evidence=reversed(ids))


def lately(newest: pl.DataFrame, raters: pl.DataFrame) -> Told:
    """The mean of the newest ratings, which are in the mood, or of the shelf, that the next one will be in."""
    rated = newest.filter(pl.col("value").is_not_null()).join(
        raters.filter(pl.col("rated") >= 2 * LATELY), on="user", how="semi", maintain_order="left"
    )
    last = rated.group_by("user", maintain_order=True).agg(
        pl.col("value").tail(LATELY).mean(), pl.col("event_id").tail(LATELY).reverse()
    )
    for user, mean, ids in last.iter_rows():
        yield user, fact_of(FactKind.LATELY, (), (written(mean),), evidence=ids)


def liked_categories(by_category: pl.DataFrame, tastes: pl.DataFrame) -> Told:
    """Categories that raters rate higher, and lower, than the rest."""
    rated = by_category.filter(pl.col("value").is_not_null())
    for kind, polarity, flag, is_low in (
        (FactKind.LIKED_CATEGORY, Polarity.POSITIVE, "is_liked", False),
        (FactKind.DISLIKED_CATEGORY, Polarity.NEGATIVE, "is_disliked", True),
    ):
        order = pl.col("off") if is_low else -pl.col("off")
        best = first_of(tastes.filter(flag).sort("user", order, "category"), MOST)
        best = with_evidence(best, rated, pl.col("value") if is_low else -pl.col("value"))
        columns = ("user", "category", "category_mean", "middle", "event_id")
        for user, category, mean, middle, ids in best.select(columns).iter_rows():
            detail = "low" if is_low and mean < middle else ""
            yield user, fact_of(kind, (category,), (written(mean),), polarity, detail, ids)


def chosen_categories(by_category: pl.DataFrame, raters: pl.DataFrame) -> Told:
    """Categories that those who do not rate choose often."""
    shares = shares_of(by_category.join(raters, on="user", how="anti", maintain_order="left"))
    shares = shares.filter(pl.col("count") >= CATEGORY_LEAST, pl.col("share") >= CHOSEN_LEAST)
    best = with_evidence(first_of(shares, MOST), by_category)
    for user, category, share, ids in best.select("user", "category", "share", "event_id").iter_rows():
        yield user, fact_of(FactKind.LIKED_CATEGORY, (category,), (tenths(share),), Polarity.POSITIVE, "chosen", ids)


def judged_items(newest: pl.DataFrame, by_category: pl.DataFrame, raters: pl.DataFrame, tastes: pl.DataFrame) -> Told:
    """Items that raters rate high, and low; of equal ones first those of categories that they rate so too, then the
    newer ones."""
    value, mean, middle = pl.col("value"), pl.col("mean"), pl.col("middle")
    typical = by_category.join(tastes.select("user", "category", "off"), on=["user", "category"])
    typical = typical.group_by("user", "name").agg(pl.col("off").mean().round(1))
    judged = newest.join(raters, on="user", maintain_order="left").filter(value.is_not_null())
    judged = judged.join(typical, on=["user", "name"], how="left").with_columns(pl.col("off").fill_null(0.0))
    for kind, polarity, chosen, sign in (
        (FactKind.FAVOURITE, Polarity.POSITIVE, (value > middle) & (value >= mean - 1e-9), -1),
        (FactKind.DISLIKED, Polarity.NEGATIVE, (value < middle) & (value < mean - 1e-9), 1),
    ):
        order = (pl.col("user"), sign * value, sign * pl.col("off"), -pl.col("at"), "event_id")
        best = first_of(judged.filter(chosen).sort(*order), MOST)
        for user, name, given, event in best.select("user", "name", "value", "event_id").iter_rows():
            yield user, fact_of(kind, (name,), (written(given),), polarity, evidence=(event,))


def returns(named: pl.DataFrame, raters: pl.DataFrame) -> Told:
    """Items that those who do not rate came back to."""
    others = named.join(raters, on="user", how="anti", maintain_order="left")
    counted = others.group_by("user", "name", maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("count"), pl.col("at").last(), pl.col("event_id").tail(EVIDENCE_MOST).reverse()
    )
    counted = counted.filter(pl.col("count") > 1).sort("user", -pl.col("count"), -pl.col("at"), "name")
    for user, name, count, ids in first_of(counted, MOST).select("user", "name", "count", "event_id").iter_rows():
        yield user, fact_of(FactKind.FAVOURITE, (name,), (f"{step_of(count)}+ times",), Polarity.POSITIVE, "again", ids)
