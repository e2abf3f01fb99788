"""What the SQLite log adds to the contract: a file that outlives its processes, groups of one, bytes that leave."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from features.errors import LogUnavailable
from streaming import sqlite_log
from streaming.log import Record, Stream
from streaming.sqlite_log import SqliteLog

NOW = 1_700_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "log.sqlite"


@contextmanager
def opened(path: Path, partitions: int = 3, impressions_kept: int = 1_000_000) -> Iterator[SqliteLog]:
    with closing(SqliteLog(path, partitions, impressions_kept)) as log:
        yield log


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    with opened(path) as log:
        yield log


def records_of(log: SqliteLog, stream: Stream = Stream.EVENTS) -> list[Record]:
    with closing(log.consumer(stream, None)) as consumer:
        return consumer.read(1_000_000, 0.0)


def values_of(log: SqliteLog, stream: Stream = Stream.EVENTS) -> list[bytes]:
    return sorted(record.value for record in records_of(log, stream))


def started(code: str, *arguments: object) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()


# The file


def test_the_file_and_its_folder_are_made_when_they_are_not_there(path: Path) -> None:
    with opened(path):
        assert path.exists()


def test_an_existing_log_keeps_its_id_and_the_partitions_it_was_made_with(path: Path) -> None:
    with opened(path, partitions=3) as log:
        position = log.append(Stream.EVENTS, [("ada", b"before")], NOW)[0]
    with opened(path, partitions=8) as again:
        assert (again.log_id, again.partitions) == (log.log_id, 3)
        assert again.append(Stream.EVENTS, [("ada", b"after")], NOW)[0].partition == position.partition
        with closing(again.consumer(Stream.EVENTS, None)) as consumer:
            assert consumer.partitions == (0, 1, 2)


def test_many_processes_that_make_the_log_at_once_make_one(path: Path) -> None:
    code = "import sys; from pathlib import Path; from streaming.sqlite_log import SqliteLog; sys.stdin.read(1)\n"
    code += "print(SqliteLog(Path(sys.argv[1])).log_id)"
    makers = [started(code, path) for _ in range(3)]
    ids = {maker.communicate(b"!")[0] for maker in makers}
    assert len(ids) == 1
    with opened(path) as log:
        assert ids == {f"{log.log_id}\n".encode()}


def test_a_key_has_the_same_partition_in_every_release(path: Path) -> None:
    with opened(path, partitions=4) as log:
        assert [log.partition_of(key) for key in ("ada", "bob", "eve", "é", "")] == [3, 2, 1, 2, 1]


def test_appends_wait_for_the_disk_and_readers_do_not_wait_for_appends(log: SqliteLog) -> None:
    # A kill leaves the kernel's buffers whole, so that only the settings can tell about a loss of power.
    assert log._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert log._connection.execute("PRAGMA synchronous").fetchone() == (2,)


@pytest.mark.parametrize("made", ["a folder", "not a log"])
def test_a_file_that_is_no_log_is_refused_by_its_path(path: Path, made: str) -> None:
    if made == "a folder":
        path.mkdir(parents=True)
    else:
        path.parent.mkdir()
        path.write_bytes(b"not a log" * 1000)
    with pytest.raises(LogUnavailable, match=r"log\.sqlite cannot be used"):
        SqliteLog(path)


def test_a_closed_log_says_that_it_is_unavailable(path: Path) -> None:
    with opened(path) as log:
        pass
    with pytest.raises(LogUnavailable, match="closed"):
        log.append(Stream.EVENTS, [("ada", b"x")], NOW)
    with pytest.raises(LogUnavailable, match="closed"):
        log.forget("ada")


def test_a_group_whose_lock_cannot_be_made_says_that_the_log_is_unavailable(path: Path) -> None:
    with opened(path) as log:
        path.parent.rename(path.parent.with_name("gone"))
        with pytest.raises(LogUnavailable, match="cannot be used"):
            log.consumer(Stream.EVENTS, "group")


# Appending

APPEND_UNTIL_KILLED = """
import sys
from itertools import count
from pathlib import Path
from streaming.log import Stream
from streaming.sqlite_log import SqliteLog
log = SqliteLog(Path(sys.argv[1]))
for number in count(int(sys.argv[2])):
    log.append(Stream.EVENTS, [(f"user-{part}", b"%d %d" % (number, part)) for part in range(3)], 1.7e9)
    print(number, flush=True)
"""


def test_every_acknowledged_append_outlives_sigkill_and_none_is_there_in_part(path: Path) -> None:
    chance = random.Random(1)
    acknowledged, first = set(), 0
    for _ in range(3):
        writer = started(APPEND_UNTIL_KILLED, path, first)
        assert writer.stdout
        for _ in range(chance.randint(1, 60)):
            acknowledged.add(int(writer.stdout.readline()))
        writer.kill()
        acknowledged |= {
            int(line) for line in writer.stdout.read().split()
        }  # `communicate` would lose what was read ahead
        end(writer)
        first = max(acknowledged) + 2  # the one it was killed in may be there
    with opened(path) as log:
        values = [value.split() for value in values_of(log)]
    parts = {int(number): {int(part) for n, part in values if n == number} for number, _ in values}
    assert acknowledged <= set(parts)
    assert all(there == {0, 1, 2} for there in parts.values())
    assert len(values) == 3 * len(parts) <= 3 * (len(acknowledged) + 3)


FULL_DISK = """
import os, resource, signal, sys
from pathlib import Path
from features.errors import LogUnavailable
from streaming.log import Stream
from streaming.sqlite_log import SqliteLog
path = Path(sys.argv[1])
log = SqliteLog(path)
log.append(Stream.EVENTS, [("ada", b"before")], 1.7e9)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
largest = max(file.stat().st_size for file in path.parent.iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 10_000, limits[1]))
for _ in range(2):
    try:
        log.append(Stream.EVENTS, [("ada", b"small"), ("bob", b"large" * 10_000)], 1.7e9)
    except LogUnavailable as error:
        print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
log.append(Stream.EVENTS, [("ada", b"after")], 1.7e9)
"""


def test_a_full_disk_refuses_an_append_whole_and_the_log_goes_on_when_there_is_room(path: Path) -> None:
    process = started(FULL_DISK, path)
    said = process.communicate()[0].decode().splitlines()
    assert process.returncode == 0
    assert len(said) == 2
    assert all("is the disk full" in line for line in said)
    with opened(path) as log:
        assert values_of(log) == [b"after", b"before"]


def test_a_refused_append_reaches_every_caller_and_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_log, "BUSY_SECONDS", 0.02)

    def refused(thread: int) -> bool:
        with pytest.raises(LogUnavailable, match="locked"):
            log.append(Stream.EVENTS, [(f"user-{thread}", b"refused")], NOW)
        return True

    with opened(path) as log, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(refused, range(8))) == [True] * 8
        other.execute("ROLLBACK")
        positions = log.append(Stream.EVENTS, [("ada", b"one"), ("ada", b"two")], NOW)
        assert [position.offset for position in positions] == [0, 1]
        assert values_of(log) == [b"one", b"two"]


def test_an_append_with_a_value_that_cannot_be_written_leaves_nothing_of_itself(log: SqliteLog) -> None:
    with pytest.raises(OverflowError):
        log.append(Stream.EVENTS, [("ada", b"good"), ("ada", 2**70)], NOW)  # type: ignore[list-item]
    assert log.append(Stream.EVENTS, [("ada", b"after")], NOW)[0].offset == 0
    assert values_of(log) == [b"after"]


# Reading

APPEND_WHEN_TOLD = """
import sys, time
from pathlib import Path
from streaming.log import Stream
from streaming.sqlite_log import SqliteLog
log = SqliteLog(Path(sys.argv[1]))
for line in sys.stdin:
    log.append(Stream.EVENTS, [("ada", b"told")], 1.7e9)
    time.sleep(10)
    log.append(Stream.EVENTS, [("ada", b"ten seconds later")], 1.7e9)
"""


def test_a_waiting_read_wakes_soon_after_another_process_appends(path: Path, log: SqliteLog) -> None:
    writer = started(APPEND_WHEN_TOLD, path)
    assert writer.stdin
    with closing(log.consumer(Stream.EVENTS, None)) as consumer:
        assert consumer.read(10, 0.0) == []
        writer.stdin.write(b"now\n")
        writer.stdin.flush()
        # A read that slept through it would give both.
        assert [record.value for record in consumer.read(10, 30.0)] == [b"told"]
    end(writer)


class BreaksOnce:
    """A connection whose nth statement fails as a disk does."""

    def __init__(self, connection: sqlite3.Connection, nth: int) -> None:
        self._connection = connection
        self._left = nth

    def execute(self, *statement: object) -> sqlite3.Cursor:
        self._left -= 1
        if self._left == 0:
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(*statement)  # type: ignore[arg-type]

    def close(self) -> None:
        self._connection.close()


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_read_that_fails_in_the_middle_skips_nothing(log: SqliteLog, nth: int) -> None:
    log.append(Stream.EVENTS, [(f"user-{n}", b"%d" % n) for n in range(9)], NOW)
    assert {record.position.partition for record in records_of(log)} == {0, 1, 2}
    with closing(log.consumer(Stream.EVENTS, "group")) as consumer:
        consumer._connection = BreaksOnce(consumer._connection, nth)  # type: ignore[assignment]
        with pytest.raises(LogUnavailable, match="disk I/O error"):
            consumer.read(100, 0.0)
        assert sorted(record.value for record in consumer.read(100, 0.0)) == [b"%d" % n for n in range(9)]


def test_no_partition_starves_while_another_is_full(log: SqliteLog) -> None:
    quiet = next(f"user-{n}" for n in range(100) if log.partition_of(f"user-{n}") != log.partition_of("busy"))
    log.append(Stream.EVENTS, [("busy", b"busy")] * 100 + [(quiet, b"quiet")], NOW)
    with closing(log.consumer(Stream.EVENTS, None)) as consumer:
        read = [record.value for _ in range(3) for record in consumer.read(5, 0.0)]
    assert b"quiet" in read


# Groups


def test_a_second_member_of_a_group_is_refused_and_told_what_to_do(path: Path, log: SqliteLog) -> None:
    with closing(log.consumer(Stream.EVENTS, "ingest")):
        with pytest.raises(LogUnavailable, match=r"'ingest' already reads events of .*; stop the other process first"):
            log.consumer(Stream.EVENTS, "ingest")
        with opened(path) as other, pytest.raises(LogUnavailable, match="stop the other process first"):
            other.consumer(Stream.EVENTS, "ingest")
        for stream, group in ((Stream.ITEMS, "ingest"), (Stream.EVENTS, "other"), (Stream.EVENTS, None)):
            log.consumer(stream, group).close()
    log.consumer(Stream.EVENTS, "ingest").close()


MEMBER_UNTIL_KILLED = """
import sys
from pathlib import Path
from streaming.log import Stream
from streaming.sqlite_log import SqliteLog
consumer = SqliteLog(Path(sys.argv[1])).consumer(Stream.EVENTS, "ingest")
print("joined", flush=True)
sys.stdin.read()
"""


def test_a_member_in_another_process_is_seen_and_its_place_is_free_once_it_is_killed(
    path: Path, log: SqliteLog
) -> None:
    member = started(MEMBER_UNTIL_KILLED, path)
    assert member.stdout
    assert member.stdout.readline() == b"joined\n"
    with pytest.raises(LogUnavailable, match="already reads"):
        log.consumer(Stream.EVENTS, "ingest")
    end(member)
    log.consumer(Stream.EVENTS, "ingest").close()


# Forgetting and trimming


def on_disk(path: Path, text: str) -> int:
    """How often the text stands in the files of the log, whether or not any row says so."""
    return sum(file.read_bytes().count(text.encode()) for file in path.parent.iterdir())


def test_a_forgotten_user_is_nowhere_in_the_files(path: Path, log: SqliteLog) -> None:
    # Records of many users and sizes in between make SQLite split its pages and move what is on them.
    chance = random.Random(0)
    for _ in range(12):
        users = [f"distinctive-{chance.randrange(30):02d}" for _ in range(50)]
        log.append(
            Stream.EVENTS, [(u, f'{{"user_id":"{u}"}}{"x" * chance.randrange(1500)}'.encode()) for u in users], NOW
        )
        log.append(Stream.IMPRESSIONS, [(u, f"shown to {u}".encode()) for u in users[:10]], NOW)
    given = records_of(log) + records_of(log, Stream.IMPRESSIONS)
    for number in range(0, 30, 5):
        user = f"distinctive-{number:02d}"
        assert on_disk(path, user) > 0
        assert log.forget(user) == sum(record.key == user for record in given)
        assert on_disk(path, user) == 0
        given = [record for record in given if record.key != user]
        assert set(records_of(log) + records_of(log, Stream.IMPRESSIONS)) == set(given)


def test_forgetting_says_when_a_long_read_keeps_the_bytes_and_does_it_the_next_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_log, "BUSY_SECONDS", 0.05)
    with opened(path) as log, closing(sqlite3.connect(path, isolation_level=None)) as reader:
        log.append(Stream.EVENTS, [("distinctive", b"distinctive"), ("bob", b"bob")], NOW)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        with pytest.raises(LogUnavailable, match="a long read keeps old pages on disk; erase again"):
            log.forget("distinctive")
        assert values_of(log) == [b"bob"]
        reader.execute("ROLLBACK")
        assert log.forget("distinctive") == 0
        assert on_disk(path, "distinctive") == 0


def test_consumers_stay_where_they_are_while_others_are_forgotten(log: SqliteLog) -> None:
    log.append(Stream.EVENTS, [(key, f"{key} {n}".encode()) for n in range(4) for key in ("ada", "bob")], NOW)
    with closing(log.consumer(Stream.EVENTS, "group")) as consumer:
        read = consumer.read(3, 0.0)
        log.forget("ada")
        read += consumer.read(100, 0.0)
        assert sorted(r.value for r in read if r.key == "bob") == [b"bob 0", b"bob 1", b"bob 2", b"bob 3"]
        log.append(Stream.EVENTS, [("ada", b"back")], NOW)
        assert [record.value for record in consumer.read(100, 0.0)] == [b"back"]


def test_an_offset_is_not_given_twice_after_the_last_records_are_forgotten(path: Path) -> None:
    with opened(path) as log:
        last = log.append(Stream.EVENTS, [("ada", b"1"), ("ada", b"2")], NOW)[-1]
        log.forget("ada")
    with opened(path) as log:
        assert log.append(Stream.EVENTS, [("ada", b"3")], NOW)[0].offset == last.offset + 1


def test_the_newest_impressions_are_kept_and_older_ones_dropped(path: Path) -> None:
    with opened(path, partitions=2, impressions_kept=200) as log:
        for stream in (Stream.IMPRESSIONS, Stream.EVENTS):
            for first in range(0, 4500, 300):
                log.append(stream, [(f"user-{n % 2 * 2}", b"%05d" % n) for n in range(first, first + 300)], NOW)
        assert log.partition_of("user-0") != log.partition_of("user-2")
        impressions = values_of(log, Stream.IMPRESSIONS)
        assert len(values_of(log, Stream.EVENTS)) == 4500
    assert impressions == [b"%05d" % n for n in range(4500 - len(impressions), 4500)]
    assert 200 <= len(impressions) <= 200 + 2 * sqlite_log.TRIM_EVERY


def test_the_times_of_reading_are_found_among_trimmed_impressions(path: Path) -> None:
    with opened(path, partitions=1, impressions_kept=10) as log:
        log.append(Stream.IMPRESSIONS, [("ada", b"%04d" % n) for n in range(999)], NOW)
        log.append(Stream.IMPRESSIONS, [("ada", b"0999")], NOW + 1)
        assert len(values_of(log, Stream.IMPRESSIONS)) == 10
        with closing(log.consumer(Stream.IMPRESSIONS, None)) as consumer:
            consumer.seek(0, time=NOW + 1)
            assert [record.value for record in consumer.read(100, 0.0)] == [b"0999"]
            consumer.seek(0, offset=5)
            assert consumer.read(1, 0.0)[0].value == b"0990"


def test_forgetting_somebody_who_is_not_there_leaves_the_file_alone(path: Path) -> None:
    with opened(path) as log:
        log.append(Stream.EVENTS, [("ada", b"ada"), ("bob", b"bob")], NOW)
        assert log.forget("ada") == 1
        before = path.read_bytes()
        assert log.forget("nobody") == 0
        assert path.read_bytes() == before
