"""From the columns of a table to a frame of events, and from descriptions to a frame of items."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from features.checks import Reading
from features.errors import InvalidFile, InvalidInput
from features.tables import Table
from features.wire import ID_LENGTH

EVENT_COLUMNS: Final = {
    "user": pl.String(),
    "item": pl.String(),
    "type": pl.String(),
    "value": pl.Float64(),
    "at": pl.Float64(),
}
REVIEW_COLUMNS: Final = {"headline": pl.String(), "review": pl.String()}  # of events, where there are reviews
ITEM_COLUMNS: Final = {
    "item": pl.String(),
    "title": pl.String(),
    "categories": pl.List(pl.String()),
    "text": pl.String(),
}
# What the catalogue takes of an item; longer values are cut.
TITLE_LENGTH: Final = 1024
TEXT_LENGTH: Final = 16_384
CATEGORIES_MOST: Final = 64
REVIEW_LENGTH: Final = 4096


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of a table plays which role. unit: seconds that a time of 1 stands for."""

    user: str
    item: str
    at: str
    value: str | None = None
    type: str | None = None
    unit: float = 1.0
    value_required: bool = False


def events_of(table: Table, columns: Columns) -> pl.DataFrame:
    """The checked events of a table. Raises InvalidFile."""
    if table.rows.is_empty():
        raise InvalidFile(table.path, 0, "holds no events")
    reading = Reading(table)
    empty = pl.Series([None], dtype=pl.Float64).new_from_index(0, table.rows.height)
    value = reading.numbers(columns.value, columns.value_required) if columns.value else empty
    if columns.type:
        kind = reading.ids(columns.type, longest=64)
    else:
        kind = pl.select(pl.when(value.is_null()).then(pl.lit("interaction")).otherwise(pl.lit("rating"))).to_series()
    series = {
        "user": reading.ids(columns.user),
        "item": reading.ids(columns.item),
        "type": kind,
        "value": value,
        "at": reading.times(columns.at, columns.unit),
    }
    reading.finish()
    return pl.DataFrame(series, schema=EVENT_COLUMNS)


def with_reviews(events: pl.DataFrame, table: Table, headline: str, review: str) -> pl.DataFrame:
    """The events of a table of text with what its columns `headline` and `review` say, cut; as they were when that is
    nothing.
    """
    said = table.rows.select(
        pl.col(headline).str.slice(0, TITLE_LENGTH).alias("headline"),
        pl.col(review).str.slice(0, REVIEW_LENGTH).alias("review"),
    )
    return events if said["review"].null_count() == said.height else events.hstack(said)


def no_items() -> pl.DataFrame:
    """A catalogue of which nothing is known."""
    return pl.DataFrame(schema=ITEM_COLUMNS)


def items_of(rows: Iterable[tuple[str, str, Iterable[str], str]]) -> pl.DataFrame:
    """Items from (id, title, categories, text): the last of those with one id, values cut to what the wire takes."""
    last = {
        item: (item, title[:TITLE_LENGTH], _categories(categories), told[:TEXT_LENGTH])
        for item, title, categories, told in rows
    }
    return pl.DataFrame(list(last.values()), schema=ITEM_COLUMNS, orient="row")


def _categories(named: Iterable[str]) -> list[str]:
    whole = (one.strip()[:ID_LENGTH] for one in named)
    return list(dict.fromkeys(one for one in whole if one))[:CATEGORIES_MOST]


def every_item(events: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """The items, and after them those that only the events know, by first appearance."""
    known = pl.col("item").is_in(items["item"].implode())
    unknown = events.select(pl.col("item").unique(maintain_order=True)).filter(~known)
    bare = unknown.with_columns(
        title=pl.lit(""), categories=pl.lit([], dtype=ITEM_COLUMNS["categories"]), text=pl.lit("")
    )
    return pl.concat([items, bare])


# By role, the names a column goes by when the user does not say, without case and underscores.
_ALIASES: Final = {
    "user": ("user", "userid", "uid"),
    "item": ("item", "itemid", "iid", "movieid", "productid"),
    "at": ("at", "timestamp", "time", "ts"),
    "value": ("value", "rating"),
    "type": ("type", "event", "eventtype"),
}
_REQUIRED: Final = ("user", "item", "at")


def chosen_columns(table: Table, named: Mapping[str, str]) -> Columns:
    """The column of each role: as named ("" for none, "NAME:ms" for times in milliseconds), else by its usual name.

    Raises InvalidInput for a role that does not exist, InvalidFile for a column that is missing or is not clear.
    """
    for role in named:
        if role not in _ALIASES:
            raise InvalidInput(f"columns.{role}", f"no such role; the roles are {', '.join(_ALIASES)}")
    present = table.rows.columns
    unit, at = 1.0, named.get("at", "")
    if at not in present and at.endswith(":ms"):
        unit, at = 1e-3, at.removesuffix(":ms")
        named = {**named, "at": at}
    found = {role: _column(table, role, named) for role in _ALIASES}
    user, item, when = (found[role] or "" for role in _REQUIRED)
    return Columns(user, item, when, found["value"], found["type"], unit)


def _column(table: Table, role: str, named: Mapping[str, str]) -> str | None:
    present = table.rows.columns
    if name := named.get(role):
        return one_of(table, (name,), role)
    if role in named and role not in _REQUIRED:
        return None
    usual = [name for name in present if name.strip().lower().replace("_", "") in _ALIASES[role]]
    if len(usual) > 1:
        raise InvalidFile(table.path, 1, f"{' and '.join(usual)} could each be the {role}; name the one with {role}=")
    if not usual and role in _REQUIRED:
        raise InvalidFile(
            table.path, 1, f"no column for the {role}; name one with {role}=, of {', '.join(present) or 'none'}"
        )
    return usual[0] if usual else None


def one_of(table: Table, names: Iterable[str], role: str) -> str:
    """The first of these columns that the table has. Raises InvalidFile when it has none."""
    for name in names:
        if name in table.rows.columns:
            return name
    wanted, present = " or ".join(map(repr, names)), ", ".join(table.rows.columns)
    raise InvalidFile(table.path, 1, f"the column {wanted} for the {role} is missing; there is {present}")
