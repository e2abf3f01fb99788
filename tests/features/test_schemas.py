"""The published schemas: those that the models make, and as strict as what reads the wire."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from jsonschema import Draft202012Validator
from strategies_of_events import events

from features.errors import InvalidInput
from features.events import Event, encode_event, parse_record
from features.items import Item, ItemId, encode_item, parse_item
from features.schemas import NAMES, published, schema

NOW = 1_700_000_000.0
EVENT = Draft202012Validator(published("event"))
ITEM = Draft202012Validator(published("item"))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_published_is_what_is_read(name: str) -> None:
    assert published(name) == schema(name), "run python -m features.schemas"
    Draft202012Validator.check_schema(published(name))
    for example in published(name)["examples"]:
        Draft202012Validator(published(name)).validate(example)


@given(events())
def test_every_event_in_the_log_is_valid(given_events: list[Event]) -> None:
    for event in given_events:
        EVENT.validate(orjson.loads(encode_event(event)))


def test_every_item_in_the_log_is_valid() -> None:
    item = Item(ItemId("i1"), "Kolya", "a film", ("Comedy",), {"year": 1996}, True, NOW)
    ITEM.validate(orjson.loads(encode_item(item)))


GOOD: dict[str, Any] = {"event_id": "e1", "user_id": "ada", "type": "view"}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"event_id": None, "timestamp": 5},
        {"item_id": None, "value": None, "properties": None},
        {"value": 1.5, "timestamp": 7.25, "session_id": "s", "recommendation_id": "r", "properties": {"a": [1]}},
        {"user_id": None},
        {"user_id": ""},
        {"user_id": 7},
        {"user_id": "a" * 129},
        {"type": "a" * 65},
        {"value": "1"},
        {"value": True},
        {"properties": [1]},
        {"event_id": None},
        {"event_id": None, "timestamp": None},
        {"colour": "red"},
    ],
)
def test_what_is_read_is_valid_and_what_is_refused_is_not(change: dict[str, Any]) -> None:
    event = GOOD | change
    try:
        parse_record(orjson.dumps(event), NOW)
    except InvalidInput:
        assert not EVENT.is_valid(event)
    else:
        assert EVENT.is_valid(event)


@pytest.mark.parametrize("item", [{"item_id": "i"}, {}, {"item_id": "i", "hidden": 1}, {"item_id": "i", "tags": []}])
def test_items_too(item: dict[str, Any]) -> None:
    try:
        parse_item(orjson.dumps(item), NOW)
    except InvalidInput:
        assert not ITEM.is_valid(item)
    else:
        assert ITEM.is_valid(item)
