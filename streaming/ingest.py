"""Ingest: from the log to the profile store and the catalogue, exactly once in effect.

A batch is read and parsed while the one before it is being applied: one batch in flight and one in hand is all that
is held, so a slow store slows the reading and nothing piles up. The store's checkpoint, written after every script of a
batch has returned, is the truth about where to go on; the group's committed offset is a hint for the log's own tools.
On start a partition goes back OVERLAP_SECONDS before its checkpoint: what is applied twice changes nothing. So does one
that comes from another member of the group, which has finished its batch before it let go.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, replace
from threading import Event as Signal
from time import monotonic
from typing import Final, Protocol

from features.errors import InvalidInput, LogUnavailable, StoreUnavailable
from features.events import Erasure, Event, UserDigest, parse_record, user_digest
from features.items import Item, parse_item
from features.profile import Position
from features.profiles import Checkpoint, ProfileStore, UserBatch
from streaming.dead_letters import DeadLetters
from streaming.log import Consumer, Record, Stream

OVERLAP_SECONDS: Final = 60.0
BATCH: Final = 4096  # records; larger batches fold more events of a user in one script
WAIT_SECONDS: Final = 0.05  # how long a read waits for its first record, and so how long a stop may take
RETRY_SECONDS: Final = 0.5
LAG_SECONDS: Final = 5.0  # between two looks at how far the reading is behind
SETTLE_SECONDS: Final = 10.0  # for the batch in flight before its partition goes; the next member repeats the rest

logger = logging.getLogger(__name__)

Clock = Callable[[], float]  # epoch seconds


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one batch: records applied, those that went to the dead letters, users erased by it.

    last_appended: when the log took the batch's last record, epoch seconds. lag: how many records were left to read
    after it, in the partitions of this consumer; None where nobody has looked.
    """

    stream: Stream
    records: int
    dead: int
    last_appended: float
    erased: int = 0
    lag: int | None = None


class Prepare(Protocol):
    """Parses a batch of records, and returns what applies it; applying may be repeated."""

    def __call__(self, records: Sequence[Record]) -> Callable[[], Applied]: ...


def into_profiles(store: ProfileStore, dead_letters: DeadLetters, clock: Clock) -> Prepare:
    """Events and erasures into the histories."""

    def prepare(records: Sequence[Record]) -> Callable[[], Applied]:
        batches, dead = _by_user(records)
        erased = sum(batch.erased_at is not None for batch in batches)

        def apply() -> Applied:
            store.apply(batches)
            _bury(dead, Stream.EVENTS, dead_letters, clock())
            return Applied(Stream.EVENTS, len(records) - len(dead), len(dead), records[-1].appended, erased)

        return apply

    return prepare


def into_catalogue(store: ProfileStore, dead_letters: DeadLetters, clock: Clock) -> Prepare:
    """Item versions into the catalogue."""

    def prepare(records: Sequence[Record]) -> Callable[[], Applied]:
        items: list[Item] = []
        dead: list[tuple[Record, str]] = []
        for record in records:
            try:
                items.append(parse_item(record.value, record.appended))
            except InvalidInput as error:
                dead.append((record, str(error)))

        def apply() -> Applied:
            store.upsert_items(items)
            _bury(dead, Stream.ITEMS, dead_letters, clock())
            return Applied(Stream.ITEMS, len(items), len(dead), records[-1].appended)

        return apply

    return prepare


def follow(
    consumer: Consumer,
    prepare: Prepare,
    store: ProfileStore,
    group: str,
    stop: Signal,
    *,
    until_end: bool = False,
    batch: int = BATCH,
    report: Callable[[Applied], None] = lambda applied: None,
) -> None:
    """Applies what the consumer reads until `stop` is set, or with `until_end` until nothing is left to read.

    The batch in flight is finished and recorded before it returns. While the log or the store does not answer, it
    tries again every RETRY_SECONDS and goes no further; other errors rise. `report` is called after each batch.
    """
    group = f"{group}:{consumer.stream}"  # offsets of two streams do not compare
    resume(consumer, store, group, stop)
    in_flight: Future[Applied | None] | None = None
    read: list[Record] = []
    looked = monotonic()

    def settle() -> None:
        if in_flight is None or not wait_for([in_flight], SETTLE_SECONDS).done:
            return
        if in_flight.exception() is None and in_flight.result() is not None:
            _commit(consumer, read)

    consumer.losing = settle
    with ThreadPoolExecutor(1, thread_name_prefix="apply") as applier:
        while not stop.is_set():
            try:
                records = consumer.read(batch, WAIT_SECONDS if in_flight is None else 0.0)
            except LogUnavailable as error:
                logger.warning("the log does not answer, trying again: %s", error)
                stop.wait(RETRY_SECONDS)
                continue
            apply = prepare(records) if records else None
            if in_flight is not None:
                lag = None if records else 0
                if lag is None and monotonic() - looked > LAG_SECONDS:
                    lag, looked = _lag(consumer, len(records)), monotonic()
                _finish(in_flight, read, consumer, report, lag)
                in_flight = None
            if apply is not None:
                read = records
                in_flight = applier.submit(_apply_and_record, apply, records, store, group, stop)
            elif until_end and _lag(consumer, 0) == 0:
                return
        if in_flight is not None:
            _finish(in_flight, read, consumer, report)


def _by_user(records: Sequence[Record]) -> tuple[list[UserBatch], list[tuple[Record, str]]]:
    """Per user and partition what the records say, and the records that say nothing with the reason why.

    A record is read by the clock of its appending, so that it says the same whenever it is read.
    """
    events: dict[tuple[UserDigest, int], list[Event]] = {}
    last: dict[tuple[UserDigest, int], Position] = {}
    erased: dict[tuple[UserDigest, int], float] = {}
    dead: list[tuple[Record, str]] = []
    for record in records:
        try:
            said = parse_record(record.value, record.appended)
        except InvalidInput as error:
            dead.append((record, str(error)))
            continue
        position = record.position
        if isinstance(said, Erasure):
            key = (said.user, position.partition)
            erased[key] = max(said.at, erased.get(key, said.at))
        else:
            key = (user_digest(said.user), position.partition)
            events.setdefault(key, []).append(said)
        last[key] = position
    return [UserBatch(key[0], last[key], events.get(key, ()), erased.get(key)) for key in last], dead


def _apply_and_record(
    apply: Callable[[], Applied], records: Sequence[Record], store: ProfileStore, group: str, stop: Signal
) -> Applied | None:
    """Applies the batch and then its checkpoint, again and again until the store takes both; None when stopped."""
    last = {record.position.partition: Checkpoint(record.position, record.appended) for record in records}
    while True:
        try:
            applied = apply()
            store.checkpoint(group, list(last.values()))
            return applied
        except (StoreUnavailable, LogUnavailable) as error:  # of the log, the dead letters
            logger.warning("a batch was not recorded, trying again: %s", error)
            if stop.wait(RETRY_SECONDS):
                return None


def _finish(
    in_flight: "Future[Applied | None]",
    records: Sequence[Record],
    consumer: Consumer,
    report: Callable[[Applied], None],
    lag: int | None = None,
) -> None:
    applied = in_flight.result()
    if applied is not None:
        _commit(consumer, records)
        report(replace(applied, lag=lag))


def _lag(consumer: Consumer, in_hand: int) -> int | None:
    try:
        return consumer.lag() + in_hand
    except LogUnavailable:
        return None  # the next read says so


def _commit(consumer: Consumer, records: Sequence[Record]) -> None:
    try:
        consumer.commit(list({record.position.partition: record.position for record in records}.values()))
    except LogUnavailable as error:
        logger.warning("the log did not take the group's offsets, which are but a hint: %s", error)


def resume(consumer: Consumer, store: ProfileStore, group: str, stop: Signal) -> None:
    """Goes back a little before the checkpoints, now and in each partition that comes to the consumer later.

    A partition without a checkpoint in this log starts at its beginning.
    """
    consumer.gained = lambda partitions: _go_back(consumer, partitions, store, group, stop)
    _go_back(consumer, consumer.partitions, store, group, stop)


def _go_back(consumer: Consumer, partitions: Sequence[int], store: ProfileStore, group: str, stop: Signal) -> None:
    while not stop.is_set():
        try:
            marks = {(mark.position.log_id, mark.position.partition): mark for mark in store.checkpoints(group)}
            for partition in partitions:
                mark = marks.get((consumer.log_id, partition))
                if mark is None:
                    consumer.seek(partition, offset=0)
                else:
                    consumer.seek(partition, offset=mark.position.offset + 1, time=mark.appended - OVERLAP_SECONDS)
            return
        except (StoreUnavailable, LogUnavailable) as error:
            logger.warning("cannot tell where to go on, trying again: %s", error)
            stop.wait(RETRY_SECONDS)


def _bury(dead: Sequence[tuple[Record, str]], stream: Stream, dead_letters: DeadLetters, now: float) -> None:
    for record, reason in dead:
        dead_letters.add(stream, record.key, record.value, record.position, reason, now)
