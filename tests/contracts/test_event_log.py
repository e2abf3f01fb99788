"""What every event log promises, on every backend: what was appended, who has read how far, and what is forgotten."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from kafka_server import KafkaServer

from features.profile import Position
from streaming.kafka_log import KafkaLog
from streaming.kafka_url import KafkaUrl
from streaming.log import Consumer, EventLog, Record, Stream
from streaming.sqlite_log import SqliteLog

NOW = 1_700_000_000.0
WAIT = 10.0  # for records that are there: only a broken log waits so long
QUIET = 0.05  # for records that must not come

OpenLog = Callable[..., EventLog]


FOR_EVER = {"retention_days": 0, "impressions_days": 0}  # brokers delete by age, and the tests' clock is long past

_tests = count()


@pytest.fixture(params=["sqlite", "kafka"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenLog]:
    """Opens a log of the test by its name: the same name is the same log, as another process would open it."""
    opened: list[EventLog] = []
    test = next(_tests)

    def open_named(name: str = "log") -> EventLog:
        if request.param == "kafka":
            server: KafkaServer = request.getfixturevalue("kafka")
            opened.append(KafkaLog(KafkaUrl.parse(server.url(f"contract-{test}-{name}", **FOR_EVER), 3)))
        else:
            opened.append(SqliteLog(tmp_path / f"{name}.sqlite", partitions=3))
        return opened[-1]

    yield open_named
    for log in opened:
        log.close()


@pytest.fixture
def log(open_log: OpenLog) -> EventLog:
    return open_log()


def take(consumer: Consumer, expected: int, most: int = 100) -> list[Record]:
    """Reads until `expected` records have come, which must all be there."""
    records: list[Record] = []
    while len(records) < expected:
        some = consumer.read(most, WAIT)
        assert some, f"{len(records)} records came, {expected} were appended"
        records += some
    return records


def everything(log: EventLog, stream: Stream, expected: int) -> list[Record]:
    with closing(log.consumer(stream, None)) as consumer:
        records = take(consumer, expected)
        assert consumer.read(100, QUIET) == []
    return records


def values(records: Iterable[Record]) -> list[bytes]:
    return sorted(record.value for record in records)


def numbered(count: int, key: str | None = None) -> list[tuple[str, bytes]]:
    """Records b"00", b"01"... of one key, or each of a key of its own."""
    return [(key or f"user-{number}", b"%02d" % number) for number in range(count)]


def test_a_record_is_read_as_it_was_appended(log: EventLog) -> None:
    given = [("ada", b"\x00\xff not text"), ("é} \U0001f600", b"{}"), ("ada", b""), ("n\x00ul", b"0")]
    positions = log.append(Stream.EVENTS, given, NOW)
    records = everything(log, Stream.EVENTS, 4)
    assert {r.position: (r.key, r.value, r.appended) for r in records} == {
        position: (*pair, NOW) for position, pair in zip(positions, given, strict=True)
    }


def test_positions_are_of_this_log_and_count_up_within_a_partition(log: EventLog) -> None:
    positions = log.append(Stream.EVENTS, numbered(30), NOW) + log.append(Stream.EVENTS, numbered(30), NOW)
    assert {position.log_id for position in positions} == {log.log_id}
    assert len(set(positions)) == 60
    with closing(log.consumer(Stream.EVENTS, None)) as consumer:
        assert consumer.log_id == log.log_id
        assert {position.partition for position in positions} <= set(consumer.partitions)
    for partition in {position.partition for position in positions}:
        offsets = [position.offset for position in positions if position.partition == partition]
        assert offsets == sorted(offsets)


def test_appending_nothing_is_nothing(log: EventLog) -> None:
    assert log.append(Stream.EVENTS, [], NOW) == []
    assert everything(log, Stream.EVENTS, 0) == []


def test_the_records_of_a_key_keep_their_order_and_their_partition(log: EventLog) -> None:
    for number in range(20):
        log.append(Stream.EVENTS, [(key, b"%02d" % number) for key in ("ada", "bob", "eve")], NOW)
    records = everything(log, Stream.EVENTS, 60)
    for key in ("ada", "bob", "eve"):
        of_key = [record for record in records if record.key == key]
        assert [record.value for record in of_key] == [b"%02d" % number for number in range(20)]
        assert len({record.position.partition for record in of_key}) == 1


def test_within_a_partition_records_come_in_the_order_of_their_offsets(log: EventLog) -> None:
    log.append(Stream.EVENTS, numbered(50), NOW)
    with closing(log.consumer(Stream.EVENTS, None)) as consumer:
        records = take(consumer, 50, most=7)
    read: dict[int, list[int]] = defaultdict(list)
    for record in records:
        read[record.position.partition].append(record.position.offset)
    assert all(offsets == sorted(set(offsets)) for offsets in read.values())


def test_streams_are_apart(log: EventLog) -> None:
    for stream in Stream:
        log.append(stream, [("ada", stream.encode())], NOW)
    for stream in Stream:
        assert values(everything(log, stream, 1)) == [stream.encode()]


def test_times_do_not_decrease_within_a_partition_when_a_clock_is_set_back(log: EventLog) -> None:
    for step in (0.0, 50.0, -100.0, 60.0, 10.0):
        log.append(Stream.EVENTS, [("ada", b"x")], NOW + step)
    records = everything(log, Stream.EVENTS, 5)
    times = [record.appended for record in records]
    assert times == sorted(times)
    assert times[0] == NOW
    assert times[3] == NOW + 60.0


def test_a_log_keeps_its_id_and_its_records_when_it_is_opened_again(open_log: OpenLog) -> None:
    first = open_log()
    positions = first.append(Stream.EVENTS, numbered(5), NOW)
    first.close()
    again = open_log()
    assert again.log_id == first.log_id
    assert {record.position for record in everything(again, Stream.EVENTS, 5)} == set(positions)
    more = again.append(Stream.EVENTS, numbered(5), NOW)
    assert set(more).isdisjoint(positions)


def test_two_logs_have_two_ids(open_log: OpenLog) -> None:
    assert open_log("one").log_id != open_log("other").log_id


def test_what_another_handle_appends_is_read(open_log: OpenLog) -> None:
    mine, other = open_log(), open_log()
    with closing(mine.consumer(Stream.EVENTS, "group")) as consumer:
        assert consumer.read(10, QUIET) == []
        other.append(Stream.EVENTS, numbered(4), NOW)
        assert values(take(consumer, 4)) == [b"00", b"01", b"02", b"03"]


def test_a_read_gives_no_more_than_asked_and_the_next_one_the_rest(log: EventLog) -> None:
    log.append(Stream.EVENTS, numbered(10), NOW)
    with closing(log.consumer(Stream.EVENTS, None)) as consumer:
        batches = []
        while sum(map(len, batches)) < 10:
            batches.append(consumer.read(4, WAIT))
            assert 1 <= len(batches[-1]) <= 4
        assert values(record for batch in batches for record in batch) == [b"%02d" % n for n in range(10)]
        assert consumer.read(4, QUIET) == []


def test_a_waiting_read_gets_what_is_appended_meanwhile(log: EventLog) -> None:
    with closing(log.consumer(Stream.EVENTS, None)) as consumer, ThreadPoolExecutor(1) as pool:
        assert consumer.read(10, QUIET) == []
        waiting = pool.submit(consumer.read, 10, WAIT)
        log.append(Stream.EVENTS, [("ada", b"came")], NOW)
        assert values(waiting.result()) == [b"came"]


def test_without_a_group_every_consumer_begins_at_the_beginning_and_commits_nothing(log: EventLog) -> None:
    log.append(Stream.EVENTS, numbered(6), NOW)
    for _ in range(2):
        with closing(log.consumer(Stream.EVENTS, None)) as consumer:
            records = take(consumer, 6)
            assert values(records) == [b"%02d" % n for n in range(6)]
            consumer.commit([record.position for record in records])


def test_a_new_group_begins_at_the_beginning(log: EventLog) -> None:
    log.append(Stream.EVENTS, numbered(6), NOW)
    with closing(log.consumer(Stream.EVENTS, "new")) as consumer:
        assert values(take(consumer, 6)) == [b"%02d" % n for n in range(6)]


def test_a_group_goes_on_after_the_position_it_committed(log: EventLog) -> None:
    positions = log.append(Stream.EVENTS, numbered(6, "ada"), NOW)
    with closing(log.consumer(Stream.EVENTS, "group")) as consumer:
        take(consumer, 6)
        consumer.commit([positions[3]])
    with closing(log.consumer(Stream.EVENTS, "group")) as consumer:
        assert [record.value for record in take(consumer, 2)] == [b"04", b"05"]
        assert consumer.read(10, QUIET) == []


def test_what_was_read_and_not_committed_is_read_again(log: EventLog) -> None:
    log.append(Stream.EVENTS, numbered(6), NOW)
    for _ in range(2):
        with closing(log.consumer(Stream.EVENTS, "group")) as consumer:
            assert len(take(consumer, 6)) == 6


def test_committing_nothing_is_nothing(log: EventLog) -> None:
    with closing(log.consumer(Stream.EVENTS, "group")) as consumer:
        consumer.commit([])


def test_groups_and_streams_have_marks_of_their_own(log: EventLog) -> None:
    for stream in (Stream.EVENTS, Stream.ITEMS):
        log.append(stream, numbered(3, "ada"), NOW)
    with closing(log.consumer(Stream.EVENTS, "one")) as consumer:
        consumer.commit([take(consumer, 3)[-1].position])
    for stream, group in ((Stream.EVENTS, "other"), (Stream.ITEMS, "one")):
        with closing(log.consumer(stream, group)) as consumer:
            assert len(take(consumer, 3)) == 3


def test_commits_are_kept_with_the_log(open_log: OpenLog) -> None:
    first = open_log()
    positions = first.append(Stream.EVENTS, numbered(3, "ada"), NOW)
    with closing(first.consumer(Stream.EVENTS, "group")) as consumer:
        consumer.commit([positions[1]])
    first.close()
    with closing(open_log().consumer(Stream.EVENTS, "group")) as consumer:
        assert [record.value for record in take(consumer, 1)] == [b"02"]


@pytest.mark.parametrize("seed", range(5))
def test_a_consumer_that_leaves_anywhere_skips_nothing(log: EventLog, seed: int) -> None:
    chance = random.Random(seed)
    appended, read = 0, set()
    for _ in range(12):
        size = chance.randint(0, 9)
        log.append(Stream.EVENTS, [(f"user-{n % 7}", b"%d" % n) for n in range(appended, appended + size)], NOW)
        appended += size
        with closing(log.consumer(Stream.EVENTS, "group")) as consumer:
            for _ in range(chance.randint(0, 3)):
                records = consumer.read(chance.randint(1, 6), QUIET / 10)
                if records and chance.random() < 0.7:
                    read |= {record.value for record in records}
                    consumer.commit(list({record.position.partition: record.position for record in records}.values()))
                elif records:
                    break  # a later commit would cover what was read here and counted by nobody
    with closing(log.consumer(Stream.EVENTS, "group")) as consumer:
        while records := consumer.read(100, QUIET):
            read |= {record.value for record in records}
    assert read == {b"%d" % n for n in range(appended)}


def seek_and_read(log: EventLog, partition: int, **place: float | None) -> list[bytes]:
    with closing(log.consumer(Stream.EVENTS, None)) as consumer:
        consumer.seek(partition, **place)  # type: ignore[arg-type]
        records: list[Record] = []
        while some := consumer.read(100, QUIET):
            records += some
    return [record.value for record in records if record.position.partition == partition]


def test_seeking_goes_to_the_offset_the_time_or_the_earlier_of_both(log: EventLog) -> None:
    positions = [log.append(Stream.EVENTS, [("ada", b"%d" % n)], NOW + 10 * n)[0] for n in range(6)]
    partition, offsets = positions[0].partition, [position.offset for position in positions]
    assert seek_and_read(log, partition, offset=offsets[4]) == [b"4", b"5"]
    assert seek_and_read(log, partition, offset=0) == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert seek_and_read(log, partition, offset=offsets[5] + 1) == []
    assert seek_and_read(log, partition, offset=-1) == [b"5"]
    assert seek_and_read(log, partition, offset=-3) == [b"3", b"4", b"5"]
    assert len(seek_and_read(log, partition, offset=-1000)) == 6
    assert seek_and_read(log, partition, time=NOW + 30) == [b"3", b"4", b"5"]
    assert seek_and_read(log, partition, time=NOW + 31) == [b"4", b"5"]
    assert len(seek_and_read(log, partition, time=0.0)) == 6
    assert seek_and_read(log, partition, time=NOW + 1000) == []
    assert seek_and_read(log, partition, offset=offsets[5], time=NOW + 40) == [b"4", b"5"]
    assert seek_and_read(log, partition, offset=offsets[2], time=NOW + 40) == [b"2", b"3", b"4", b"5"]


def test_seeking_back_reads_again_and_seeking_one_partition_leaves_the_others(log: EventLog) -> None:
    log.append(Stream.EVENTS, numbered(12), NOW)
    with closing(log.consumer(Stream.EVENTS, None)) as consumer:
        records = take(consumer, 12)
        assert consumer.read(100, QUIET) == []
        partition = records[0].position.partition
        consumer.seek(partition, offset=0)
        again = [record for record in records if record.position.partition == partition]
        assert take(consumer, len(again)) == again
        assert consumer.read(100, QUIET) == []


def test_the_lag_is_what_was_appended_and_not_read(log: EventLog) -> None:
    log.append(Stream.EVENTS, numbered(10), NOW)
    log.append(Stream.ITEMS, numbered(3), NOW)
    with closing(log.consumer(Stream.EVENTS, "group")) as consumer:
        assert consumer.lag() == 10
        read = len(consumer.read(4, WAIT))
        assert consumer.lag() == 10 - read
        take(consumer, 10 - read)
        assert consumer.lag() == 0
        log.append(Stream.EVENTS, numbered(2), NOW)
        assert consumer.lag() == 2


def test_forgetting_erases_as_many_as_it_says_and_nothing_of_others(log: EventLog) -> None:
    for stream in Stream:
        log.append(stream, [(key, f"{key} {n}".encode()) for n in range(5) for key in ("ada", "bob", "ada2")], NOW)
    forgotten = log.forget("ada")
    left = 0
    for stream in (Stream.EVENTS, Stream.IMPRESSIONS):
        with closing(log.consumer(stream, None)) as consumer:
            records = take(consumer, 10)
            while some := consumer.read(100, QUIET):
                records += some
        left += len(records)
        others = [record.value.decode() for record in records if record.key != "ada"]
        assert sorted(others) == sorted(f"{key} {n}" for key in ("bob", "ada2") for n in range(5))
    assert left == 30 - forgotten
    assert len(everything(log, Stream.ITEMS, 15)) == 15
    assert log.forget("nobody") == 0


def test_nothing_is_left_to_read_behind_the_last_of_who_was_forgotten(log: EventLog) -> None:
    log.append(Stream.EVENTS, [("ada", str(n).encode()) for n in range(4)], NOW)
    with closing(log.consumer(Stream.EVENTS, "group")) as consumer:
        [partition] = {record.position.partition for record in take(consumer, 4)}
        log.forget("ada")
        consumer.seek(partition, offset=0)
        while consumer.read(100, QUIET):
            pass
        assert consumer.lag() == 0


def test_positions_stay_where_they_were_when_others_are_forgotten(log: EventLog) -> None:
    given = [(key, f"{key} {n}".encode()) for n in range(4) for key in ("ada", "bob", "eve", "dan")]
    positions = [log.append(Stream.EVENTS, [pair], NOW + n)[0] for n, pair in enumerate(given)]
    log.forget("ada")
    log.forget("eve")
    for n in (1, 5, 13):
        assert given[n][0] == "bob"
        assert seek_and_read(log, positions[n].partition, offset=positions[n].offset)[0] == given[n][1]
        assert seek_and_read(log, positions[n].partition, time=NOW + n)[0] == given[n][1]


def test_threads_append_at_once_and_every_record_is_there_once_and_in_its_keys_order(log: EventLog) -> None:
    def append(thread: int) -> list[tuple[Position, bytes]]:
        appended = []
        for number in range(25):
            pairs = [(f"user-{thread}", b"%d %02d %d" % (thread, number, part)) for part in range(3)]
            positions = log.append(Stream.EVENTS, pairs, NOW)
            appended += [(position, value) for position, (_, value) in zip(positions, pairs, strict=True)]
        return appended

    with ThreadPoolExecutor(8) as pool:
        appended = [pair for pairs in pool.map(append, range(8)) for pair in pairs]
    records = everything(log, Stream.EVENTS, 600)
    assert {record.position: record.value for record in records} == dict(appended)
    assert len(records) == 600
    for thread in range(8):
        of_key = [record.value for record in records if record.key == f"user-{thread}"]
        assert of_key == sorted(of_key)
