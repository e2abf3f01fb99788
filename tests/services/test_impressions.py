"""Impressions: written behind the requests' back, dropped and counted when the log cannot follow."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from features.events import ItemId, UserId
from services.impressions import Exposure, Impression, ImpressionWriter, encode_impression
from streaming.log import Record, Stream
from streaming.sqlite_log import SqliteLog
from tests.services.conftest import NOW, wait_until


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with closing(SqliteLog(tmp_path / "log.sqlite", partitions=1)) as log:
        yield log


def impression(number: int) -> Impression:
    return Impression(f"r-{number}", UserId("ann"), [ItemId("alien"), ItemId("é")], "popularity", NOW + number)


def records_of(log: SqliteLog) -> list[Record]:
    with closing(log.consumer(Stream.IMPRESSIONS, None)) as consumer:
        return consumer.read(10_000, 0.0)


def test_an_impression_stands_in_its_stream_under_its_user(log: SqliteLog) -> None:
    with closing(ImpressionWriter(log, lambda: NOW)) as writer:
        writer.put(impression(1))
    [record] = records_of(log)
    assert record.key == "ann"
    assert record.appended == NOW
    assert orjson.loads(record.value) == {
        "recommendation_id": "r-1",
        "user_id": "ann",
        "items": ["alien", "é"],
        "model_version": "popularity",
        "timestamp": NOW + 1,
    }


def test_what_an_impression_is_to_an_experiment_stands_beside_it() -> None:
    plain = orjson.loads(encode_impression(impression(1)))
    split = replace(impression(1), exposure=Exposure("toy", "control"))
    assert orjson.loads(encode_impression(split)) == plain | {"experiment": "toy", "variant": "control"}
    interleaved = replace(impression(1), exposure=Exposure("toy", teams=["control", None]))
    assert orjson.loads(encode_impression(interleaved)) == plain | {"experiment": "toy", "teams": ["control", None]}


def test_impressions_are_written_in_the_background_in_order(log: SqliteLog) -> None:
    with closing(ImpressionWriter(log, lambda: NOW)) as writer:
        for number in range(5):
            writer.put(impression(number))
        wait_until(lambda: writer.written == 5)
        assert [orjson.loads(record.value)["recommendation_id"] for record in records_of(log)] == [
            f"r-{number}" for number in range(5)
        ]


def test_all_that_waits_is_written_at_the_end(log: SqliteLog) -> None:
    with closing(ImpressionWriter(log, lambda: NOW)) as writer:
        for number in range(4500):  # more than two batches
            writer.put(impression(number))
    assert (writer.written, writer.dropped) == (4500, 0)
    assert len(records_of(log)) == 4500


def test_when_too_many_wait_the_newest_are_dropped_and_counted(log: SqliteLog) -> None:
    with closing(ImpressionWriter(log, lambda: NOW, waiting_most=3)) as writer:
        for number in range(1000):
            writer.put(impression(number))
    assert writer.dropped > 0
    assert writer.written + writer.dropped == 1000
    kept = [orjson.loads(record.value)["recommendation_id"] for record in records_of(log)]
    assert len(kept) == writer.written
    assert kept[:3] == ["r-0", "r-1", "r-2"]


def test_what_the_log_does_not_take_is_dropped_and_counted_and_the_next_is_written(log: SqliteLog) -> None:
    with closing(sqlite3.connect(log.path)) as vandal, closing(ImpressionWriter(log, lambda: NOW)) as writer:
        vandal.execute("ALTER TABLE records RENAME TO away")
        writer.put(impression(1))
        wait_until(lambda: writer.dropped == 1)
        vandal.execute("ALTER TABLE away RENAME TO records")
        writer.put(impression(2))
        wait_until(lambda: writer.written == 1)
    assert [orjson.loads(record.value)["recommendation_id"] for record in records_of(log)] == ["r-2"]
