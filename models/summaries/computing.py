"""From events to facts: what a user likes, dislikes, and does lately, for many users at once.

Everything here depends on a user's history alone: not on other users, and not on the time of asking; what is lately is
so beside the user's newest event. Of several events with one item the newest counts as what the user says of it.

A rating is an event with a value. A user with RATED_LEAST rated items is a rater: an item is liked when its rating is
above the middle of the scale and not below the user's mean, and disliked when it is below both. What raters are said to
like of categories is told from those means that lie far from the user's own, drawn towards it by SHRINKAGE ratings as
in a Bayesian average, so that two high ratings make no taste. Of other users only counts are told: nobody is said to
dislike what they did not choose.

Numbers are coarse, so that a summary need not be written anew with every event: means to one decimal, shares to a
tenth, counts as the step of 1, 2, 3, 5, 10, 20 ... that they have reached.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

import polars as pl

from features.events import EventId
from features.history import UserHistory
from features.items import Item
from models.summaries.fact import EVIDENCE_MOST, Fact, FactKind, Polarity
from models.summaries.naming import described

STARS: Final = (1.0, 5.0)  # the least and the most that a rating is, where nothing else is said
RATED_LEAST: Final = 5
SHRINKAGE: Final = 5.0  # ratings at the user's mean that every category is given beside its own
FAR: Final = 0.15  # standard deviations of the user's ratings that a category's mean is to be off
CATEGORY_LEAST: Final = 3  # items of a category before anything is said of it
CHOSEN_LEAST: Final = 0.2  # share of the items that a category has which is often chosen
OFTEN_LEAST: Final = 0.1  # share of a category that is among those which make up the history
NARROW: Final = 2 / 3  # share of the first category from which on the history is narrow
BROAD: Final = 1 / 3  # and below which it is broad
ENOUGH: Final = 10  # items before shares are told
NEW_SHARE: Final = 5  # one in so many items is new, for what is told of drift
DRIFT_LEAST: Final = 0.15  # difference of shares, and in standard errors:
DRIFT_ERRORS: Final = 2.0
USUAL_LEAST: Final = 0.6  # share of the user's sittings that makes a habit of the time
USUAL_SITTINGS: Final = 5
ERA_LEAST: Final = 0.5
MOST: Final = 5  # facts of a kind, and names of a fact

_DAY: Final = 86_400.0
_PARTS: Final = {0: "night", 1: "morning", 2: "afternoon", 3: "evening"}
_KINDS: Final = {kind: place for place, kind in enumerate(FactKind)}
_Told = Iterator[tuple[str, Fact]]  # users, each with a fact of theirs


def facts_of(
    events: pl.DataFrame, items: pl.DataFrame, scale: tuple[float, float] = STARS
) -> dict[str, tuple[Fact, ...]]:
    """Each user's facts, by kind in the order of FactKind, the weightiest of a kind first.

    events: event_id, user, item, value, at (epoch seconds), in any order. items: item, title, categories. scale: the
    least and the most that a rating is. A user without an event that has an item has no facts.
    """
    named = _named(events, items)
    newest = named.unique(["user", "name"], keep="last", maintain_order=True)
    raters = _raters(newest, scale)
    by_category = _by_category(newest)
    tastes = _tastes(by_category, raters)
    found: defaultdict[str, list[Fact]] = defaultdict(list)
    for told in (
        _activity(named, raters),
        _habits(newest, raters),
        _liked_categories(by_category, tastes),
        _chosen_categories(by_category, raters),
        _judged_items(newest, by_category, raters, tastes),
        _returns(named, raters),
        _recent(newest),
        _drift(by_category),
        _variety(by_category),
        _times(named),
        _eras(newest),
    ):
        for user, fact in told:
            found[user].append(fact)
    for facts in found.values():
        facts.sort(key=lambda fact: _KINDS[fact.kind])
    return {user: tuple(found[user]) for user in events["user"].unique().sort().to_list()}


def frame_of(histories: Iterable[UserHistory]) -> pl.DataFrame:
    """The events of these histories as `facts_of` reads them."""
    rows = [
        (event.id, event.user, event.item, event.value, event.at) for history in histories for event in history.events
    ]
    schema = {"event_id": pl.String, "user": pl.String, "item": pl.String, "value": pl.Float64, "at": pl.Float64}
    return pl.DataFrame(rows, schema, orient="row")


def items_frame(items: Iterable[Item]) -> pl.DataFrame:
    """These items as `facts_of` reads them."""
    rows = [(item.id, item.title, list(item.categories)) for item in items]
    return pl.DataFrame(rows, {"item": pl.String, "title": pl.String, "categories": pl.List(pl.String)}, orient="row")


def step_of(count: float) -> int:
    """The step of 1, 2, 3, 5, 10, 20, 30, 50 ... that a count from 1 has reached."""
    size = 1
    while size * 10 <= count:
        size *= 10
    return max(step for step in (size, 2 * size, 3 * size, 5 * size) if step <= count)


def written(number: float) -> str:
    """A rating or a mean of ratings, to one decimal."""
    return f"{number:.1f}".removesuffix(".0")


def _named(events: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """The events that have an item, users together, oldest first, with what the item is called.

    Where two items of a user would be called the same, both are called by the whole title.
    """
    events = events.select("event_id", "user", "item", "value", "at").filter(pl.col("item").is_not_null())
    about = described(items, events["item"]).with_row_index("row")
    named = events.join(about, on="item", how="left").sort("user", "at", "event_id")
    rows = pl.col("row")
    is_shared = rows.min().over("user", "short") < rows.max().over("user", "short")
    name = pl.when(is_shared).then("full").otherwise("short").alias("name")
    return named.select("event_id", "user", "value", "at", "year", "categories", name)


def _by_category(newest: pl.DataFrame) -> pl.DataFrame:
    """A row for each category of each item. n: how many items of the user have any; place: from 0, the oldest first."""
    some = newest.filter(pl.col("categories").list.len() > 0)
    some = some.with_columns(pl.len().over("user").alias("n"), pl.int_range(pl.len()).over("user").alias("place"))
    return some.explode("categories").rename({"categories": "category"})


def _raters(newest: pl.DataFrame, scale: tuple[float, float]) -> pl.DataFrame:
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


def _tastes(by_category: pl.DataFrame, raters: pl.DataFrame) -> pl.DataFrame:
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


def _activity(named: pl.DataFrame, raters: pl.DataFrame) -> _Told:
    counted = named.join(raters.select("user", "rated"), on="user", how="left", maintain_order="left")
    counted = counted.group_by("user", maintain_order=True).agg(
        pl.len(),
        pl.col("value").count().alias("ratings"),
        pl.col("rated").first(),
        ((pl.col("at").last() - pl.col("at").first()) / _DAY).alias("days"),
        pl.col("event_id").tail(EVIDENCE_MOST - 1).reverse().alias("last"),
        pl.col("event_id").first().alias("first"),
    )
    for user, events, ratings, rated, days, last, first in counted.filter(pl.len() >= RATED_LEAST).iter_rows():
        count = f"{step_of(ratings)}+ ratings" if rated else f"{step_of(events)}+ events"
        numbers = (count, f"{step_of(days)}+ days") if days >= 2 else (count,)
        detail = "" if days >= 1 else "day"
        yield user, _fact(FactKind.ACTIVITY, (), numbers, detail=detail, evidence=dict.fromkeys((*last, first)))


def _habits(newest: pl.DataFrame, raters: pl.DataFrame) -> _Told:
    """The mean of the ratings, and between which lie at least six in ten."""
    rated = newest.filter(pl.col("value").is_not_null()).group_by("user").agg(pl.col("event_id").tail(EVIDENCE_MOST))
    columns = ("user", "mean", "low", "high", "middle", "quarter", "event_id")
    for user, mean, low, high, middle, quarter, ids in raters.join(rated, on="user").select(columns).iter_rows():
        detail = "generous" if mean >= middle + quarter else "strict" if mean <= middle else ""
        numbers = (written(mean), f"{written(low)} to {written(high)}")
        yield user, _fact(FactKind.HABIT, (), numbers, detail=detail, evidence=reversed(ids))


def _liked_categories(by_category: pl.DataFrame, tastes: pl.DataFrame) -> _Told:
    """Categories that raters rate higher, and lower, than the rest."""
    for kind, polarity, flag, is_low in (
        (FactKind.LIKED_CATEGORY, Polarity.POSITIVE, "is_liked", False),
        (FactKind.DISLIKED_CATEGORY, Polarity.NEGATIVE, "is_disliked", True),
    ):
        order = pl.col("off") if is_low else -pl.col("off")
        best = _first(tastes.filter(flag).sort("user", order, "category"), MOST)
        by_value = by_category.filter(pl.col("value").is_not_null()).sort("value", "at", descending=[not is_low, True])
        best = _with_evidence(best, by_value)
        columns = ("user", "category", "category_mean", "middle", "event_id")
        for user, category, mean, middle, ids in best.select(columns).iter_rows():
            detail = "low" if is_low and mean < middle else ""
            yield user, _fact(kind, (category,), (written(mean),), polarity, detail, ids)


def _chosen_categories(by_category: pl.DataFrame, raters: pl.DataFrame) -> _Told:
    """Categories that those who do not rate choose often."""
    shares = _shares(by_category.join(raters, on="user", how="anti", maintain_order="left"))
    shares = shares.filter(pl.col("count") >= CATEGORY_LEAST, pl.col("share") >= CHOSEN_LEAST)
    best = _with_evidence(_first(shares, MOST), by_category.reverse())
    for user, category, share, ids in best.select("user", "category", "share", "event_id").iter_rows():
        yield user, _fact(FactKind.LIKED_CATEGORY, (category,), (_tenths(share),), Polarity.POSITIVE, "chosen", ids)


def _judged_items(newest: pl.DataFrame, by_category: pl.DataFrame, raters: pl.DataFrame, tastes: pl.DataFrame) -> _Told:
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
        best = _first(judged.filter(chosen).sort(*order), MOST)
        for user, name, given, event in best.select("user", "name", "value", "event_id").iter_rows():
            yield user, _fact(kind, (name,), (written(given),), polarity, evidence=(event,))


def _returns(named: pl.DataFrame, raters: pl.DataFrame) -> _Told:
    """Items that those who do not rate came back to."""
    others = named.join(raters, on="user", how="anti", maintain_order="left")
    counted = others.group_by("user", "name", maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("count"), pl.col("at").last(), pl.col("event_id").tail(EVIDENCE_MOST).reverse()
    )
    counted = counted.filter(pl.col("count") > 1).sort("user", -pl.col("count"), -pl.col("at"), "name")
    for user, name, count, ids in _first(counted, MOST).select("user", "name", "count", "event_id").iter_rows():
        yield user, _fact(FactKind.FAVOURITE, (name,), (f"{step_of(count)}+ times",), Polarity.POSITIVE, "again", ids)


def _recent(newest: pl.DataFrame) -> _Told:
    """The newest items, the newest first."""
    columns = [pl.col(name).tail(MOST).reverse() for name in ("name", "event_id")]
    for user, names, ids in newest.group_by("user", maintain_order=True).agg(columns).iter_rows():
        yield user, _fact(FactKind.RECENT, names, evidence=ids)


def _drift(by_category: pl.DataFrame) -> _Told:
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
    best = _with_evidence(_first(compared, MOST), by_category.reverse())
    for user, category, rise, ids in best.select("user", "category", "rise", "event_id").iter_rows():
        yield user, _fact(FactKind.DRIFT, (category,), detail="rising" if rise > 0 else "falling", evidence=ids)


def _variety(by_category: pl.DataFrame) -> _Told:
    """The categories that make up most of the history, with the share of the items that have each."""
    shares = _shares(by_category.filter(pl.col("n") >= ENOUGH)).filter(pl.col("share") >= OFTEN_LEAST)
    best = _with_evidence(_first(shares, 3), by_category.reverse())
    best = best.group_by("user", maintain_order=True).agg("category", "share", pl.col("event_id").first())
    for user, categories, each, ids in best.iter_rows():
        detail = "narrow" if each[0] >= NARROW else "broad" if each[0] < BROAD else ""
        yield user, _fact(FactKind.VARIETY, categories, map(_tenths, each), detail=detail, evidence=ids)


def _times(named: pl.DataFrame) -> _Told:
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
                yield user, _fact(FactKind.TIMES, (), detail=detail, evidence=events)
        told.update(ids["user"])


def _eras(newest: pl.DataFrame) -> _Told:
    """The decade that most items with a year in their title are from."""
    dated = newest.filter(pl.col("year").is_not_null()).with_columns(pl.len().over("user").alias("n"))
    decades = dated.group_by("user", (pl.col("year") // 10 * 10).alias("decade"), maintain_order=True).agg(
        (pl.len() / pl.col("n").first()).alias("share"), pl.col("n").first(), pl.col("event_id").tail(EVIDENCE_MOST)
    )
    decades = decades.filter(pl.col("n") >= ENOUGH, pl.col("share") > ERA_LEAST)
    for user, decade, share, ids in decades.select("user", "decade", "share", "event_id").iter_rows():
        yield user, _fact(FactKind.ERA, (), (f"{decade}s", _tenths(share)), evidence=reversed(ids))


def _shares(by_category: pl.DataFrame) -> pl.DataFrame:
    """By user and category: count of items, share of the user's; the greatest first."""
    shares = by_category.group_by("user", "category", maintain_order=True).agg(
        pl.len().alias("count"), (pl.len() / pl.col("n").first()).alias("share")
    )
    return shares.sort("user", -pl.col("share"), "category")


def _first(rows: pl.DataFrame, most: int) -> pl.DataFrame:
    """The first `most` rows of each user."""
    return rows.filter(pl.int_range(pl.len()).over("user") < most)


def _with_evidence(chosen: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """With the ids of the events of the same user and category, the first in the order of `rows`."""
    keys = ["user", "category"]
    theirs = rows.join(chosen.select(keys), on=keys, how="semi", maintain_order="left")
    ids = theirs.group_by(keys).agg(pl.col("event_id").head(EVIDENCE_MOST))
    return chosen.join(ids, on=keys, how="left", maintain_order="left")


def _tenths(share: float) -> str:
    """To a tenth; all of it only where it is."""
    return "100%" if share == 1 else f"{min(round(share * 10), 9) * 10}%"


def _fact(
    kind: FactKind,
    names: Iterable[str],
    numbers: Iterable[str] = (),
    polarity: Polarity = Polarity.NEUTRAL,
    detail: str = "",
    evidence: Iterable[str] = (),
) -> Fact:
    ids = tuple(EventId(event) for event in evidence)[:EVIDENCE_MOST]
    return Fact(kind, tuple(names), tuple(numbers), polarity, detail, ids)
