"""Event: one thing a user did, and how it stands on the wire.

On the wire an event is JSON, `{event_id, user_id, item_id, type, value, timestamp, session_id, recommendation_id,
properties}`; `user_id` and `type` are required, absent and null are the same, other fields are refused.
An erasure travels on the same stream as `{erased, timestamp}` and names the user by digest only, so that
the order to forget somebody does not itself remember who it was.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Any, Final, NewType

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from features.errors import InvalidInput
from features.wire import (
    PROPERTIES_BYTES,
    FiniteNumber,
    Id,
    Timestamp,
    canonical_json,
    parse_many,
    parse_one,
    seconds,
)

EventId = NewType("EventId", str)
UserId = NewType("UserId", str)
ItemId = NewType("ItemId", str)
UserDigest = NewType("UserDigest", str)


@dataclass(frozen=True, slots=True)
class Event:
    """at: epoch seconds. id: makes the event idempotent. properties: JSON values, not to be changed."""

    id: EventId
    user: UserId
    item: ItemId | None
    type: str
    value: float | None
    at: float
    session: str | None = None
    recommendation: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Erasure:
    """Forget every event of this user whose time is not after `at` (epoch seconds)."""

    user: UserDigest
    at: float


@lru_cache(maxsize=65_536)
def user_digest(user: UserId) -> UserDigest:
    """16 URL-safe characters (96 bits) that stand for a user wherever the id itself should not."""
    return UserDigest(urlsafe_b64encode(blake2b(user.encode(), digest_size=12).digest()).decode())


class WireEvent(BaseModel):
    """An event as an app sends it."""

    model_config = ConfigDict(
        extra="forbid",
        title="Event",
        json_schema_extra={
            "examples": [
                {
                    "event_id": "9f1c2e",
                    "user_id": "196",
                    "item_id": "242",
                    "type": "rating",
                    "value": 4,
                    "timestamp": "2026-11-24T09:30:00Z",
                }
            ]
        },
    )

    event_id: Id | None = Field(None, description="Derived from the content when absent (then timestamp is required).")
    user_id: Id
    item_id: Id | None = None
    type: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64)]
    value: FiniteNumber | None = None
    timestamp: Timestamp | None = Field(
        None, description="Epoch seconds, or ISO 8601 with a zone. The time of arrival when absent."
    )
    session_id: Id | None = None
    recommendation_id: Id | None = None
    properties: dict[str, Any] | None = Field(None, description=f"At most {PROPERTIES_BYTES} bytes of JSON.")


class WireErasure(BaseModel):
    """The order to forget a user, as it stands in the log."""

    model_config = ConfigDict(extra="forbid", title="Erasure")

    erased: Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_-]{16}$")]
    timestamp: FiniteNumber


_EVENT: Final = TypeAdapter(WireEvent)
_EVENTS: Final = TypeAdapter(list[WireEvent])
_ERASURE: Final = TypeAdapter(WireErasure)


def parse_events(body: bytes, now: float, most: int) -> list[Event]:
    """The events of a request's body, one object or a list of at most `most`: all of them, or none.

    now: epoch seconds; the time of events that carry an id and no timestamp, and the bound on the future.
    Raises InvalidInput that names the field of the first event that is wrong.
    """
    wires, listed = parse_many(_EVENT, _EVENTS, body, most)
    return [_event(wire, now, f"{place}." if listed else "") for place, wire in enumerate(wires)]


def parse_record(body: bytes, now: float) -> Event | Erasure:
    """What one record of the events stream says. Raises InvalidInput that names the field."""
    if body.startswith(ERASURE_START):
        wire = parse_one(_ERASURE, body)
        return Erasure(UserDigest(wire.erased), seconds(wire.timestamp, now, "timestamp"))
    return _event(parse_one(_EVENT, body), now, "")


def encode_event(event: Event) -> bytes:
    """The event's JSON as it stands in the log: fields in a fixed order, nulls left out, properties sorted."""
    wire: dict[str, Any] = {"event_id": event.id, "user_id": event.user}
    if event.item is not None:
        wire["item_id"] = event.item
    wire["type"] = event.type
    if event.value is not None:
        wire["value"] = event.value
    wire["timestamp"] = event.at
    if event.session is not None:
        wire["session_id"] = event.session
    if event.recommendation is not None:
        wire["recommendation_id"] = event.recommendation
    if event.properties:
        wire["properties"] = orjson.Fragment(canonical_json(event.properties, "properties"))
    return orjson.dumps(wire)


ERASURE_START: Final = b'{"erased":'


def encode_erasure(erasure: Erasure) -> bytes:
    """The erasure's JSON as it stands in the log."""
    return orjson.dumps({"erased": erasure.user, "timestamp": erasure.at})


def _event(wire: WireEvent, now: float, place: str) -> Event:
    if wire.properties:
        canonical_json(wire.properties, f"{place}properties")
    if wire.timestamp is not None:
        at = seconds(wire.timestamp, now, f"{place}timestamp")
    elif wire.event_id is not None:
        at = now
    else:
        raise InvalidInput(
            f"{place}event_id",
            "neither event_id nor timestamp was given; a retry would count twice, so send one",
        )
    event = Event(
        EventId(wire.event_id or ""),
        UserId(wire.user_id),
        None if wire.item_id is None else ItemId(wire.item_id),
        wire.type,
        None if wire.value is None else wire.value + 0.0,  # -0.0 and 0.0 are one value
        at,
        wire.session_id,
        wire.recommendation_id,
        wire.properties or {},
    )
    return event if event.id else _with_derived_id(event)


def _with_derived_id(event: Event) -> Event:
    content = encode_event(event)  # its id is still empty, so that the same content gives the same id
    derived = EventId(f"e-{blake2b(content, digest_size=12).hexdigest()}")
    return Event(
        derived,
        event.user,
        event.item,
        event.type,
        event.value,
        event.at,
        event.session,
        event.recommendation,
        event.properties,
    )
