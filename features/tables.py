"""Files of rows, delimited, JSON lines or Parquet, read as they stand into columns that know their lines."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from features.errors import InvalidFile

_UNIT_SEPARATOR: Final = "\x1f"


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """rows: as in the file, an absent value null. line_of: the line, from 1, that a row (from 0) starts on."""

    path: Path
    rows: pl.DataFrame
    line_of: Callable[[int], int]


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """A file to read, decompressed when its name ends with .gz. Raises InvalidFile, in the block as well."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidFile(path, 0, f"is not a whole gzip file: {error}") from None
    except OSError as error:
        raise InvalidFile(path, 0, f"cannot be read: {error.strerror or error}") from None


def text(path: Path, or_latin_1: bool = False) -> str:
    """A file's text, without byte order mark: UTF-8, or Latin-1 where that is allowed and it is not UTF-8."""
    with opened(path) as file:
        data = file.read()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if or_latin_1:
            return data.decode("latin-1")
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidFile(path, line, "is not UTF-8; convert the file first") from None


def delimited(
    path: Path,
    separator: str,
    names: Sequence[str] | None = None,
    *,
    quoted: bool = False,
    or_latin_1: bool = False,
) -> Table:
    """A file of one row a line. names: the columns of a file that has no header. quoted: "..." hides separators.

    Raises InvalidFile for a line with more or fewer fields than there are columns; empty lines are passed over.
    """
    whole = text(path, or_latin_1).rstrip("\r\n")
    if len(separator) > 1:  # the fast reader takes one byte only
        whole, separator = whole.replace(separator, _UNIT_SEPARATOR), _UNIT_SEPARATOR
    careful = _CarefulReader(path, whole, separator, quoted)
    header = careful.header() if names is None else list(names)
    try:
        rows = pl.read_csv(
            whole.encode(),
            has_header=names is None,
            schema=dict.fromkeys(header, pl.String),
            separator=separator,
            quote_char='"' if quoted else None,
        )
    except pl.exceptions.PolarsError:
        rows = pl.DataFrame()
    # The fast reader fills short and empty lines with nulls: a null at a line's end may be such a line, or just null.
    if rows.is_empty() or rows.to_series(-1).null_count():
        rows, _ = careful.read(header, names is None)
    return Table(path, rows, lambda row: careful.read(header, names is None)[1][row])


@dataclass(frozen=True, slots=True)
class _CarefulReader:
    """Reads with Python's csv module, slowly: it knows the line of each row, and what is wrong with one."""

    path: Path
    whole: str
    separator: str
    quoted: bool

    def header(self) -> list[str]:
        for _, fields in self._rows():
            twice = {name for name in fields if fields.count(name) > 1}
            if twice:
                raise InvalidFile(self.path, 1, f"the column {sorted(twice)[0]!r} is there twice")
            return fields
        raise InvalidFile(self.path, 0, "is empty")

    def read(self, header: Sequence[str], skip_first: bool) -> tuple[pl.DataFrame, list[int]]:
        """Every row, and the line that each starts on."""
        rows: list[list[str | None]] = []
        lines: list[int] = []
        for line, fields in self._rows():
            if skip_first:
                skip_first = False
                continue
            if len(fields) != len(header):
                raise InvalidFile(
                    self.path,
                    line,
                    f"{_count(len(fields), 'field')} where {len(header)} are expected: {', '.join(header)}",
                )
            rows.append([field or None for field in fields])
            lines.append(line)
        return pl.DataFrame(rows, schema=dict.fromkeys(header, pl.String), orient="row"), lines

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(
            io.StringIO(self.whole, newline=""),
            delimiter=self.separator,
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            strict=True,
        )
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise InvalidFile(self.path, line, f"is not a row of fields: {error}") from None
            if fields:
                yield line, fields


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The object of each line of a JSON lines file, and the line; empty lines are passed over. Raises InvalidFile."""
    with opened(path) as file:
        for line, encoded in enumerate(file, 1):
            if encoded.strip():
                yield line, _object(path, line, encoded)


def _object(path: Path, line: int, encoded: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(encoded)
    except orjson.JSONDecodeError as error:
        if encoded.startswith(b"{'"):
            raise InvalidFile(
                path, line, "is a Python dictionary, not JSON; convert the file to JSON lines first"
            ) from None
        raise InvalidFile(path, line, f"is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidFile(path, line, "is not a JSON object; one object a line is expected")
    return value


def json_columns(path: Path, names: Sequence[str]) -> Table:
    """The named fields of a JSON lines file, as columns of text; an absent field and a null one are null."""
    columns: list[list[str | None]] = [[] for _ in names]
    lines = []
    for line, value in json_objects(path):
        lines.append(line)
        for name, column in zip(names, columns, strict=True):
            one = value.get(name)
            if one is None or isinstance(one, str):
                column.append(one)
            elif isinstance(one, int | float) and not isinstance(one, bool):
                column.append(repr(one))  # a float's repr reads back as the same float
            else:
                raise InvalidFile(path, line, f"{name!r} is neither text nor a number")
    rows = pl.DataFrame(dict(zip(names, columns, strict=True)), schema=dict.fromkeys(names, pl.String))
    return Table(path, rows, lines.__getitem__)


def parquet(path: Path) -> Table:
    """A Parquet file; its "lines" are its rows, from 1. Raises InvalidFile."""
    try:
        rows = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidFile(path, 0, f"is not a Parquet file that can be read: {error}") from None
    return Table(path, rows, lambda row: row + 1)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
