"""The encode worker: keeps the stored vector of every user that of the user's newest events.

It is a consumer group of the events stream that stays behind the ingest: a record counts once the ingest's checkpoint
has passed it, and then its user's profile is read, encoded with others in one batch, and the vector stored beside the
profile. A profile that has moved on by then is left to the record that has moved it. The checkpoint is written after
the vectors; a restart goes back a little before it, and finds the vectors that are there already fresh.

Checkpoints are a model's own: a new model starts at the beginning of the log, and a user who comes up often is encoded
once, from what the profile is by then; a model that is rolled back to goes on where it was.

Shapes: B users, D dimensions.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from threading import Event as Signal
from typing import Final

from features.errors import LogUnavailable, StoreUnavailable
from features.events import UserId
from features.history import UserHistory
from features.profile import UserVector
from features.profiles import ProfileStore
from models.recommender import HISTORY_LENGTH, Pipeline, Query
from services.behind import BATCH, PATIENCE_SECONDS, POLL_SECONDS, Fresh, behind, checkpoint, settled
from services.threads import Threads
from services.wiring import Backends
from streaming.ingest import RETRY_SECONDS, WAIT_SECONDS, resume
from streaming.log import Consumer, Record, Stream

GROUP: Final = "encode"
AT_ONCE: Final = 256  # users in one call of the encoder
STANDBY_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Encoded:
    """What became of one batch of records: users whose vector was not fresh, vectors stored, users who failed."""

    records: int = 0
    users: int = 0
    written: int = 0
    failed: int = 0

    def __add__(self, other: "Encoded") -> "Encoded":
        return Encoded(
            self.records + other.records,
            self.users + other.users,
            self.written + other.written,
            self.failed + other.failed,
        )


def follow(
    consumer: Consumer,
    store: ProfileStore,
    current: Callable[[], Pipeline | None],
    stop: Signal,
    *,
    until_end: bool = False,
    at_once: int = AT_ONCE,
    patience: float = PATIENCE_SECONDS,
    report: Callable[[Encoded], None] = lambda encoded: None,
) -> int:
    """Encodes the users of what the consumer reads until `stop` is set; how many records it leaves to the ingest.

    current: the pipeline in use, asked before every batch; while it has no encoder, the log is left alone. until_end:
    returns when nothing is left to read, or when the ingest has not come further for `patience` seconds. While the log
    or the store does not answer, it tries again every RETRY_SECONDS. `report` is called after each batch.
    """
    following, held, moved = "", list[Record](), time.monotonic()
    fresh: Fresh = {}
    while not stop.is_set():
        pipeline = current()
        if pipeline is None or pipeline.encoder_model is None:
            if until_end:
                break
            stop.wait(RETRY_SECONDS)
            continue
        group = f"{GROUP}:{pipeline.encoder_model}:{consumer.stream}"
        if group != following:
            following, held, fresh = group, [], {}
            resume(consumer, store, group, stop)
        try:
            if len(held) < BATCH:
                held += consumer.read(BATCH - len(held), 0.0 if held else WAIT_SECONDS)
            done, waiting = settled(held, store)
            if done:
                encoded = encode_users(behind(done, fresh), store, pipeline, fresh, stop, at_once)
                if stop.is_set():  # in the middle of it
                    break
                checkpoint(done, consumer, store, group)
                report(encoded + Encoded(records=len(done)))
                held, moved = waiting, time.monotonic()
            elif until_end and (not held or time.monotonic() - moved > patience):
                break
            elif held:
                stop.wait(POLL_SECONDS)
        except (StoreUnavailable, LogUnavailable) as error:
            logger.warning("users were not encoded, trying again: %s", error)
            stop.wait(RETRY_SECONDS)
    return len(held)


def start_encoding(
    backends: Backends,
    threads: Threads,
    current: Callable[[], Pipeline],
    at_once: int,
    report: Callable[[Encoded], None],
) -> None:
    """Follows the log in `threads`; while another process does, stands by to take its place."""

    def run() -> None:
        while not threads.stop.is_set():
            try:
                consumer = backends.log.consumer(Stream.EVENTS, GROUP)
            except LogUnavailable:
                threads.stop.wait(STANDBY_SECONDS)
                continue
            with closing(consumer):
                follow(consumer, backends.patient, current, threads.stop, at_once=at_once, report=report)

    threads.start("encoding users", run)


def encode_users(
    users: Sequence[UserId],
    store: ProfileStore,
    pipeline: Pipeline,
    fresh: Fresh,
    stop: Signal,
    at_once: int = AT_ONCE,
) -> Encoded:
    """Stores a vector for each of these users that has a history and no fresh one; ends early when `stop` is set.

    Users whose encoding fails are logged and left out: requests encode them, and say so when that fails too. What is
    stored goes into `fresh` as well.
    """
    done = Encoded()
    for first in range(0, len(users), at_once):
        if stop.is_set():
            break
        stale = _stale(users[first : first + at_once], store, pipeline, fresh)
        if stale:
            encoded = _encode(stale, store, pipeline)
            if encoded.written == len(stale):
                fresh |= {history.user: history.as_of for history in stale if history.as_of is not None}
            done += encoded
    return done


def query_of(history: UserHistory) -> Query:
    """The query that says of a user what an encoder needs."""
    items, times_L, values_L = history.recent_events(HISTORY_LENGTH)
    return Query(history.user, items, as_of=history.as_of, times_L=times_L, values_L=values_L)


def _encode(histories: Sequence[UserHistory], store: ProfileStore, pipeline: Pipeline) -> Encoded:
    model = pipeline.encoder_model or ""
    try:
        vectors_BD = pipeline.vectors([query_of(history) for history in histories])
        made = [
            (history.user, UserVector(vector_D, model, history.as_of))
            for history, vector_D in zip(histories, vectors_BD, strict=True)
            if history.as_of is not None
        ]
        return Encoded(users=len(histories), written=store.write_vectors(made))
    except (StoreUnavailable, LogUnavailable):
        raise
    except Exception:
        logger.exception("%d users could not be encoded", len(histories))
        return Encoded(users=len(histories), failed=len(histories))


def _stale(users: Sequence[UserId], store: ProfileStore, pipeline: Pipeline, fresh: Fresh) -> list[UserHistory]:
    """The histories without a fresh vector. The key of an erasure is no user's, and has none."""
    stale = []
    for history, vector in store.read_with_vectors(users, pipeline.encoder_model or ""):
        if vector is not None and vector.as_of == history.as_of:
            fresh[history.user] = vector.as_of
        elif history.encoded:
            stale.append(history)
    return stale
