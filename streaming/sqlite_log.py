"""The embedded event log: one SQLite file, durable, partitioned, read by any number of processes.

Write-ahead log and synchronous=FULL: a record is on disk before its append returns. Threads that append at the same
time share one transaction, and so one wait for the disk.
"""

import fcntl
import sqlite3
import time as clock
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from itertools import count
from pathlib import Path
from secrets import token_hex
from threading import Condition, Lock
from typing import IO, Final

from features.errors import LogUnavailable
from features.profile import Position
from streaming.log import Record, Stream

_UNCLEAN: Final = 1  # the file's user_version between an erasure and the rewriting of the file: it outlives a crash
POLL_SECONDS: Final = 0.02  # between two looks for what another process has appended; in this one a reader is woken
BUSY_SECONDS: Final = 5.0
TRIM_EVERY: Final = 1000  # impressions of a partition between two trims

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS log (id TEXT NOT NULL, partitions INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS records (
    stream TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    key TEXT NOT NULL, value BLOB NOT NULL, appended REAL NOT NULL,
    PRIMARY KEY (stream, partition, offset)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_of_key ON records (key);
CREATE TABLE IF NOT EXISTS heads (
    stream TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL, appended REAL NOT NULL,
    PRIMARY KEY (stream, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commits (
    grp TEXT NOT NULL, stream TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
    PRIMARY KEY (grp, stream, partition)
) WITHOUT ROWID;
"""


class SqliteLog:
    """An EventLog in a file, made when it is not there.

    partitions: of a log that is made new; an existing one keeps the number it was made with. impressions_kept: the
    newest impressions that stay; older ones are dropped.
    """

    def __init__(self, path: Path, partitions: int = 4, impressions_kept: int = 1_000_000) -> None:
        self.path = path
        self._impressions_kept = impressions_kept
        self._writing = Lock()
        self._waiting: deque[_Append] = deque()
        self.appended = Condition()
        with _translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(path)
            try:
                self._connection.executescript(_SCHEMA)
                with _transaction(self._connection):
                    if self._connection.execute("SELECT count(*) FROM log").fetchone()[0] == 0:
                        self._connection.execute("INSERT INTO log VALUES (?, ?)", (token_hex(6), partitions))
                row = self._connection.execute("SELECT id, partitions FROM log").fetchone()
            except BaseException:
                self._connection.close()
                raise
        self.log_id: str = row[0]
        self.partitions: int = row[1]

    def append(self, stream: Stream, records: Sequence[tuple[str, bytes]], now: float) -> list[Position]:
        mine = _Append(stream, records, now)
        self._waiting.append(mine)
        # Whoever gets the lock writes for all that wait; the others find their work done when their turn comes.
        with self._writing:
            if mine.positions is None:
                together = [self._waiting.popleft() for _ in range(len(self._waiting))]
                try:
                    self._write(together)
                except BaseException as error:  # noqa: BLE001 - it rises in every caller that waits
                    for other in together:
                        other.error = error
            if mine.error is not None:
                raise mine.error
        with self.appended:
            self.appended.notify_all()
        assert mine.positions is not None  # noqa: S101 - written, or it would have raised
        return mine.positions

    def consumer(self, stream: Stream, group: str | None) -> "SqliteConsumer":
        return SqliteConsumer(self, stream, group)

    def forget(self, key: str) -> int:
        with self._writing, _translated(self.path):
            with _transaction(self._connection):
                deleted = self._connection.execute(
                    "DELETE FROM records WHERE key = ? AND stream IN (?, ?)", (key, Stream.EVENTS, Stream.IMPRESSIONS)
                ).rowcount
                if deleted:
                    self._connection.execute(f"PRAGMA user_version = {_UNCLEAN}")
            if self._connection.execute("PRAGMA user_version").fetchone()[0] == _UNCLEAN:
                # SQLite overwrites what it deletes, but not the copies it left behind when it split or merged pages.
                self._connection.execute("VACUUM")
                self._empty_write_ahead_log()
                self._connection.execute("PRAGMA user_version = 0")
        return deleted

    def close(self) -> None:
        with self._writing:
            self._connection.close()

    def partition_of(self, key: str) -> int:
        """The partition of a key: the same in every process and release."""
        return int.from_bytes(blake2b(key.encode(), digest_size=4).digest(), "big") % self.partitions

    def _write(self, appends: "Sequence[_Append]") -> None:
        """One transaction for all; each append gets its positions when it is on disk."""
        with _translated(self.path), _transaction(self._connection):
            heads = {
                (stream, partition): (following, appended)
                for stream, partition, following, appended in self._connection.execute("SELECT * FROM heads")
            }
            rows, written = [], []
            for one in appends:
                positions = []
                for key, value in one.records:
                    head = (one.stream, self.partition_of(key))
                    offset, latest = heads.get(head, (0, 0.0))
                    appended = max(one.now, latest)  # a clock set back must not unsort the partition
                    heads[head] = (offset + 1, appended)
                    rows.append((*head, offset, key, value, appended))
                    positions.append(Position(self.log_id, head[1], offset))
                written.append(positions)
            self._connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", rows)
            touched = {row[:2] for row in rows}
            self._connection.executemany(
                "INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?)", [(*head, *heads[head]) for head in touched]
            )
            self._trim({head: heads[head][0] for head in touched if head[0] == Stream.IMPRESSIONS}, rows)
        for one, positions in zip(appends, written, strict=True):
            one.positions = positions

    def _trim(self, heads: dict[tuple[str, int], int], rows: Sequence[tuple[object, ...]]) -> None:
        kept = max(self._impressions_kept // self.partitions, 1)
        for (stream, partition), following in heads.items():
            added = sum(row[:2] == (stream, partition) for row in rows)
            if following // TRIM_EVERY != (following - added) // TRIM_EVERY:
                self._connection.execute(
                    "DELETE FROM records WHERE stream = ? AND partition = ? AND offset < ?",
                    (stream, partition, following - kept),
                )

    def _empty_write_ahead_log(self) -> None:
        """Moves the write-ahead log into the file and truncates it, so that no old page is left on disk."""
        deadline = clock.monotonic() + BUSY_SECONDS
        while True:
            busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return
            if clock.monotonic() > deadline:
                raise LogUnavailable(f"{self.path}: erased, but a long read keeps old pages on disk; erase again")
            clock.sleep(0.01)


class SqliteConsumer:
    """A Consumer of a SqliteLog. A group has one active member; another one is refused until it leaves or dies."""

    def __init__(self, log: SqliteLog, stream: Stream, group: str | None) -> None:
        self.log_id = log.log_id
        self.partitions = tuple(range(log.partitions))
        self.gained: Callable[[Sequence[int]], None] = lambda partitions: None
        self.losing: Callable[[], None] = lambda: None
        self._log = log
        self.stream = stream
        self._group = group
        self._turn = count()
        self._next = dict.fromkeys(self.partitions, 0)
        self._version = -1
        with _translated(log.path):
            self._membership = None if group is None else _only_member(log.path, stream, group)
            self._connection = _connect(log.path)
        if group is not None:
            with _translated(log.path):
                self._next |= self._connection.execute(
                    "SELECT partition, next FROM commits WHERE grp = ? AND stream = ?", (group, stream)
                ).fetchall()

    def read(self, most: int, wait: float) -> list[Record]:
        deadline = clock.monotonic() + wait
        with _translated(self._log.path):
            while True:
                records = self._read_if_changed(most)
                left = deadline - clock.monotonic()
                if records or left <= 0:
                    return records
                with self._log.appended:
                    self._log.appended.wait(min(left, POLL_SECONDS))

    def commit(self, positions: Sequence[Position]) -> None:
        if self._group is None or not positions:
            return
        rows = [(self._group, self.stream, position.partition, position.offset + 1) for position in positions]
        with _translated(self._log.path), _transaction(self._connection):
            self._connection.executemany("INSERT OR REPLACE INTO commits VALUES (?, ?, ?, ?)", rows)

    def seek(self, partition: int, *, offset: int | None = None, time: float | None = None) -> None:
        places = []
        with _translated(self._log.path):
            if offset is not None:
                places.append(offset if offset >= 0 else max(self._end(partition) + offset, 0))
            if time is not None:
                places.append(self._first_at(partition, time))
        self._next[partition] = min(places)
        self._version = -1

    def lag(self) -> int:
        with _translated(self._log.path):
            return sum(self._end(partition) - following for partition, following in self._next.items())

    def close(self) -> None:
        self._connection.close()
        if self._membership is not None:
            self._membership.close()

    def _read_if_changed(self, most: int) -> list[Record]:
        """Nothing while the file's version stands where the last read that left nothing behind found it."""
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return []
        records = self._take(most)
        self._version = -1 if len(records) == most else version
        return records

    def _take(self, most: int) -> list[Record]:
        """Partition after partition, each time beginning with the next one, so that none starves."""
        records: list[Record] = []
        read: dict[int, int] = {}
        first = next(self._turn)
        for step in range(len(self.partitions)):
            partition = self.partitions[(first + step) % len(self.partitions)]
            wanted, end = most - len(records), self._end(partition)
            rows = self._connection.execute(
                "SELECT offset, key, value, appended FROM records"
                " WHERE stream = ? AND partition = ? AND offset >= ? ORDER BY offset LIMIT ?",
                (self.stream, partition, self._next[partition], wanted),
            ).fetchall()
            following = rows[-1][0] + 1 if rows else self._next[partition]
            # Behind the last record there may be some that were erased: there is nothing left to read of them.
            read[partition] = following if len(rows) == wanted else max(following, end)
            records += [
                Record(Position(self.log_id, partition, offset), key, value, appended)
                for offset, key, value, appended in rows
            ]
            if len(records) == most:
                break
        self._next |= read  # at the end: a read that fails in the middle has read nothing
        return records

    def _end(self, partition: int) -> int:
        row = self._connection.execute(
            "SELECT next FROM heads WHERE stream = ? AND partition = ?", (self.stream, partition)
        ).fetchone()
        return int(row[0]) if row else 0

    def _first_at(self, partition: int, time: float) -> int:
        """By bisection: times do not decrease within a partition, and erased offsets are stepped over."""
        low, high = 0, self._end(partition)
        while low < high:
            middle = (low + high) // 2
            row = self._connection.execute(
                "SELECT offset, appended FROM records"
                " WHERE stream = ? AND partition = ? AND offset >= ? ORDER BY offset LIMIT 1",
                (self.stream, partition, middle),
            ).fetchone()
            if row is None or row[1] >= time:
                high = middle
            else:
                low = row[0] + 1
        return low


class _Append:
    """One caller's records on their way to disk."""

    __slots__ = ("error", "now", "positions", "records", "stream")

    def __init__(self, stream: Stream, records: Sequence[tuple[str, bytes]], now: float) -> None:
        self.stream = stream
        self.records = records
        self.now = now
        self.positions: list[Position] | None = None
        self.error: BaseException | None = None


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten, not only unlinked
    return connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, LogUnavailable):
            raise
        raise LogUnavailable(
            f"the log {path} cannot be used ({error}); is the disk full, or the file in use?"
        ) from error


def _only_member(path: Path, stream: Stream, group: str) -> IO[bytes]:
    """The lock of a group, held until it is closed or the process ends."""
    name = blake2b(f"{stream}/{group}".encode(), digest_size=6).hexdigest()
    lock = path.with_name(f"{path.name}.{name}.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise LogUnavailable(
            f"group {group!r} already reads {stream} of {path}; stop the other process first"
        ) from None
    return lock
