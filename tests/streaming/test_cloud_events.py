"""CloudEvents: unwrapped in both modes, filled in from their attributes; other messages are left alone."""

from collections.abc import Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.events import Event, parse_record
from streaming.cloud_events import unwrapped

NOW = 1_700_000_000.0
VIEW = {"user_id": "ada", "item_id": "dune", "type": "view", "event_id": "e1", "timestamp": 5.0}
ATTRIBUTES = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "shop.view", "time": "1970-01-01T00:00:09Z"}


def binary(data: object, **attributes: str) -> bytes:
    headers = [(f"ce_{name}", value.encode()) for name, value in (ATTRIBUTES | attributes).items()]
    return unwrapped([("content-type", b"application/json"), *headers], orjson.dumps(data))


def structured(data: object, **attributes: str) -> bytes:
    headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    return unwrapped(headers, orjson.dumps(ATTRIBUTES | attributes | {"data": data}))


@pytest.mark.parametrize("wrapped", [binary, structured])
def test_an_event_that_says_everything_itself_is_taken_as_it_is(wrapped: Callable[[object], bytes]) -> None:
    assert orjson.loads(wrapped(VIEW)) == VIEW


@pytest.mark.parametrize("wrapped", [binary, structured])
def test_what_an_event_does_not_say_its_attributes_do(wrapped: Callable[[object], bytes]) -> None:
    event = parse_record(wrapped({"user_id": "ada", "item_id": "dune"}), NOW)
    assert isinstance(event, Event)
    assert (event.id, event.type, event.at, event.item) == ("/shop#7", "shop.view", 9.0, "dune")


def test_ids_of_two_sources_stay_apart() -> None:
    bare = {"user_id": "ada"}
    assert binary(bare, source="/shop") != binary(bare, source="/app")


def test_an_item_is_taken_as_it_is() -> None:
    assert orjson.loads(binary({"item_id": "dune", "title": "Dune"})) == {"item_id": "dune", "title": "Dune"}


def test_a_message_without_the_attributes_is_no_cloud_event() -> None:
    assert unwrapped([("trace", b"1"), ("ce_id", b"1")], b"{}") == b"{}"


@given(
    st.lists(st.tuples(st.sampled_from(["content-type", "ce_id", "ce_specversion", "Ce_Type", "x"]), st.binary())),
    st.binary(),
)
def test_what_cannot_be_read_is_left_as_it_is(headers: list[tuple[str, bytes]], value: bytes) -> None:
    assert isinstance(unwrapped(headers, value), bytes)


@pytest.mark.parametrize("value", [b"", b"not JSON", b"[1]", b'{"data": 1}', b'{"data_base64": "e30="}'])
def test_a_structured_event_without_json_data_is_left_to_be_refused(value: bytes) -> None:
    assert unwrapped([("content-type", b"application/cloudevents+json")], value) == value
