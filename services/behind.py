"""What consumers that stay behind the ingest share: a record counts once the ingest's checkpoint has passed it.

The checkpoint of such a consumer is written after what it has made; a restart goes back a little before it. Checkpoints
are a model's own: a new model starts at the beginning of the log, and one that is rolled back to goes on where it was.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from threading import Event as Signal
from typing import Final, Protocol, TypeVar

from features.errors import LogUnavailable, StoreUnavailable
from features.events import UserId
from features.profile import Position
from features.profiles import Checkpoint, ProfileStore
from services.ingesting import GROUP as INGEST
from services.threads import Threads
from services.wiring import Backends
from streaming.ingest import RETRY_SECONDS, WAIT_SECONDS, resume
from streaming.log import Consumer, Record, Stream

BATCH: Final = 4096  # records in hand
REMEMBERED: Final = 100_000  # users who are known to be done, so that a replay reads each of them once
POLL_SECONDS: Final = 0.01  # between two looks at how far the ingest has come, while records wait for it
PATIENCE_SECONDS: Final = 10.0  # without any progress of the ingest, when the worker is to end at the log's end

STANDBY_SECONDS: Final = 5.0

Fresh = dict[UserId, Position]  # what the form that is made of a user has seen
Done = TypeVar("Done")
Done_co = TypeVar("Done_co", covariant=True)

logger = logging.getLogger(__name__)


class Work(Protocol[Done_co]):
    """What is done with records by one model. group: whose checkpoints tell how far it has come, the model's own."""

    @property
    def group(self) -> str: ...

    def do(self, records: Sequence[Record], fresh: Fresh, stop: Signal) -> Done_co:
        """All that these records ask for, or less once `stop` is set. fresh: kept from batch to batch of a group."""
        ...


def follow(
    consumer: Consumer,
    store: ProfileStore,
    current: Callable[[], Work[Done] | None],
    stop: Signal,
    *,
    until_end: bool = False,
    patience: float = PATIENCE_SECONDS,
    report: Callable[[Done], None] = lambda done: None,
) -> int:
    """Works through what the consumer reads until `stop` is set; how many records it leaves to the ingest.

    current: what the model in use does, asked before every batch; while it is None, the log is left alone. until_end:
    returns when nothing is left to read, or when the ingest has not come further for `patience` seconds. While the log
    or the store does not answer, it tries again every RETRY_SECONDS. `report` is called after each batch.
    """
    following, held, moved = "", list[Record](), time.monotonic()
    fresh: Fresh = {}
    while not stop.is_set():
        work = current()
        if work is None:
            if until_end:
                break
            stop.wait(RETRY_SECONDS)
            continue
        group = f"{work.group}:{consumer.stream}"
        if group != following:
            following, held, fresh = group, [], {}
            resume(consumer, store, group, stop)
        try:
            if len(held) < BATCH:
                held += consumer.read(BATCH - len(held), 0.0 if held else WAIT_SECONDS)
            passed, waiting = settled(held, store)
            if passed:
                done = work.do(passed, fresh, stop)
                if stop.is_set():  # in the middle of it
                    break
                checkpoint(passed, consumer, store, group)
                report(done)
                held, moved = waiting, time.monotonic()
            elif until_end and (not held or time.monotonic() - moved > patience):
                break
            elif held:
                stop.wait(POLL_SECONDS)
        except (StoreUnavailable, LogUnavailable) as error:
            logger.warning("%s waits, and tries again: %s", work.group, error)
            stop.wait(RETRY_SECONDS)
    return len(held)


def start_following(
    backends: Backends, threads: Threads, group: str, name: str, run: Callable[[Consumer], object]
) -> None:
    """Hands `run` a consumer of the group, in `threads`; while another process has the log, stands by to take its
    place. name: the thread's."""

    def follow() -> None:
        while not threads.stop.is_set():
            try:
                consumer = backends.log.consumer(Stream.EVENTS, group)
            except LogUnavailable:
                threads.stop.wait(STANDBY_SECONDS)
                continue
            with closing(consumer):
                run(consumer)

    threads.start(name, follow)


def settled(held: Sequence[Record], store: ProfileStore) -> tuple[list[Record], list[Record]]:
    """(records that the ingest has applied or put away, those it has not come to)."""
    if not held:
        return [], []
    applied = {
        (mark.position.log_id, mark.position.partition): mark.position.offset
        for mark in store.checkpoints(f"{INGEST}:{Stream.EVENTS}")
    }
    passed, waiting = list[Record](), list[Record]()
    for record in held:
        position = record.position
        is_passed = position.offset <= applied.get((position.log_id, position.partition), -1)
        (passed if is_passed else waiting).append(record)
    return passed, waiting


def behind(records: Sequence[Record], fresh: Fresh) -> list[UserId]:
    """The users, each once, of whom what is made is not known to have seen their record."""
    if len(fresh) > REMEMBERED:
        fresh.clear()
    users: dict[UserId, None] = {}
    for record in records:
        user = UserId(record.key)
        known = fresh.get(user)
        if known is None or not known.covers(record.position):
            users[user] = None
    return list(users)


def checkpoint(records: Sequence[Record], consumer: Consumer, store: ProfileStore, group: str) -> None:
    """Records that these are done."""
    last = {record.position.partition: Checkpoint(record.position, record.appended) for record in records}
    store.checkpoint(group, list(last.values()))
    consumer.commit([mark.position for mark in last.values()])
