"""Events on the wire: what is taken, what is refused and by which name, and that encoding loses nothing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InvalidInput
from features.events import (
    Erasure,
    Event,
    EventId,
    ItemId,
    UserId,
    encode_erasure,
    encode_event,
    parse_events,
    parse_record,
    user_digest,
)

NOW = 2_000_000_000.0
VIEW: dict[str, Any] = {"user_id": "ada", "type": "view", "timestamp": 10}


def parsed(body: Any, most: int = 10) -> list[Event]:
    return parse_events(json.dumps(body).encode(), NOW, most)


def refused(body: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as refusal:
        parse_events(body if isinstance(body, bytes) else json.dumps(body).encode(), NOW, 10)
    return refusal.value


def test_every_field_is_read() -> None:
    whole = VIEW | {
        "event_id": "e1",
        "item_id": "kolya",
        "value": 4,
        "session_id": "s",
        "recommendation_id": "r",
        "properties": {"device": ["phone", None, 1.5]},
    }
    expected = Event(
        EventId("e1"), UserId("ada"), ItemId("kolya"), "view", 4.0, 10.0, "s", "r", {"device": ["phone", None, 1.5]}
    )
    assert parsed(whole) == [expected]


def test_a_list_keeps_its_order_and_one_object_is_a_list_of_one() -> None:
    assert [event.user for event in parsed([VIEW | {"user_id": name} for name in "cab"])] == ["c", "a", "b"]
    assert len(parsed(VIEW)) == 1


def test_null_is_as_good_as_absent() -> None:
    assert parsed(VIEW | {"item_id": None, "value": None, "properties": None, "event_id": None}) == parsed(VIEW)


def test_a_time_may_be_seconds_or_iso_8601_with_any_zone() -> None:
    times = [1_795_512_600, "2026-11-24T09:30:00Z", "2026-11-24T11:30:00+02:00", 1_795_512_600.0]
    assert {parsed(VIEW | {"timestamp": time})[0].at for time in times} == {1_795_512_600.0}


def test_an_event_with_an_id_and_no_time_happened_on_arrival() -> None:
    assert parsed({"event_id": "e", "user_id": "ada", "type": "view"})[0].at == NOW


def test_a_derived_id_depends_on_the_content_only() -> None:
    first = parsed(VIEW | {"properties": {"a": 1, "b": 2}})[0]
    again = parsed(
        {"properties": {"b": 2, "a": 1}, "timestamp": "1970-01-01T00:00:10Z", "type": "view", "user_id": "ada"}
    )[0]
    assert first.id == again.id
    assert first.id.startswith("e-")


@pytest.mark.parametrize(
    "change",
    [{"user_id": "bob"}, {"type": "buy"}, {"timestamp": 11}, {"item_id": "x"}, {"value": 1}, {"properties": {"a": 1}}],
)
def test_another_content_derives_another_id(change: dict[str, Any]) -> None:
    assert parsed(VIEW | change)[0].id != parsed(VIEW)[0].id


@pytest.mark.parametrize("zero", [0, 0.0, -0.0])
def test_zeros_of_either_sign_are_one_event(zero: float) -> None:
    assert parsed(VIEW | {"value": zero, "timestamp": zero})[0].id == parsed(VIEW | {"value": 0, "timestamp": 0})[0].id


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"user_id": None}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "x" * 129}, "user_id"),
        ({"user_id": 7}, "user_id"),
        ({"type": ""}, "type"),
        ({"type": "x" * 65}, "type"),
        ({"item_id": ""}, "item_id"),
        ({"item_id": "x" * 129}, "item_id"),
        ({"event_id": ""}, "event_id"),
        ({"session_id": ["s"]}, "session_id"),
        ({"recommendation_id": ""}, "recommendation_id"),
        ({"value": "4"}, "value"),
        ({"value": True}, "value"),
        ({"value": float("nan")}, "value"),
        ({"value": float("-inf")}, "value"),
        ({"timestamp": float("nan")}, "timestamp"),
        ({"timestamp": -1}, "timestamp"),
        ({"timestamp": NOW + 86_401}, "timestamp"),
        ({"timestamp": NOW * 1000}, "timestamp"),
        ({"timestamp": 1e300}, "timestamp"),
        ({"timestamp": "2099-01-01T00:00:00Z"}, "timestamp"),
        ({"timestamp": "2026-11-24T09:30:00"}, "timestamp"),
        ({"timestamp": "2026-11-24"}, "timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+23:00"}, "timestamp"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": True}, "timestamp"),
        ({"timestamp": None}, "event_id"),
        ({"properties": []}, "properties"),
        ({"properties": {"x": float("nan")}}, "properties"),
        ({"properties": {"x": 2**70}}, "properties"),
        ({"properties": {"x": "y" * 5000}}, "properties"),
        ({"user": "ada"}, "user"),
        ({"float": 1}, "float"),
    ],
)
def test_a_refusal_names_the_field_and_its_place_in_the_list(change: dict[str, Any], field: str) -> None:
    assert refused(VIEW | change).field == field
    assert refused([VIEW, VIEW, VIEW, VIEW | change]).field == f"3.{field}"


def test_a_missing_field_is_named() -> None:
    assert refused({"type": "view", "timestamp": 1}).field == "user_id"
    assert refused([VIEW, {"user_id": "ada", "timestamp": 1}]).field == "1.type"


@pytest.mark.parametrize("wrong", [rb'"\ud800"', b'"\xff"'], ids=["a lone surrogate", "not UTF-8"])
@pytest.mark.parametrize("field", ["user_id", "item_id", "event_id", "type", "properties"])
def test_text_that_strict_json_lacks_is_named_by_its_field(field: str, wrong: bytes) -> None:
    value = b'{"x": ["y", %s]}' % wrong if field == "properties" else wrong
    body = b'{"timestamp": 1, "%s": %s}' % (field.encode(), value)
    assert refused(body).field == field
    assert refused(b"[%s, %s]" % (json.dumps(VIEW).encode(), body)).field == f"1.{field}"


@pytest.mark.parametrize("depth", [197, 198, 199, 200, 252, 254, 400])
def test_properties_nested_too_deep_are_named(depth: int) -> None:
    properties = b'{"x": %s%s}' % (b"[" * depth, b"]" * depth)
    body = b'{"user_id": "a", "type": "t", "timestamp": 1, "properties": %s}' % properties
    try:
        assert parse_events(body, NOW, 1)[0].properties
    except InvalidInput:
        assert refused(body).field == "properties"


def test_a_lone_surrogate_in_a_name_can_still_be_said() -> None:
    refusal = refused(b'{"user_id": "a", "type": "t", "timestamp": 1, "x\\ud800": 1}')
    assert refusal.field == "x\\ud800"
    str(refusal).encode()  # the answer can be sent
    assert refused(b'{"user_id": "a", "type": "t", "timestamp": 1, "properties": {"\\udfff": 1}}').field == "properties"


def test_a_name_of_any_length_is_said_briefly() -> None:
    assert len(refused(VIEW | {"k" * 10_000: 1}).field) < 140


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"7", b'"x"', b"[]", b"[" * 5000, b'{"user_id": }', b"\xff"])
def test_a_body_that_is_no_event_is_refused_whole(body: bytes) -> None:
    assert refused(body).field == ""


def test_an_entry_of_a_list_that_is_no_object_is_named_by_its_place() -> None:
    assert refused([VIEW, 7]).field == "1"


def test_a_list_over_the_limit_is_refused() -> None:
    assert "send 1 to 10 at a time" in refused([VIEW] * 11).problem


finite = st.floats(allow_nan=False, allow_infinity=False)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | finite
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ids, inner, max_size=3),
    max_leaves=8,
)
whole_events = st.builds(
    Event,
    ids.map(EventId),
    ids.map(UserId),
    st.none() | ids.map(ItemId),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64),
    st.none() | finite.map(lambda number: number + 0.0),
    st.floats(0, NOW).map(lambda number: number + 0.0),
    st.none() | ids,
    st.none() | ids,
    st.dictionaries(st.sampled_from("abc"), json_values, max_size=2),
)


@given(whole_events)
def test_what_is_encoded_parses_to_the_same_event(event: Event) -> None:
    encoded = encode_event(event)
    assert parse_record(encoded, NOW) == event
    assert parse_events(encoded, NOW, 1) == [event]


@given(st.lists(whole_events, min_size=1, max_size=4))
def test_a_list_of_encoded_events_parses_to_the_same_events(events: list[Event]) -> None:
    assert parse_events(b"[" + b",".join(map(encode_event, events)) + b"]", NOW, 4) == events


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    try:
        parse_events(body, NOW, 10)
    except InvalidInput as refusal:
        str(refusal).encode()


@given(json_values.filter(lambda value: value is not None and not isinstance(value, dict)))
def test_properties_that_are_no_object_are_named(value: Any) -> None:
    assert refused([VIEW | {"properties": value}]).field == "0.properties"


def test_an_erasure_names_the_user_by_digest_only() -> None:
    erasure = Erasure(user_digest(UserId("ada")), 12.5)
    encoded = encode_erasure(erasure)
    assert b"ada" not in encoded
    assert parse_record(encoded, NOW) == erasure
    assert user_digest(UserId("ada")) != user_digest(UserId("adb"))


@pytest.mark.parametrize(
    "body",
    [
        b'{"erased":"short","timestamp":1}',
        b'{"erased":"0123456789abcdef"}',
        b'{"erased":"0123456789abcdef","timestamp":-1}',
    ],
)
def test_a_broken_erasure_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_record(body, NOW)


def test_an_app_cannot_erase_through_the_events() -> None:
    assert refused({"erased": "0123456789abcdef", "timestamp": 1}).field in ("user_id", "erased")
