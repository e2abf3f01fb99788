"""From events to facts: what a user likes, dislikes, and does lately, for many users at once.

Everything depends on a user's history alone: not on other users, and not on the time of asking; what is lately is so
beside the user's newest event. Of several events with one item the newest counts as what the user says of it. A rating
is an event with a value; who has rated RATED_LEAST items is a rater, and of others only counts are told: nobody is said
to dislike what they did not choose.

Numbers are coarse, so that a summary need not be written anew with every event: means to one decimal, shares to a
tenth, counts as the step of 1, 2, 3, 5, 10, 20 ... that they have reached.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import polars as pl

from features.history import UserHistory
from features.items import Item
from models.summaries import preferences, rhythms
from models.summaries.fact import Fact, FactKind
from models.summaries.naming import described

STARS: Final = (1.0, 5.0)  # the least and the most that a rating is, where nothing else is said

_PLACES: Final = {kind: place for place, kind in enumerate(FactKind)}


def facts_of(
    events: pl.DataFrame, items: pl.DataFrame, scale: tuple[float, float] = STARS
) -> dict[str, tuple[Fact, ...]]:
    """Each user's facts, by kind in the order of FactKind, the weightiest of a kind first.

    events: event_id, user, item, value, at (epoch seconds), in any order. items: item, title, categories. scale: the
    least and the most that a rating is. A user without an event that has an item has no facts.
    """
    named = _named(events, items)
    newest = named.filter(pl.struct("user", "name").is_last_distinct())
    by_category = _by_category(newest)
    raters = preferences.raters(newest, scale)
    tastes = preferences.tastes(by_category, raters)
    found: defaultdict[str, list[Fact]] = defaultdict(list)
    for told in (
        rhythms.activity(named, raters),
        preferences.habits(newest, raters),
        preferences.lately(newest, raters),
        preferences.liked_categories(by_category, tastes),
        preferences.chosen_categories(by_category, raters),
        preferences.judged_items(newest, by_category, raters, tastes),
        preferences.returns(named, raters),
        rhythms.recent(newest),
        rhythms.drift(by_category),
        rhythms.variety(by_category),
        rhythms.times(named),
        rhythms.eras(newest),
    ):
        for user, fact in told:
            found[user].append(fact)
    for facts in found.values():
        facts.sort(key=lambda fact: _PLACES[fact.kind])
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
