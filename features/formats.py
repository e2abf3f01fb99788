"""The file formats of data sets: what each looks like, and how its events and items are read.

Every reader gives a frame of events (user, item, type, value, at, and headline and review where there are reviews) in
the file's row order and a frame of items (item, title, categories, text), and raises InvalidFile with the first wrong
line.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import polars as pl

from features.checks import Reading
from features.columns import (
    Columns,
    chosen_columns,
    events_of,
    every_item,
    items_of,
    no_items,
    one_of,
    with_reviews,
)
from features.errors import InvalidFile, InvalidInput
from features.tables import Table, delimited, json_columns, json_objects, parquet, text
from features.wire import ID_LENGTH


class Format(StrEnum):
    """How a data set's files are laid out."""

    TASTEPRINT = "tasteprint"  # a folder with events.parquet and items.parquet, as `write` leaves it
    RECBOLE = "recbole"  # NAME.inter and NAME.item, typed headers
    MOVIELENS_100K = "movielens-100k"  # u.data, u.item, u.genre
    MOVIELENS_1M = "movielens-1m"  # ratings.dat, movies.dat; MovieLens 10M as well
    MOVIELENS_LATEST = "movielens-latest"  # ratings.csv, movies.csv; MovieLens 20M to 32M as well
    AMAZON_2014 = "amazon-2014"  # JSON lines with reviewerID, asin, overall, unixReviewTime; 2018 as well
    AMAZON_2023 = "amazon-2023"  # JSON lines with user_id, parent_asin, rating, timestamp in milliseconds
    SEQUENCES = "sequences"  # "user item item ..." a line, oldest first, without times
    CSV = "csv"
    PARQUET = "parquet"
    JSONL = "jsonl"


MAPPED: Final = frozenset({Format.CSV, Format.PARQUET, Format.JSONL})  # the formats that take a column map

Frames = tuple[pl.DataFrame, pl.DataFrame]  # events, items


def read(path: Path, form: Format, columns: Mapping[str, str] | None) -> Frames:
    """Events and items of the data set at `path`, a file or a folder. Raises InvalidFile, InvalidInput."""
    if columns and form not in MAPPED:
        raise InvalidInput("columns", f"{form} has columns of its own; a column map is for csv, parquet and jsonl")
    match form:
        case Format.RECBOLE:
            events, items = _recbole(path)
        case Format.MOVIELENS_100K:
            events, items = _movielens_100k(path)
        case Format.MOVIELENS_1M:
            events, items = _movielens_1m(path)
        case Format.MOVIELENS_LATEST:
            events, items = _movielens_latest(path)
        case Format.AMAZON_2014:
            events, items = _amazon(path, _AMAZON_2014, "asin", ("summary", "reviewText"))
        case Format.AMAZON_2023:
            events, items = _amazon(path, _AMAZON_2023, "parent_asin", ("title", "text"))
        case Format.SEQUENCES:
            events, items = _sequences(path)
        case Format.CSV | Format.PARQUET | Format.JSONL:
            table = _mapped_table(path, form)
            events, items = events_of(table, chosen_columns(table, columns or {})), no_items()
        case Format.TASTEPRINT:
            raise ValueError(f"{form} is read by features.datasets")
    return events, every_item(events, items)


# --- RecBole atomic files -------------------------------------------------------------------------------------------


def _recbole(path: Path) -> Frames:
    interactions = path if path.is_file() else _only(path, "*.inter")
    table = _untyped(delimited(interactions, "\t"))
    events = events_of(table, chosen_columns(table, {}))
    described = interactions.with_suffix(".item")
    return events, _recbole_items(described) if described.exists() else no_items()


def _recbole_items(path: Path) -> pl.DataFrame:
    """Titles with their year, as MovieLens writes them: "Kolya (1996)"; token sequences become categories."""
    table = _untyped(delimited(path, "\t"))
    reading = Reading(table)
    ids = reading.ids(one_of(table, ("item_id",), "item"))
    reading.finish()
    titles = _texts(table, ("movie_title", "title", "item_name", "name"))
    years = _texts(table, ("release_year",))
    classes = _texts(table, ("class", "genre", "genres", "categories", "category"))
    return items_of(
        (item, f"{title} ({year})" if title and year else title, kinds.split(" "), "")
        for item, title, year, kinds in zip(ids, titles, years, classes, strict=True)
    )


def _untyped(table: Table) -> Table:
    """The table with its headers' types ("user_id:token") left out."""
    bare = {name: name.partition(":")[0] for name in table.rows.columns}
    if any(":" not in name for name in bare) or len(set(bare.values())) < len(bare):
        raise InvalidFile(table.path, 1, "is not a RecBole header; columns like user_id:token, tab-separated, will do")
    return Table(table.path, table.rows.rename(bare), table.line_of)


def _texts(table: Table, names: Iterable[str]) -> Iterable[str]:
    found = next((name for name in names if name in table.rows.columns), None)
    return [""] * table.rows.height if found is None else table.rows[found].fill_null("")


# --- MovieLens ------------------------------------------------------------------------------------------------------

_RATING: Final = ("user", "item", "rating", "timestamp")
_RATING_COLUMNS: Final = Columns("user", "item", "timestamp", "rating", value_required=True)


def _movielens_100k(path: Path) -> Frames:
    ratings, folder = _file_and_folder(path, "u.data")
    events = events_of(delimited(ratings, "\t", _RATING), _RATING_COLUMNS)
    films, genres = folder / "u.item", folder / "u.genre"
    if not films.exists():
        return events, no_items()
    named = delimited(genres, "|", ("genre", "number")).rows["genre"].to_list()
    facts = ("item", "title", "released", "released_on_video", "url")
    table = delimited(films, "|", [*facts, *(f"genre {name}" for name in named)], or_latin_1=True)
    reading = Reading(table)
    ids = reading.ids("item")
    flags = [reading.numbers(f"genre {name}", required=True) for name in named]
    reading.finish()
    titles = table.rows["title"].fill_null("")
    return events, items_of(
        (item, title, [name for name, flag in zip(named, flagged, strict=True) if flag], "")
        for item, title, *flagged in zip(ids, titles, *flags, strict=True)
    )


def _movielens_1m(path: Path) -> Frames:
    ratings, folder = _file_and_folder(path, "ratings.dat")
    events = events_of(delimited(ratings, "::", _RATING), _RATING_COLUMNS)
    films = folder / "movies.dat"
    if not films.exists():
        return events, no_items()
    return events, _films(delimited(films, "::", ("movieId", "title", "genres"), or_latin_1=True))


def _movielens_latest(path: Path) -> Frames:
    ratings, folder = _file_and_folder(path, "ratings.csv")
    table = delimited(ratings, ",", quoted=True)
    roles = {"user": "userId", "item": "movieId", "at": "timestamp", "value": "rating"}
    events = events_of(table, chosen_columns(table, roles))
    films = folder / "movies.csv"
    return events, _films(delimited(films, ",", quoted=True)) if films.exists() else no_items()


def _films(table: Table) -> pl.DataFrame:
    reading = Reading(table)
    ids = reading.ids(one_of(table, ("movieId",), "item"))
    reading.finish()
    titles, genres = _texts(table, ("title",)), _texts(table, ("genres",))
    return items_of(
        (item, title, [] if kinds == "(no genres listed)" else kinds.split("|"), "")
        for item, title, kinds in zip(ids, titles, genres, strict=True)
    )


# --- Amazon reviews -------------------------------------------------------------------------------------------------

_AMAZON_2014: Final = Columns("reviewerID", "asin", "unixReviewTime", "overall", value_required=True)
_AMAZON_2023: Final = Columns("user_id", "parent_asin", "timestamp", "rating", unit=1e-3, value_required=True)


def _amazon(path: Path, columns: Columns, item_field: str, said: tuple[str, str]) -> Frames:
    """said: the fields of a review's headline and text."""
    reviews = path if path.is_file() else _only(path, "*.json*", lambda name: not name.startswith("meta_"))
    table = json_columns(reviews, [columns.user, columns.item, columns.at, str(columns.value), *said])
    events = with_reviews(events_of(table, columns), table, *said)
    described = _amazon_items(reviews)
    return events, no_items() if described is None else items_of(_amazon_item(described, item_field))


def _amazon_items(reviews: Path) -> Path | None:
    """The file with the items of a reviews file: reviews_Beauty_5.json.gz has meta_Beauty.json.gz beside it."""
    name = reviews.name.partition(".")[0]
    subjects = (name, name.removeprefix("reviews_"), name.removeprefix("reviews_").removesuffix("_5"))
    found = {path.name.partition(".")[0]: path for path in sorted(reviews.parent.glob("meta_*.json*"))}
    return next((found[f"meta_{subject}"] for subject in subjects if f"meta_{subject}" in found), None)


def _amazon_item(path: Path, item_field: str) -> Iterable[tuple[str, str, list[str], str]]:
    for line, value in json_objects(path):
        fields = _Fields(path, line, value)
        categories = fields.words("categories") or fields.words("category")
        yield fields.id(item_field), fields.text("title"), categories, fields.text("description")


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of one line's JSON object, each refused with the line when it is not what it should be."""

    path: Path
    line: int
    value: Mapping[str, Any]

    def id(self, name: str) -> str:
        found = self.value.get(name)
        if isinstance(found, int) and not isinstance(found, bool):
            found = str(found)
        if not isinstance(found, str) or not 1 <= len(found) <= ID_LENGTH:
            raise InvalidFile(self.path, self.line, f"{name!r} must be text of 1 to {ID_LENGTH} characters")
        return found

    def text(self, name: str) -> str:
        """Text, or a list of texts, joined; "" when absent."""
        return " ".join(self._flat(name))

    def words(self, name: str) -> list[str]:
        """A list of texts, or of lists of them (paths in a tree of categories), as one list."""
        return self._flat(name)

    def _flat(self, name: str) -> list[str]:
        pending, flat = [self.value.get(name)], []
        while pending:
            one = pending.pop()
            if isinstance(one, list):
                pending.extend(reversed(one))
            elif isinstance(one, str):
                flat.append(one)
            elif one is not None:
                raise InvalidFile(self.path, self.line, f"{name!r} must be text or a list of texts")
        return flat


# --- Sequences without times ----------------------------------------------------------------------------------------


def _sequences(path: Path) -> Frames:
    """at: the place in the line, from 0."""
    interactions, folder = _file_and_folder(path, "interactions.txt")
    users: list[str] = []
    items: list[str] = []
    places: list[int] = []
    lines: list[int] = []
    first_lines: dict[str, int] = {}
    for line, words in enumerate(map(str.split, text(interactions).split("\n")), 1):
        if not words:
            continue
        user, *chosen = words
        if not chosen:
            raise InvalidFile(interactions, line, f"user {user!r} stands alone; a user and items are expected")
        if user in first_lines:
            raise InvalidFile(interactions, line, f"user {user!r} has line {first_lines[user]} already")
        first_lines[user] = line
        users += [user] * len(chosen)
        items += chosen
        places += range(len(chosen))
        lines += [line] * len(chosen)
    rows = pl.DataFrame({"user": users, "item": items, "place": places})
    events = events_of(Table(interactions, rows, lines.__getitem__), Columns("user", "item", "place"))
    described = folder / "items.jsonl"
    return events, items_of(_described(described)) if described.exists() else no_items()


def _described(path: Path) -> Iterable[tuple[str, str, list[str], str]]:
    for line, value in json_objects(path):
        fields = _Fields(path, line, value)
        yield fields.id("item_id"), fields.text("title"), fields.words("categories"), fields.text("text")


# --- Tables whose columns the user may name -------------------------------------------------------------------------


def _mapped_table(path: Path, form: Format) -> Table:
    if form is Format.PARQUET:
        return parquet(path)
    if form is Format.JSONL:
        keys = dict.fromkeys(key for _, value in json_objects(path) for key in value)
        return json_columns(path, list(keys))
    first = text(path).partition("\n")[0]
    return delimited(path, max(",", "\t", ";", "|", key=first.count), quoted=True)


# --- Which format is it ---------------------------------------------------------------------------------------------


def detect_format(path: Path) -> Format:
    """The format of a file or folder, by names and, for JSON lines, the fields of the first. Raises InvalidFile."""
    return _of_folder(path) if path.is_dir() else _of_file(path)


_FOLDERS: Final = {
    "events.parquet": Format.TASTEPRINT,
    "*.inter": Format.RECBOLE,
    "u.data": Format.MOVIELENS_100K,
    "ratings.dat": Format.MOVIELENS_1M,
    "ratings.csv": Format.MOVIELENS_LATEST,
    "interactions.txt": Format.SEQUENCES,
}
_ENDINGS: Final = {
    ".inter": Format.RECBOLE,
    ".parquet": Format.PARQUET,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".txt": Format.SEQUENCES,
}


def _of_folder(folder: Path) -> Format:
    for pattern, form in _FOLDERS.items():
        if any(folder.glob(pattern)):
            return form
    if any(not path.name.startswith("meta_") for path in folder.glob("*.json*")):
        return _of_file(_only(folder, "*.json*", lambda name: not name.startswith("meta_")))
    raise InvalidFile(folder, 0, f"no data set is recognised here; {', '.join(_FOLDERS)} or *.json were looked for")


def _of_file(path: Path) -> Format:
    name = path.name.removesuffix(".gz")
    if name in ("u.data", "ratings.dat"):
        return _FOLDERS[name]
    if name == "ratings.csv" and text(path).partition("\n")[0].strip() == "userId,movieId,rating,timestamp":
        return Format.MOVIELENS_LATEST
    ending = Path(name).suffix
    if ending in (".json", ".jsonl", ".ndjson"):
        _, first = next(iter(json_objects(path)), (0, {}))
        if "reviewerID" in first:
            return Format.AMAZON_2014
        return Format.AMAZON_2023 if "parent_asin" in first else Format.JSONL
    if ending not in _ENDINGS:
        raise InvalidFile(path, 0, f"its name does not tell the format; say which of {', '.join(Format)}")
    return _ENDINGS[ending]


def _only(folder: Path, pattern: str, wanted: Callable[[str], bool] = lambda _: True) -> Path:
    found = sorted(path for path in folder.glob(pattern) if wanted(path.name))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InvalidFile(folder, 0, f"one {pattern} is expected, {names} found; give the path of the file")
    return found[0]


def _file_and_folder(path: Path, name: str) -> tuple[Path, Path]:
    """A data set's main file, given it or its folder, and the folder."""
    return (path / name, path) if path.is_dir() else (path, path.parent)
