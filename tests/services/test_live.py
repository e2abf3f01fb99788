"""What a server keeps in memory from the log: what is popular, counted from the events themselves."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event as Signal
from threading import Thread

import orjson
import pytest

from features.errors import LogUnavailable
from features.events import Erasure, Event, EventId, ItemId, UserDigest, UserId, encode_erasure, encode_event
from features.profile import Position
from services.live import LivePopularity, tail
from streaming.log import Record, Stream
from streaming.sqlite_log import SqliteConsumer, SqliteLog
from tests.services.conftest import NOW, wait_until

DAY = 86_400.0


def record(value: bytes) -> Record:
    return Record(Position("log", 0, 0), "ann", value, NOW)


def chosen(item: str, at: float, identity: str | None = None) -> Record:
    event = Event(EventId(identity or f"{item}-{at}"), UserId("ann"), ItemId(item), "view", None, at)
    return record(encode_event(event))


def counted(*records: Record, half_life: float = DAY) -> tuple[dict[ItemId, float], dict[ItemId, float]]:
    popularity = LivePopularity(half_life)
    popularity.take(records, NOW)
    return popularity.counts()


def test_every_event_counts_one() -> None:
    counts, _ = counted(chosen("alien", NOW), chosen("alien", NOW - 1), chosen("brazil", NOW))
    assert counts == {"alien": 2.0, "brazil": 1.0}


@pytest.mark.parametrize("now", [NOW, 1000 * DAY, 5 * DAY])
def test_an_event_weighs_half_of_one_that_is_a_half_life_younger(now: float) -> None:
    _, decayed = counted(chosen("new", now), chosen("old", now - DAY), chosen("older", now - 2 * DAY))
    assert decayed["old"] / decayed["new"] == pytest.approx(1 / 2)
    assert decayed["older"] / decayed["new"] == pytest.approx(1 / 4)


def test_old_events_together_weigh_as_much_as_a_new_one() -> None:
    _, decayed = counted(chosen("new", NOW), *(chosen("old", NOW - 2 * DAY, f"old-{number}") for number in range(4)))
    assert decayed["old"] == pytest.approx(decayed["new"])


@pytest.mark.parametrize("gap", [49, 51, 200])
def test_weights_do_not_depend_on_the_order_in_which_events_come(gap: int) -> None:
    records = [
        chosen("a", NOW - gap * DAY),
        chosen("b", NOW - (gap - 1) * DAY),
        chosen("c", NOW),
        chosen("d", NOW - DAY),
    ]
    orders = [counted(*records)[1], counted(*reversed(records))[1]]
    for decayed in orders:
        assert decayed["d"] / decayed["c"] == pytest.approx(1 / 2)
        assert decayed["a"] / decayed["c"] == pytest.approx(2.0**-gap, abs=1e-40)


def test_old_data_replayed_has_a_trend_too() -> None:
    # Twenty years ago, and a week of it: the newest event of the data is now.
    then = NOW - 20 * 365 * DAY
    _, decayed = counted(*(chosen(f"day-{day}", then + day * DAY) for day in range(7)))
    weights = [decayed[ItemId(f"day-{day}")] for day in range(7)]
    assert weights == sorted(weights)
    assert weights[6] / weights[0] == pytest.approx(2**6)


def test_an_event_that_is_read_again_counts_once() -> None:
    popularity = LivePopularity(DAY)
    for _ in range(3):
        popularity.take([chosen("alien", NOW, "same"), chosen("alien", NOW, "same")], NOW)
    assert popularity.counts()[0] == {"alien": 1.0}


def test_events_count_alike_however_they_are_written() -> None:
    written = [
        b'{"event_id":"1","user_id":"u","item_id":"alien","type":"view","timestamp":1000.0}',
        b'{"event_id":"2","user_id":"u","item_id":"alien","type":"view","timestamp":1000}',
        b'{"event_id":"3","user_id":"u","item_id":"alien","type":"view","timestamp":"1970-01-01T00:16:40Z"}',
        b' {"timestamp":1000.0, "type":"view", "item_id":"alien", "user_id":"u", "event_id":"4"}',
    ]
    for value in written:
        assert counted(record(value)) == counted(record(written[0]))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"user_id":"u"}',
        b'{"event_id":"1","user_id":"u","type":"view"}',
        b'{"event_id":"1","user_id":"u","item_id":"alien","type":"view","timestamp":-1.0}',
        b'{"event_id":"1","user_id":"u","item_id":"alien","type":"view","timestamp":9e18}',
        encode_erasure(Erasure(UserDigest("a" * 16), NOW)),
        orjson.dumps({"item_id": "alien"}),
    ],
)
def test_what_is_no_event_about_an_item_is_passed_over(value: bytes) -> None:
    assert counted(record(value), chosen("brazil", NOW))[0] == {"brazil": 1.0}


def test_the_version_tells_that_something_came_in() -> None:
    popularity = LivePopularity(DAY)
    before = popularity.version
    popularity.take([chosen("alien", NOW)], NOW)
    assert popularity.version > before


def test_nothing_is_popular_before_anything_came_in() -> None:
    assert LivePopularity(DAY).counts() == ({}, {})


class Interrupted:
    """A consumer whose log does not answer the first time."""

    def __init__(self, consumer: SqliteConsumer) -> None:
        self._consumer = consumer
        self._failed = False

    def read(self, most: int, wait: float) -> list[Record]:
        if not self._failed:
            self._failed = True
            raise LogUnavailable("not now")
        return self._consumer.read(most, wait)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with closing(SqliteLog(tmp_path / "log.sqlite", partitions=1)) as log:
        yield log


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_tail_of_a_log_is_followed_and_catching_up_is_told(log: SqliteLog, interrupted: bool) -> None:
    log.append(Stream.EVENTS, [("ann", b"%d" % number) for number in range(3)], NOW)
    stop, caught_up = Signal(), Signal()
    taken: list[bytes] = []

    def take(records: list[Record]) -> None:
        assert not caught_up.is_set() or taken  # what was there is handed over before it is told
        taken.extend(one.value for one in records)

    with closing(log.consumer(Stream.EVENTS, None)) as consumer:
        thread = Thread(target=tail, args=(Interrupted(consumer) if interrupted else consumer, take, stop, caught_up))
        thread.start()
        wait_until(caught_up.is_set)
        assert taken == [b"0", b"1", b"2"]
        log.append(Stream.EVENTS, [("ann", b"3")], NOW)
        wait_until(lambda: len(taken) == 4)
        stop.set()
        thread.join()
    assert taken == [b"0", b"1", b"2", b"3"]
