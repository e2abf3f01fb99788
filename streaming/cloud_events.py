"""CloudEvents on Kafka: what an app wraps its events in is taken off, and its attributes fill in what they say.

Both modes of the protocol binding are read (https://github.com/cloudevents/spec, kafka-protocol-binding.md, 1.0.2):
binary, the attributes in headers `ce_*` and the event as the value; structured, all of it one JSON object whose media
type is `application/cloudevents+json`. Of an event that has no event_id, type or timestamp of its own the attributes
id, type and time are taken, the id with its source before it, as the two name an event together.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from features.wire import ID_LENGTH

STRUCTURED: Final = b"application/cloudevents+json"
_DEFAULTS: Final = (("event_id", "id"), ("type", "type"), ("timestamp", "time"))


def unwrapped(headers: Sequence[tuple[str, bytes]], value: bytes) -> bytes:
    """The wire JSON of a message; its value as it is when it is no CloudEvent, or is one of something else than JSON.

    What cannot be read is left to be refused with everything else that is not an event.
    """
    named = {name.lower(): content or b"" for name, content in headers}
    try:
        if named.get("content-type", b"").lower().startswith(STRUCTURED):
            attributes = orjson.loads(value)
            data = attributes.get("data")
        elif "ce_specversion" in named:
            attributes = {name[3:]: content.decode() for name, content in named.items() if name.startswith("ce_")}
            data = orjson.loads(value)
        else:
            return value
        return orjson.dumps(_filled(data, attributes)) if isinstance(data, dict) else value
    except (ValueError, AttributeError):
        return value


def _filled(data: dict[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    if "user_id" not in data:  # an item, or nothing of ours
        return data
    said = dict(attributes)
    if "id" in said:
        said["id"] = f"{said.get('source', '')}#{said['id']}"[-ID_LENGTH:]
    return data | {field: said[name] for field, name in _DEFAULTS if data.get(field) is None and name in said}
