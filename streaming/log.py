"""The event log: an append-only, partitioned, durable record of everything that came in, read by consumer groups."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from features.profile import Position


class Stream(StrEnum):
    """What a log holds: what users did, what can be recommended, what was shown."""

    EVENTS = "events"
    ITEMS = "items"
    IMPRESSIONS = "impressions"


@dataclass(frozen=True, slots=True)
class Record:
    """One entry. key: the user, or the item on the items stream. appended: epoch seconds when the log took it."""

    position: Position
    key: str
    value: bytes
    appended: float


class Consumer(Protocol):
    """Reads one stream, in one thread.

    Order is kept within a partition and nowhere else. A record may be read again after a restart or a seek, never
    skipped; whoever applies records must bear repetition. partitions: those this consumer reads now; where a group has
    several members they come and go while it reads. gained: called then, in a read, with those that have come and of
    which nothing was read yet, to say by `seek` where to go on. losing: called before some go, maybe from another
    thread, to finish and commit what was read; those that others have taken unasked go without.
    """

    stream: Stream
    log_id: str
    gained: Callable[[Sequence[int]], None]
    losing: Callable[[], None]

    @property
    def partitions(self) -> tuple[int, ...]: ...

    def read(self, most: int, wait: float) -> list[Record]:
        """Up to `most` next records; waits up to `wait` seconds for the first, and returns [] when none came.

        Raises LogUnavailable.
        """
        ...

    def commit(self, positions: Sequence[Position]) -> None:
        """Tells the log that the group is done up to and including these positions: where a new member starts."""
        ...

    def seek(self, partition: int, *, offset: int | None = None, time: float | None = None) -> None:
        """Goes on with the first record at or after the offset, or appended at or after the time (epoch seconds).

        A negative offset counts from the end. Given both, the earlier place counts. Times do not decrease within a
        partition. Records that were erased are not there to be read: offsets may have gaps.
        """
        ...

    def lag(self) -> int:
        """How many records were appended that this consumer has not read yet."""
        ...

    def close(self) -> None:
        """Leaves the group."""
        ...


class EventLog(Protocol):
    """Appends records and opens consumers; safe to use from many threads. Every method raises LogUnavailable.

    log_id is made when the log is created and kept with it, so that a position never passes for one of another log.
    """

    log_id: str

    def append(self, stream: Stream, records: Sequence[tuple[str, bytes]], now: float) -> list[Position]:
        """Appends (key, value) pairs; all are on disk when it returns. Records of one key keep their order.

        Of an append that raises none or some may be there, so that it is tried again with what makes it idempotent.
        now: epoch seconds, kept to the millisecond at least as the time of appending.
        """
        ...

    def consumer(self, stream: Stream, group: str | None) -> Consumer:
        """A member of a consumer group, which starts where the group committed, else at the beginning.

        Without a group: reads every partition from the beginning, and commits nothing.
        """
        ...

    def forget(self, key: str) -> int:
        """Erases the events and impressions of a key from disk as far as this log can now; how many there were."""
        ...

    def close(self) -> None: ...
