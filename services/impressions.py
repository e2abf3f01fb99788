"""Impressions: what was served, to the log's impressions stream, behind the requests' back.

A bounded queue and one thread: a request never waits for a write, and when the log is slower than the requests the
newest impressions are dropped and counted.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event as Signal
from threading import Lock, Thread
from typing import Any, Final

import orjson

from features.errors import LogUnavailable
from features.events import ItemId, UserId
from streaming.log import EventLog, Stream

WAITING_MOST: Final = 50_000
BATCH: Final = 2000
PAUSE_SECONDS: Final = 0.2

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a list that was shown is to an experiment.

    variant: the user's, in a split. teams: the variant that placed each item of an interleaved list, None for items
    that count for neither.
    """

    experiment: str
    variant: str | None = None
    teams: Sequence[str | None] | None = None


@dataclass(frozen=True, slots=True)
class Impression:
    """One list that was shown. at: epoch seconds. model: the version that made it. exposure: None outside of one."""

    recommendation: str
    user: UserId
    items: Sequence[ItemId]
    model: str
    at: float
    exposure: Exposure | None = None


def encode_impression(impression: Impression) -> bytes:
    """The impression's JSON as it stands in the log."""
    wire: dict[str, Any] = {
        "recommendation_id": impression.recommendation,
        "user_id": impression.user,
        "items": impression.items,
        "model_version": impression.model,
        "timestamp": impression.at,
    }
    if impression.exposure is not None:
        wire["experiment"] = impression.exposure.experiment
        if impression.exposure.teams is None:
            wire["variant"] = impression.exposure.variant
        else:
            wire["teams"] = impression.exposure.teams
    return orjson.dumps(wire)


class ImpressionWriter:
    """`put` returns at once; `written` and `dropped` count."""

    def __init__(self, log: EventLog, clock: Callable[[], float], waiting_most: int = WAITING_MOST) -> None:
        self.written = 0
        self.dropped = 0
        self._log = log
        self._clock = clock
        self._waiting: Queue[Impression] = Queue(waiting_most)
        self._flushing = Lock()
        self._stop = Signal()
        self._worker = Thread(target=self._work, name="impressions", daemon=True)
        self._worker.start()

    def put(self, impression: Impression) -> None:
        try:
            self._waiting.put_nowait(impression)
        except Full:
            self.dropped += 1

    def flush(self) -> None:
        """Writes what waits now; when it returns, that is in the log or counted as dropped."""
        with self._flushing:
            self._flush()

    def close(self) -> None:
        """Writes what waits, then stops."""
        self._stop.set()
        self._worker.join()

    def _work(self) -> None:
        while not self._stop.wait(PAUSE_SECONDS):
            self.flush()
        self.flush()

    def _flush(self) -> None:
        while batch := self._take():
            try:
                self._log.append(
                    Stream.IMPRESSIONS,
                    [(impression.user, encode_impression(impression)) for impression in batch],
                    self._clock(),
                )
                self.written += len(batch)
            except LogUnavailable as error:
                self.dropped += len(batch)
                logger.warning("%d impressions dropped: %s", len(batch), error)

    def _take(self) -> list[Impression]:
        batch: list[Impression] = []
        try:
            while len(batch) < BATCH:
                batch.append(self._waiting.get_nowait())
        except Empty:
            pass  # all that waits has been taken
        return batch
