"""Columns of a table with every value checked at once; what is wrong is named by its line and column."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl

from features.errors import InvalidFile
from features.tables import Table
from features.wire import ID_LENGTH

LATEST: Final = 4_102_444_800.0  # 2100-01-01: a later time is a mistake, mostly of the unit
_MILLISECONDS: Final = 1e11  # the year 5138 in seconds, March 1973 in milliseconds


@dataclass(slots=True)
class Reading:
    """Takes checked columns out of a table. Call `finish` before using them: it raises for the first wrong line."""

    table: Table
    _faults: list[tuple[int, int, str]] = field(default_factory=list)  # row, number of the check, problem

    def ids(self, column: str, longest: int = ID_LENGTH) -> pl.Series:
        """Text of 1 to `longest` characters; whole numbers become text."""
        values = self._text(column, "an id", "text or whole numbers", self.table.rows[column].dtype.is_integer())
        self._fault(column, values.is_null(), lambda _: "is empty")
        self._fault(
            column,
            values.str.len_chars() > longest,
            lambda row: f"{len(values[row])} characters; at most {longest} are taken",
        )
        return values

    def numbers(self, column: str, required: bool = False) -> pl.Series:
        """Finite numbers as Float64; null where there is none, unless required."""
        values, raw = self._floats(column, "a number")
        if required:
            self._fault(column, raw.is_null(), lambda _: "is empty")
        self._fault(column, values.is_null() & raw.is_not_null(), lambda row: f"{raw[row]!r} is not a number")
        self._finite(column, values, raw)
        return values

    def times(self, column: str, unit: float = 1.0) -> pl.Series:
        """Epoch seconds as Float64, from numbers (in `unit` seconds) or from times that carry a zone."""
        kind = self.table.rows.schema[column]
        if isinstance(kind, pl.Datetime):
            if kind.time_zone is None:
                raise InvalidFile(
                    self.table.path, 0, f"{column!r} holds times without a zone; convert them to a zone first"
                )
            raw = self.table.rows[column]
            values = raw.dt.epoch("us").cast(pl.Float64) / 1e6
        else:
            values, raw = self._floats(column, "a time")
            values = values * unit
            unread = values.is_null() & raw.is_not_null()
            if unread.any():
                stated = pl.Series([_iso_seconds(one) for one in raw.filter(unread)], dtype=pl.Float64)
                values = values.scatter(unread.arg_true(), stated)
            self._fault(
                column,
                values.is_null() & raw.is_not_null(),
                lambda row: f"{raw[row]!r} is neither epoch seconds nor ISO 8601 with a zone",
            )
        self._fault(column, raw.is_null(), lambda _: "is empty")
        self._finite(column, values, raw)
        self._fault(column, values < 0, lambda row: f"{raw[row]} is before 1970")
        self._fault(column, values > LATEST, lambda row: f"{raw[row]} is after 2099{_hint(values[row], column, unit)}")
        return values

    def finish(self) -> None:
        """Raises InvalidFile for the first wrong line, when there is one."""
        if self._faults:
            row, _, problem = min(self._faults)
            raise InvalidFile(self.table.path, self.table.line_of(row), problem)

    def _text(self, column: str, what: str, expected: str, also: bool) -> pl.Series:
        values = self.table.rows[column]
        if not (values.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null) or also):
            raise InvalidFile(
                self.table.path, 0, f"{column!r} holds {values.dtype}, which is not {what}; {expected} will do"
            )
        values = values.cast(pl.String)
        return values.set(values == "", None)  # a quoted empty field is as empty as an unquoted one

    def _floats(self, column: str, what: str) -> tuple[pl.Series, pl.Series]:
        """The column as numbers, null where it is not one, and as text."""
        values = self.table.rows[column]
        if values.dtype.is_numeric():
            return _one_zero(values.cast(pl.Float64)), values
        raw = self._text(column, what, "numbers or text", False)
        return _one_zero(raw.str.strip_chars().cast(pl.Float64, strict=False)), raw

    def _finite(self, column: str, values: pl.Series, raw: pl.Series) -> None:
        self._fault(column, ~values.is_finite(), lambda row: f"{raw[row]} is not a finite number")

    def _fault(self, column: str, wrong: pl.Series, problem: Callable[[int], str]) -> None:
        row = wrong.fill_null(False).arg_max() if wrong.any() else None
        if row is not None:
            self._faults.append((row, len(self._faults), f"{column!r} {problem(row)}"))


def _one_zero(values: pl.Series) -> pl.Series:
    """-0.0 and 0.0 are one value, and must be one encoding; polars takes `+ 0.0` to change nothing."""
    return values.set(values == 0.0, 0.0)


def _iso_seconds(stated: str) -> float | None:
    try:
        at = datetime.fromisoformat(stated.strip())
    except ValueError:
        return None
    return None if at.tzinfo is None else at.timestamp()


def _hint(at: float, column: str, unit: float) -> str:
    if unit == 1.0 and at > _MILLISECONDS and at / 1000 <= LATEST:
        return f'; if these are milliseconds, name the column "{column}:ms"'
    return ""
