"""What consumers that stay behind the ingest share: they read profiles, and a record counts once it is in one.

The checkpoint of such a consumer is written after what it has made; a restart goes back a little before it.
"""

from collections.abc import Sequence
from typing import Final

from features.events import UserId
from features.profile import Position
from features.profiles import Checkpoint, ProfileStore
from services.ingesting import GROUP as INGEST
from streaming.log import Consumer, Record, Stream

BATCH: Final = 4096  # records in hand
REMEMBERED: Final = 100_000  # users who are known to be done, so that a replay reads each of them once
POLL_SECONDS: Final = 0.01  # between two looks at how far the ingest has come, while records wait for it
PATIENCE_SECONDS: Final = 10.0  # without any progress of the ingest, when the worker is to end at the log's end

Fresh = dict[UserId, Position]  # what the form that is made of a user has seen


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
