"""A data set into the log, or into Parquet files."""

import time
from pathlib import Path
from typing import Any

from features.datasets import load, to_events, to_items, write
from features.events import encode_event
from features.items import encode_item
from services.console import progress
from services.settings import Settings
from services.wiring import open_log
from streaming.log import Stream


def import_dataset(
    settings: Settings,
    path: str,
    form: str | None,
    columns: dict[str, str] | None,
    name: str | None,
    to: Path | None,
    now: float,
) -> dict[str, Any]:
    """Reads the data set whole, so that a broken line is found before anything is sent; then sends or writes it.

    Importing again changes nothing: an event's id is its data set and row. Raises InvalidFile, UnknownName,
    LogUnavailable.
    """
    start = time.perf_counter()
    dataset = load(path, settings.home, form, columns, name)
    report: dict[str, Any] = {
        "data": dataset.name,
        "events": dataset.events.height,
        "items": dataset.items.height,
        "users": dataset.events["user"].n_unique(),
    }
    if to is not None:
        write(dataset, to)
        return report | {"folder": str(to), "seconds": round(time.perf_counter() - start, 3)}
    log = open_log(settings)
    try:
        with progress("sending") as advance:
            sent = 0
            # As old as the newest event: what the API says of an item since then stays.
            made = min(now, float(dataset.events["at"].max() or now))  # type: ignore[arg-type]  # a column of floats
            for items in to_items(dataset, made):
                log.append(Stream.ITEMS, [(item.id, encode_item(item)) for item in items], now)
            for events in to_events(dataset):
                log.append(Stream.EVENTS, [(event.user, encode_event(event)) for event in events], now)
                sent += len(events)
                advance(sent, dataset.events.height, "events to the log")
    finally:
        log.close()
    return report | {"log": settings.log_name, "seconds": round(time.perf_counter() - start, 3)}
