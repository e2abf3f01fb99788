"""Dead letters: records that could not be applied, why, and sending them again."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import orjson

from features.errors import LogUnavailable
from features.profile import Position
from streaming.log import EventLog, Stream

_SCHEMA = """
CREATE TABLE IF NOT EXISTS dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT, position TEXT NOT NULL, stream TEXT NOT NULL,
    key TEXT NOT NULL, value BLOB NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL,
    UNIQUE (stream, position)
)
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was not applied. position: where the log holds it. at: epoch seconds when it was found."""

    id: int
    stream: Stream
    position: Position
    key: str
    value: bytes
    reason: str
    at: float


class DeadLetters:
    """The dead letters of one home, in a file of their own. Every method raises LogUnavailable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA secure_delete = ON")
            self._connection.execute(_SCHEMA)

    def add(self, stream: Stream, key: str, value: bytes, position: Position, reason: str, now: float) -> None:
        """Keeps a record that failed; one that is kept already, because a replay found it again, stays as it is."""
        with self._lock, self._translated():
            self._connection.execute(
                "INSERT OR IGNORE INTO dead_letters (position, stream, key, value, reason, at) VALUES (?,?,?,?,?,?)",
                (str(position), stream, key, value, reason, now),
            )

    def list(self, most: int = 100, after: int = 0) -> list[DeadLetter]:
        """Up to `most` letters with an id greater than `after`, oldest first."""
        with self._lock, self._translated():
            rows = self._connection.execute(
                "SELECT id, stream, position, key, value, reason, at FROM dead_letters"
                " WHERE id > ? ORDER BY id LIMIT ?",
                (after, most),
            ).fetchall()
        return [
            DeadLetter(number, Stream(stream), Position.parse(position), key, value, reason, at)
            for number, stream, position, key, value, reason, at in rows
        ]

    def send(self, letters: Sequence[DeadLetter], log: EventLog, now: float) -> None:
        """Appends the letters' records to the log again and takes them off the list.

        First the one, then the other: a crash in between sends a record twice, which the fold forgives, and loses none.
        A record that fails again comes back as a new letter with its new reason.
        """
        for stream in Stream:
            of_stream = [letter for letter in letters if letter.stream is stream]
            if of_stream:
                log.append(stream, [(letter.key, letter.value) for letter in of_stream], now)
                with self._lock, self._translated():
                    self._connection.executemany(
                        "DELETE FROM dead_letters WHERE id = ?", [(letter.id,) for letter in of_stream]
                    )

    def drop(self, letters: Sequence[DeadLetter]) -> None:
        """Takes letters off the list for good."""
        with self._lock, self._translated():
            self._connection.executemany("DELETE FROM dead_letters WHERE id = ?", [(letter.id,) for letter in letters])

    def forget(self, user: str) -> int:
        """Erases the letters that name the user, as key or anywhere in the record; how many there were."""
        with self._lock, self._translated():
            deleted = self._connection.execute(
                "DELETE FROM dead_letters WHERE key = ? OR instr(value, ?) > 0 OR instr(value, ?) > 0",
                (user, orjson.dumps(user), json.dumps(user).encode()),  # JSON may escape what is not ASCII, or not
            ).rowcount
            # SQLite overwrites what it deletes, but not the copies it left behind when it merged pages.
            if deleted:
                self._connection.execute("VACUUM")
        return deleted

    def count(self) -> int:
        with self._lock, self._translated():
            return int(self._connection.execute("SELECT count(*) FROM dead_letters").fetchone()[0])

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LogUnavailable(f"the dead letters {self._path} cannot be used: {error}") from error
