"""Folding events into a user's history: pure, and free of order, repetition and batching.

The history is the newest `limit` events by (at, event id); of two events with one id the greater (at, content hash)
wins. The fold is a join of a semilattice: an event that fell out of a full history is older than all that is kept, and
would fall out again, so no set of event ids ever seen is needed. The items of events that left, because they were too
old or because another with their id has won, are remembered apart, each with the newest time it left with: with those
of the history they are all that was ever seen. `apply.lua` is the same fold beside the data.

Encoded, a history is the number of its events and then one record an event, newest first, big-endian:

    history   count u16 | record ...
    record    length u16 | at f64 | id length u16 | id | JSON array | length u16

The length (of the whole record) stands on both ends: new events are placed from the front, old ones cut off at the
back, and neither touches what lies between. The array is [item, type, value, session, recommendation, properties]
without its trailing nulls; the user is in the key.

Shapes: L events of a history.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha1
from struct import Struct
from typing import Any, Final, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from features.events import Event, EventId, ItemId, UserId
from features.profile import Position
from features.wire import canonical_json

_COUNT: Final = Struct(">H")
_HEAD: Final = Struct(">HdH")
_LENGTHS: Final = Struct(">H8xH")  # the head without the time
_ITEM: Final = re.compile(rb'\["([^"\\]*)"')  # without escapes, at the beginning of an array
_NULL: Final = ord("n")  # what an array begins with whose first element is null
_EMPTY: Final = b""
_FLOAT32_MOST: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class UserHistory:
    """The newest events of a user, the items of those that left, and the log position of the last event.

    encoded: as the module says; `events` decodes it. as_of: None for a user nobody has heard of. erased_at: epoch
    seconds of the last erasure; no event from before it is left.
    """

    user: UserId
    encoded: bytes = _EMPTY
    left: frozenset[ItemId] = frozenset()
    as_of: Position | None = None
    erased_at: float | None = None

    @property
    def events(self) -> tuple[Event, ...]:
        """The events, oldest first."""
        return decode(self.user, self.encoded)

    @property
    def seen(self) -> frozenset[ItemId]:
        """Every item the user was ever seen with."""
        return self.left | items(self.encoded)

    @property
    def oldest(self) -> float | None:
        """The time of the oldest event, epoch seconds; None when there is none."""
        if not self.encoded:
            return None
        (length,) = _COUNT.unpack_from(self.encoded, len(self.encoded) - _COUNT.size)
        return float(_HEAD.unpack_from(self.encoded, len(self.encoded) - length)[1])

    def recent_items(self, most: int) -> tuple[ItemId, ...]:
        """The items of the newest `most` events that have one, oldest first; repeated as they occurred."""
        return recent_items(self.encoded, most)

    def recent_events(self, most: int) -> tuple[tuple[ItemId, ...], NDArray[np.float64], NDArray[np.float32]]:
        """(items, times_L, values_L) of the newest `most` events that have an item, oldest first."""
        return recent_events(self.encoded, most)


def fold(events: Iterable[Event], limit: int, erased_at: float | None = None) -> tuple[Event, ...]:
    """The history that these events make, oldest first.

    limit: how many events are kept. erased_at: epoch seconds; events whose time is not after it are dropped.
    """
    return tuple(event for event, _ in reversed(_newest(events, limit, erased_at)[0]))


def encode(events: Iterable[Event], limit: int, erased_at: float | None = None) -> bytes:
    """The fold of these events, encoded; empty bytes when nothing is left."""
    return encode_with_left(events, limit, erased_at)[0]


def encode_with_left(
    events: Iterable[Event], limit: int, erased_at: float | None = None
) -> tuple[bytes, dict[ItemId, float]]:
    """The same, with the items of the events that are not in it, and the newest time of such an event."""
    kept, gone = _newest(events, limit, erased_at)
    left: dict[ItemId, float] = {}
    for event in gone:
        if event.item is not None:
            left[event.item] = max(event.at, left.get(event.item, event.at))
    return _COUNT.pack(len(kept)) + b"".join(record for _, record in kept) if kept else _EMPTY, left


def decode(user: UserId, encoded: bytes) -> tuple[Event, ...]:
    """The events of an encoded history, oldest first."""
    heads = list(_heads(encoded))
    bodies = orjson.loads(b"[%b]" % b",".join(body for _, _, body in heads))
    return tuple(
        _event(identity, user, at, body)
        for (identity, at, _), body in zip(reversed(heads), reversed(bodies), strict=True)
    )


def recent_items(encoded: bytes, most: int) -> tuple[ItemId, ...]:
    """The items of the newest `most` events that have one, oldest first, without decoding the rest."""
    bodies: list[bytes] = []
    lengths, head = _LENGTHS.unpack_from, _HEAD.size
    following, end = _COUNT.size, len(encoded)
    while following < end and len(bodies) < most:
        place = following
        length, id_length = lengths(encoded, place)
        following += length
        start = place + head + id_length
        if encoded[start + 1] != _NULL:
            bodies.append(encoded[start : following - _COUNT.size])
    bodies.reverse()
    return tuple(body[0] for body in orjson.loads(b"[%b]" % b",".join(bodies)))


def recent_events(encoded: bytes, most: int) -> tuple[tuple[ItemId, ...], NDArray[np.float64], NDArray[np.float32]]:
    """(items, times_L, values_L) of the newest `most` events that have an item, oldest first.

    times_L: epoch seconds. values_L: NaN for none; what float32 cannot hold is the greatest that it can.
    """
    bodies: list[bytes] = []
    times: list[float] = []
    head, size = _HEAD.unpack_from, _HEAD.size
    following, end = _COUNT.size, len(encoded)
    while following < end and len(bodies) < most:
        length, at, id_length = head(encoded, following)
        start = following + size + id_length
        following += length
        if encoded[start + 1] != _NULL:
            bodies.append(encoded[start : following - _COUNT.size])
            times.append(at)
    bodies.reverse()
    times.reverse()
    arrays = orjson.loads(b"[%b]" % b",".join(bodies))
    values = [body[2] if len(body) > 2 else None for body in arrays]  # numpy reads None as NaN
    values_L = np.array(values, np.float64).clip(-_FLOAT32_MOST, _FLOAT32_MOST).astype(np.float32)
    return tuple(body[0] for body in arrays), np.array(times, np.float64), values_L


def items(encoded: bytes) -> frozenset[ItemId]:
    """Every item of an encoded history: where its arrays alone look like what they begin with, at a third of the time
    that it takes to walk through it."""
    most = count(encoded)
    if b"[null" not in encoded and encoded.count(b'["') == most:
        names = _ITEM.findall(encoded)
        if len(names) == most:
            return cast("frozenset[ItemId]", frozenset(map(bytes.decode, set(names))))
    return frozenset(recent_items(encoded, most))


def count(encoded: bytes) -> int:
    """How many events an encoded history holds."""
    return int(_COUNT.unpack_from(encoded)[0]) if encoded else 0


def _newest(
    events: Iterable[Event], limit: int, erased_at: float | None
) -> tuple[list[tuple[Event, bytes]], list[Event]]:
    """The kept events with their records, newest first, and those that others have displaced."""
    kept: dict[EventId, tuple[Event, bytes]] = {}
    gone: list[Event] = []
    for event in events:
        if erased_at is not None and event.at <= erased_at:
            continue
        record = _record(event)
        held = kept.get(event.id)
        if held is None:
            kept[event.id] = (event, record)
        elif record != held[1]:
            if (event.at, _hash(record)) > (held[0].at, _hash(held[1])):
                kept[event.id] = (event, record)
                event = held[0]
            gone.append(event)
    newest = sorted(kept.values(), key=lambda pair: (pair[0].at, pair[0].id), reverse=True)
    gone += [event for event, _ in newest[limit:]]
    return newest[:limit], gone


def _record(event: Event) -> bytes:
    body: list[Any] = [event.item, event.type, event.value, event.session, event.recommendation]
    if event.properties:
        body.append(orjson.Fragment(canonical_json(event.properties, "properties")))
    while body[-1] is None:
        body.pop()
    array = orjson.dumps(body)
    identity = event.id.encode()
    length = _HEAD.size + len(identity) + len(array) + _COUNT.size
    return _HEAD.pack(length, event.at, len(identity)) + identity + array + _COUNT.pack(length)


def _hash(record: bytes) -> str:
    return sha1(record, usedforsecurity=False).hexdigest()


def _heads(encoded: bytes) -> Iterator[tuple[bytes, float, bytes]]:
    """(id, at, JSON array) of each record, newest first."""
    place, end = _COUNT.size, len(encoded)
    while place < end:
        length, at, id_length = _HEAD.unpack_from(encoded, place)
        start = place + _HEAD.size
        yield (
            encoded[start : start + id_length],
            at,
            encoded[start + id_length : place + length - _COUNT.size],
        )
        place += length


def _event(identity: bytes, user: UserId, at: float, body: list[Any]) -> Event:
    item, kind, value, session, recommendation, properties = body + [None] * (6 - len(body))
    return Event(EventId(identity.decode()), user, item, kind, value, at, session, recommendation, properties or {})
