"""What every server process keeps in memory from the log: the catalogue as it is now, and what is popular now."""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from threading import Event as Signal
from threading import Lock
from typing import Final

import orjson

from features.errors import InvalidInput, LogUnavailable
from features.events import Event, EventId, ItemId, parse_record
from features.items import Item, parse_item
from streaming.log import Consumer, Record

BATCH: Final = 4096
WAIT_SECONDS: Final = 0.05
RETRY_SECONDS: Final = 0.5
REMEMBERED_IDS: Final = 100_000  # a retry comes soon after its first try

logger = logging.getLogger(__name__)


def tail(consumer: Consumer, take: Callable[[list[Record]], None], stop: Signal, caught_up: Signal) -> None:
    """Hands over what the consumer reads until `stop`; `caught_up` is set when nothing is left for the first time."""
    while not stop.is_set():
        try:
            records = consumer.read(BATCH, WAIT_SECONDS if caught_up.is_set() else 0.0)
        except LogUnavailable as error:
            logger.warning("the log does not answer, trying again: %s", error)
            stop.wait(RETRY_SECONDS)
            continue
        if records:
            take(records)
        else:
            caught_up.set()


def items_of(records: Iterable[Record], now: float) -> list[Item]:
    """The items of these records; what is none is the ingest's to report."""
    items = []
    for record in records:
        try:
            items.append(parse_item(record.value, now))
        except InvalidInput:
            continue
    return items


class LivePopularity:
    """Counts of what came in, all of it and with a half-life; a list of what is popular without any trained model.

    half_life: seconds. Time is the events' own: the newest event is now, so that old data replayed has a trend too.
    """

    def __init__(self, half_life: float) -> None:
        self._half_life = half_life
        self._lock = Lock()
        self._counts: dict[ItemId, float] = {}
        self._decayed: dict[ItemId, float] = {}
        self._reference = 0.0
        self._recent: deque[EventId] = deque()
        self._known: set[EventId] = set()
        self.version = 0

    def take(self, records: Iterable[Record], now: float) -> None:
        """Counts the events of these records; what is no event is the ingest's to report."""
        with self._lock:
            for record in records:
                said = _what_and_when(record.value, now)
                if said is not None and self._is_new(said[0]):
                    self._count(*said[1:])
            self.version += 1

    def counts(self) -> tuple[dict[ItemId, float], dict[ItemId, float]]:
        """(all events, events decayed by age) of each item."""
        with self._lock:
            return dict(self._counts), dict(self._decayed)

    def _count(self, item: ItemId, at: float) -> None:
        if at > self._reference + 50 * self._half_life:  # weights are relative to the reference: keep them in range
            scale = 0.0 if not self._reference else 2.0 ** ((self._reference - at) / self._half_life)
            self._decayed = {name: weight * scale for name, weight in self._decayed.items()}
            self._reference = at
        weight = 2.0 ** max((at - self._reference) / self._half_life, -1000.0)
        self._counts[item] = self._counts.get(item, 0.0) + 1.0
        self._decayed[item] = self._decayed.get(item, 0.0) + weight

    def _is_new(self, event: EventId) -> bool:
        if event in self._known:
            return False
        self._known.add(event)
        self._recent.append(event)
        if len(self._recent) > REMEMBERED_IDS:
            self._known.discard(self._recent.popleft())
        return True


def _what_and_when(value: bytes, now: float) -> tuple[EventId, ItemId, float] | None:
    """(event, item, time) of an event about an item. One that stands as `encode_event` wrote it needs no validation."""
    try:
        match orjson.loads(value):
            case {"event_id": str(event), "item_id": str(item), "timestamp": float(at)} if 0 <= at <= now:
                return EventId(event), ItemId(item), at
        said = parse_record(value, now)
    except (orjson.JSONDecodeError, InvalidInput):
        return None  # the ingest has it among the dead letters
    return (said.id, said.item, said.at) if isinstance(said, Event) and said.item is not None else None
