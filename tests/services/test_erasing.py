"""Erasing: the log and the dead letters at once, the profile by an order in the log that does not name the user."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from features.errors import LogUnavailable
from features.events import Erasure, Event, EventId, ItemId, UserId, encode_event, parse_record, user_digest
from features.profile import Position
from features.profiles import ProfileStore, UserBatch
from services.erasing import erase
from streaming.dead_letters import DeadLetters
from streaming.log import Record, Stream
from streaming.sqlite_log import SqliteLog
from tests.services.conftest import NOW

ANN, BOB = UserId("ann-4711"), UserId("bob")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with closing(SqliteLog(tmp_path / "log.sqlite", partitions=1)) as log:
        yield log


@pytest.fixture
def letters(tmp_path: Path) -> Iterator[DeadLetters]:
    with closing(DeadLetters(tmp_path / "dead_letters.sqlite")) as letters:
        yield letters


def event(user: UserId, at: float) -> Event:
    return Event(EventId(f"{user}-{at}"), user, ItemId("alien"), "view", None, at)


def records_of(log: SqliteLog, stream: Stream) -> list[Record]:
    with closing(log.consumer(stream, None)) as consumer:
        return consumer.read(1000, 0.0)


def test_the_log_and_the_dead_letters_forget_and_the_order_follows(
    store: ProfileStore, log: SqliteLog, letters: DeadLetters
) -> None:
    for user in (ANN, BOB):
        log.append(Stream.EVENTS, [(user, encode_event(event(user, at))) for at in (1.0, 2.0)], NOW)
        log.append(Stream.IMPRESSIONS, [(user, b"{}")], NOW)
        letters.add(Stream.EVENTS, user, b"{", Position("log", 0, len(user)), "wrong", NOW)
    report = erase(ANN, store, log, letters, NOW)
    [*kept, order] = records_of(log, Stream.EVENTS)
    assert report == {"erased": True, "log_records": 3, "dead_letters": 1, "position": str(order.position)}
    assert [record.key for record in kept] == [BOB, BOB]
    assert [record.key for record in records_of(log, Stream.IMPRESSIONS)] == [BOB]
    assert [letter.key for letter in letters.list()] == [BOB]
    assert parse_record(order.value, NOW) == Erasure(user_digest(ANN), NOW)
    assert ANN not in order.key
    assert ANN.encode() not in order.value


@pytest.mark.parametrize(("newest", "erased_at"), [(NOW - 5, NOW), (NOW + 3600, NOW + 3600)])
def test_the_order_covers_events_that_a_fast_clock_put_after_now(
    store: ProfileStore, log: SqliteLog, letters: DeadLetters, newest: float, erased_at: float
) -> None:
    store.apply([UserBatch(user_digest(ANN), Position("log", 0, 0), [event(ANN, newest), event(ANN, 1.0)])])
    erase(ANN, store, log, letters, NOW)
    [order] = records_of(log, Stream.EVENTS)
    assert parse_record(order.value, NOW + 86_400) == Erasure(user_digest(ANN), erased_at)


def test_erasing_twice_is_erasing_once(store: ProfileStore, log: SqliteLog, letters: DeadLetters) -> None:
    log.append(Stream.EVENTS, [(ANN, encode_event(event(ANN, 1.0)))], NOW)
    assert erase(ANN, store, log, letters, NOW)["log_records"] == 1
    assert erase(ANN, store, log, letters, NOW)["log_records"] == 0


def test_when_the_log_cannot_forget_there_is_no_order_and_asking_again_does_it(
    store: ProfileStore, log: SqliteLog, letters: DeadLetters
) -> None:
    log.append(Stream.EVENTS, [(ANN, encode_event(event(ANN, 1.0)))], NOW)
    with closing(sqlite3.connect(log.path)) as vandal:
        vandal.execute("ALTER TABLE records RENAME TO away")
        with pytest.raises(LogUnavailable):
            erase(ANN, store, log, letters, NOW)
        vandal.execute("ALTER TABLE away RENAME TO records")
    assert len(records_of(log, Stream.EVENTS)) == 1
    assert erase(ANN, store, log, letters, NOW)["log_records"] == 1
