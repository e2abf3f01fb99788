"""The report of an experiment: read from the log, as a table for people or JSON for machines."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any, Final

import polars as pl
from rich.table import Table

from features.errors import InvalidInput, UnknownName
from features.events import Event, parse_record
from models.intervals import MISMATCH
from models.outcomes import EXPOSURES, OUTCOMES, RATES, report_interleaving, report_split
from services.console import out, print_json
from services.experiments import Experiment
from services.settings import Settings
from services.wiring import open_log
from streaming.log import EventLog, Record, Stream

BATCH: Final = 20_000
SKEW_SECONDS: Final = 3600.0  # by which the clocks of servers may differ

# The columns of an exposure, and what they are called in an impression.
_NAMES: Final = {
    "recommendation": "recommendation_id",
    "user": "user_id",
    "variant": "variant",
    "items": "items",
    "teams": "teams",
    "model": "model_version",
    "at": "timestamp",
}
_IMPRESSION: Final = pl.Schema(
    {"experiment": pl.String(), **{theirs: EXPOSURES[ours] for ours, theirs in _NAMES.items()}}
)


def report_experiment(
    settings: Settings,
    name: str | None,
    types: Sequence[str],
    window: float,
    since: str | None,
    *,
    json: bool,
) -> None:
    """Prints what came of an experiment, of that in the settings when none is named.

    types: of events that count as outcomes; every type when empty. window: seconds after an exposure. since: only
    exposures from then on, epoch seconds or ISO 8601. Raises InvalidInput, and UnknownName for an experiment that
    stands neither in the settings nor in the log.
    """
    if not window > 0:
        raise InvalidInput("window", f"{window:g} was given; it is in seconds, above 0")
    start = 0.0 if since is None else _seconds(since)
    experiment = settings.experiment
    if name is None:
        if experiment is None:
            raise InvalidInput("experiment", "the settings have none; name the one that is meant")
        name = experiment.name
    with closing(open_log(settings)) as log:
        exposures = read_exposures(log, name, start)
        if experiment is None or experiment.name != name:
            experiment = None
            if exposures.is_empty():
                raise UnknownName(f"no experiment {name!r} stands in the settings or among the impressions of the log")
        outcomes = read_outcomes(log, types, exposures)
    report = {
        "experiment": name,
        "window_seconds": window,
        "since": start or None,
        "outcomes": list(types) or None,
        **_report(experiment, exposures, outcomes, window),
    }
    if json:
        print_json(report)
    else:
        _print(report)


def read_exposures(log: EventLog, experiment: str, since: float) -> pl.DataFrame:
    """What was shown in an experiment from a time on, as models.outcomes takes it."""
    named = f'"experiment":"{experiment}"'.encode()  # as the writer of impressions writes it

    def rows(records: Sequence[Record]) -> pl.DataFrame:
        shown = pl.Series([record.value for record in records if named in record.value], dtype=pl.Binary)
        decoded = shown.cast(pl.String).str.json_decode(pl.Struct(_IMPRESSION)).struct.unnest()
        wanted = (pl.col("experiment") == experiment) & (pl.col("timestamp") >= since)
        return decoded.filter(wanted).select(pl.col(theirs).alias(ours) for ours, theirs in _NAMES.items())

    return _read(log, Stream.IMPRESSIONS, since, rows, EXPOSURES)


def read_outcomes(log: EventLog, types: Sequence[str], exposures: pl.DataFrame) -> pl.DataFrame:
    """The events of these types (every type when empty) that carry the id of one of the exposures."""
    if exposures.is_empty():
        return OUTCOMES.to_frame()
    shown, wanted = set(exposures["recommendation"]), frozenset(types)

    def rows(records: Sequence[Record]) -> pl.DataFrame:
        events = [_event(record) for record in records if b'"recommendation_id"' in record.value]
        return pl.DataFrame(
            [
                (event.id, event.recommendation, event.user, event.item, event.at)
                for event in events
                if event is not None and event.recommendation in shown and (not wanted or event.type in wanted)
            ],
            OUTCOMES,
            orient="row",
        )

    return _read(log, Stream.EVENTS, float(exposures["at"].to_numpy().min()), rows, OUTCOMES)


def _event(record: Record) -> Event | None:
    try:
        said = parse_record(record.value, record.appended)
    except InvalidInput:
        return None  # the ingest has it among the dead letters
    return said if isinstance(said, Event) else None


def _read(
    log: EventLog,
    stream: Stream,
    since: float,
    rows_of: Callable[[Sequence[Record]], pl.DataFrame],
    schema: pl.Schema,
) -> pl.DataFrame:
    """The rows of the records that were appended from a time on."""
    frames = [schema.to_frame()]
    with closing(log.consumer(stream, None)) as consumer:
        for partition in consumer.partitions:
            consumer.seek(partition, time=since - SKEW_SECONDS)
        while records := consumer.read(BATCH, 0.0):
            frames.append(rows_of(records))
    return pl.concat(frames)


def _report(
    experiment: Experiment | None, exposures: pl.DataFrame, outcomes: pl.DataFrame, window: float
) -> dict[str, Any]:
    """Of the kind that the settings say, else that the log has; exposures of the other kind are left out."""
    is_split = pl.col("teams").is_null()
    split, interleaved = exposures.filter(is_split), exposures.filter(~is_split)
    kind = experiment.kind if experiment is not None else "split" if split.height else "interleave"
    shares: dict[str, float | None] = {}
    if experiment is not None:
        shares = {name: variant.share for name, variant in experiment.variants.items()}
    if kind == "split":
        shares |= {name: None for name in split["variant"].unique().sort() if name not in shares}
        report, other = report_split(split, outcomes, window, shares), interleaved
    else:
        names = list(shares) or interleaved.select(pl.col("teams").explode().drop_nulls().unique().sort())["teams"]
        if len(names) != 2:
            raise InvalidInput("experiment", f"the log names {len(names)} variants; an interleaving is of two")
        report, other = report_interleaving(interleaved, outcomes, window, list(names)), split
    report["left_out"]["exposures_of_the_other_kind"] = other.height
    return {"kind": kind, **report}


def _seconds(given: str) -> float:
    try:
        at = float(given)
    except ValueError:
        try:
            stated = datetime.fromisoformat(given)
        except ValueError:
            stated = None
        at = math.nan if stated is None or stated.tzinfo is None else stated.timestamp()
    if not math.isfinite(at):
        raise InvalidInput("since", f"{given!r} is neither epoch seconds nor ISO 8601 with a zone")
    return at


def _print(report: Mapping[str, Any]) -> None:
    variants = report["variants"]
    split = report["kind"] == "split"
    table = Table("", *variants, title=f"{report['experiment']}, {report['kind']}")
    for field in ("users", "exposures", "clicked", "outcomes") if split else ("placed", "credited", "wins"):
        table.add_row(field, *(str(one[field]) for one in variants.values()))
    for rate in RATES if split else ():
        table.add_row(rate.replace("_", " "), *(_interval(one[rate]) for one in variants.values()))
    out.print(table)
    for pair, compared in report["comparisons"].items():
        for rate in RATES if split else ("preference",):
            out.print(
                f"{pair}: {rate.replace('_', ' ')} {_interval(compared[rate], '+')}{_chance(compared[rate]['p'])}"
            )
        if not split:
            lists = ", ".join(f"{compared[field]} {field}" for field in ("wins", "losses", "ties"))
            users = f"{compared['users_for']} users for it and {compared['users_against']} against"
            out.print(f"{pair}: {lists}; {users}{_chance(compared['sign_p'])} (sign test)")
    for why, number in report["left_out"].items():
        if number:
            out.print(f"left out: {number} {why.replace('_', ' ')}")
    ratio = report["sample_ratio"]
    if ratio is not None and ratio["mismatch"]:
        out.print(
            f"SAMPLE RATIO MISMATCH: users fell to the variants as {ratio['observed']}, where {ratio['expected']} was"
            f" set (p = {ratio['p']:.1g} < {MISMATCH}). Assignment or logging is broken: do not trust the comparisons.",
            style="bold red",
        )
    elif ratio is not None:
        out.print(f"sample ratio as set{_chance(ratio['p'])}")


def _chance(p: float | None) -> str:
    return "" if p is None else f", p = {p:.2g}"


def _interval(figures: Mapping[str, float | None], sign: str = "") -> str:
    value, low, high = (figures[part] for part in ("value", "low", "high"))
    if value is None:
        return "-"
    return f"{value:{sign}.4f}" + ("" if low is None or high is None else f" [{low:{sign}.4f}, {high:{sign}.4f}]")
