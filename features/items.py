"""Item: one thing that can be recommended, how it stands on the wire, and the catalogue of them all.

On the wire an item is JSON, `{item_id, title, text, categories, attributes, hidden, timestamp}`; only `item_id` is
required, other fields are refused. Of two versions of one item the greater (timestamp, content hash) wins, so that
the catalogue does not depend on the order in which versions arrive.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from features.events import ItemId
from features.wire import PROPERTIES_BYTES, Id, Timestamp, canonical_json, parse_many, parse_one, seconds


@dataclass(frozen=True, slots=True)
class Item:
    """added: epoch seconds of this version. hidden: kept in the catalogue, never recommended."""

    id: ItemId
    title: str = ""
    text: str = ""
    categories: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    hidden: bool = False
    added: float = 0.0


class WireItem(BaseModel):
    """An item as an app sends it."""

    model_config = ConfigDict(
        extra="forbid",
        title="Item",
        json_schema_extra={
            "examples": [{"item_id": "242", "title": "Kolya (1996)", "categories": ["Comedy"], "hidden": False}]
        },
    )

    item_id: Id
    title: Annotated[str, StringConstraints(strict=True, max_length=1024)] | None = None
    text: Annotated[str, StringConstraints(strict=True, max_length=16_384)] | None = None
    categories: Annotated[list[Id], Field(max_length=64)] | None = None
    attributes: dict[str, Any] | None = Field(None, description=f"At most {PROPERTIES_BYTES} bytes of JSON.")
    hidden: Annotated[bool, Field(strict=True)] | None = None
    timestamp: Timestamp | None = Field(
        None,
        description="When this version was made: epoch seconds, or ISO 8601 with a zone. Arrival when absent.",
    )


_ITEM: Final = TypeAdapter(WireItem)
_ITEMS: Final = TypeAdapter(list[WireItem])


def parse_items(body: bytes, now: float, most: int) -> list[Item]:
    """The items of a request's body, one object or a list of at most `most`: all of them, or none.

    now: epoch seconds, the version of items that carry no timestamp. Raises InvalidInput that names the field.
    """
    wires, listed = parse_many(_ITEM, _ITEMS, body, most)
    return [_item(wire, now, f"{place}." if listed else "") for place, wire in enumerate(wires)]


def parse_item(body: bytes, now: float) -> Item:
    """What one record of the items stream says. Raises InvalidInput that names the field."""
    return _item(parse_one(_ITEM, body), now, "")


def encode_item(item: Item) -> bytes:
    """The item's JSON as it stands in the log and the store: fields in a fixed order, empty ones left out."""
    wire: dict[str, Any] = {"item_id": item.id}
    if item.title:
        wire["title"] = item.title
    if item.text:
        wire["text"] = item.text
    if item.categories:
        wire["categories"] = item.categories
    if item.attributes:
        wire["attributes"] = orjson.Fragment(canonical_json(item.attributes, "attributes"))
    if item.hidden:
        wire["hidden"] = True
    wire["timestamp"] = item.added
    return orjson.dumps(wire)


def version(item: Item) -> tuple[float, bytes]:
    """What decides between two versions of one item: the greater wins."""
    return item.added, blake2b(encode_item(item), digest_size=16).digest()


def newest_versions(items: Iterable[Item]) -> dict[ItemId, Item]:
    """One version an item, the greatest; free of order and repetition."""
    newest: dict[ItemId, Item] = {}
    for item in items:
        held = newest.get(item.id)
        if held is None or version(item) > version(held):
            newest[item.id] = item
    return newest


def _item(wire: WireItem, now: float, place: str) -> Item:
    if wire.attributes:
        canonical_json(wire.attributes, f"{place}attributes")
    return Item(
        ItemId(wire.item_id),
        wire.title or "",
        wire.text or "",
        tuple(dict.fromkeys(wire.categories or ())),
        wire.attributes or {},
        bool(wire.hidden),
        now if wire.timestamp is None else seconds(wire.timestamp, now, f"{place}timestamp"),
    )
