"""The wire format as JSON Schema, for apps that write to the topics themselves: event.json and item.json beside this.

`python -m features.schemas` writes both anew from the models that read the wire, so that the two cannot differ; the
value of a record is such an object, its key the user's id, or the item's. A CloudEvent's data may leave out event_id,
type and timestamp, which its attributes id, type and time then say.
"""

import json
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from features.events import WireEvent
from features.items import WireItem

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
FOLDER: Final = Path(__file__).parent
_MODELS: Final[dict[str, type[BaseModel]]] = {"event": WireEvent, "item": WireItem}
NAMES: Final = tuple(_MODELS)


def schema(name: str) -> dict[str, Any]:
    """The schema of "event" or "item"."""
    made = {"$schema": DIALECT} | _MODELS[name].model_json_schema()
    if name == "event":
        # Without an id of its own an event is known by its content, and so by its time.
        said = [{"required": [field], "properties": {field: {"not": {"type": "null"}}}} for field in _EITHER]
        made["anyOf"] = said
    return made


def published(name: str) -> dict[str, Any]:
    """The schema as it stands in the repository."""
    read: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return read


def publish() -> None:
    """Writes the schemas into the repository."""
    for name in NAMES:
        (FOLDER / f"{name}.json").write_text(json.dumps(schema(name), indent=2) + "\n")


_EITHER: Final = ("event_id", "timestamp")
