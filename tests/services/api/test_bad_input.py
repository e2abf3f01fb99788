"""Whatever is sent: a refusal names the field, nothing is half applied, and the server goes on."""

import http.client
from collections.abc import Iterator

import httpx
import orjson
import pytest

from streaming.log import Stream
from tests.services.conftest import NOW, Running, event

USER = "untouched"
LONE = "\\ud800"  # a lone surrogate as JSON writes it
RAW_LONE = b"\xed\xa0\x80"  # the same as bytes, which UTF-8 does not allow


@pytest.fixture(autouse=True)
def nothing_is_applied_and_the_server_goes_on(app: Running) -> Iterator[None]:
    streams = (Stream.EVENTS, Stream.ITEMS)
    heads = [app.appended(stream) for stream in streams]
    yield
    assert [app.appended(stream) for stream in streams] == heads
    assert app.client.get(f"/v1/users/{USER}").json()["events"] == 0
    assert app.client.get("/readyz").status_code == 200


def refused(response: httpx.Response, field: str) -> str:
    """Asserts that the answer is a refusal of this field; its detail."""
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "field"}
    assert (problem["type"], problem["title"], problem["status"]) == ("about:blank", "Invalid input", 422)
    assert problem["field"] == field, problem
    return problem["detail"]


def good(place: int = 0) -> dict[str, object]:
    return event(USER, f"item-{place}", NOW - place)


def with_text(name: str, text: str | bytes) -> bytes:
    """A good event whose field has this text, as it stands between the quotes of JSON."""
    body = orjson.dumps(good() | {name: "HERE"})
    return body.replace(b"HERE", text.encode() if isinstance(text, str) else text)


ROUTES = ["/v1/events", "/v1/items", "/v1/recommendations", "/v1/rank"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"{",
        b"[",
        b"{]",
        b"not json",
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":1}{"b":2}',
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_json_is_refused_as_a_whole(app: Running, route: str, body: bytes) -> None:
    refused(app.client.post(route, content=body), "")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("body", ["null", "1", '"text"', "true", "1e999"])
def test_what_is_no_object_is_refused_as_a_whole(app: Running, route: str, body: str) -> None:
    refused(app.client.post(route, content=body), "")


@pytest.mark.parametrize("route", ["/v1/recommendations", "/v1/rank"])
def test_a_list_where_one_object_is_expected_is_refused(app: Running, route: str) -> None:
    refused(app.client.post(route, content=b"[]"), "")


@pytest.mark.parametrize("route", ["/v1/events", "/v1/items"])
@pytest.mark.parametrize("element", ["null", "1", '"text"', "[]", "[{}]"])
def test_what_is_no_object_in_a_list_is_refused_by_its_place(app: Running, route: str, element: str) -> None:
    refused(app.client.post(route, content=f"[{element}]"), "0")


@pytest.mark.parametrize("route", ["/v1/events", "/v1/items"])
def test_a_list_is_not_empty_and_not_longer_than_the_most(app: Running, route: str) -> None:
    most = app.serving.settings.batch_most
    assert f"1 to {most}" in refused(app.client.post(route, json=[]), "")
    body = [good(place) if route == "/v1/events" else {"item_id": f"item-{place}"} for place in range(most + 1)]
    detail = refused(app.client.post(route, json=body), "")
    assert str(most + 1) in detail
    assert f"1 to {most}" in detail


EVENT_FIELDS: list[tuple[str, object]] = [
    ("user_id", ""),
    ("user_id", None),
    ("user_id", 7),
    ("user_id", "u" * 129),
    ("user_id", ["u"]),
    ("item_id", ""),
    ("item_id", 7),
    ("item_id", "i" * 129),
    ("event_id", ""),
    ("event_id", "e" * 129),
    ("event_id", 1.5),
    ("type", ""),
    ("type", None),
    ("type", "t" * 65),
    ("type", True),
    ("value", "4"),
    ("value", True),
    ("value", [4]),
    ("timestamp", NOW + 86_401),
    ("timestamp", NOW * 1000),
    ("timestamp", -1),
    ("timestamp", "2026-11-24T09:30:00"),
    ("timestamp", "2026-11-24"),
    ("timestamp", "yesterday"),
    ("timestamp", ""),
    ("timestamp", "9999-12-31T23:59:59Z"),
    ("timestamp", "1969-12-31T23:59:59Z"),
    ("timestamp", True),
    ("timestamp", {"seconds": 1}),
    ("session_id", ""),
    ("session_id", "s" * 129),
    ("recommendation_id", 7),
    ("properties", []),
    ("properties", "text"),
    ("properties", {"text": "x" * 4096}),
    ("userid", "misspelt"),
    ("", "no name"),
]


@pytest.mark.parametrize(("field", "value"), EVENT_FIELDS)
def test_a_wrong_field_of_an_event_is_named_alone_and_by_its_place_in_a_list(
    app: Running, field: str, value: object
) -> None:
    bad = good() | {field: value}
    refused(app.client.post("/v1/events", json=bad), field)
    refused(app.client.post("/v1/events", json=[good(1), bad, good(2)]), f"1.{field}")


@pytest.mark.parametrize("field", ["user_id", "type"])
def test_a_field_that_is_required_is_missed(app: Running, field: str) -> None:
    bad = {name: value for name, value in good().items() if name != field}
    refused(app.client.post("/v1/events", json=bad), field)
    refused(app.client.post("/v1/events", json=[good(1), good(2), bad]), f"2.{field}")


def test_an_event_with_neither_id_nor_time_is_refused(app: Running) -> None:
    bad = {"user_id": USER, "type": "view"}
    assert "timestamp" in refused(app.client.post("/v1/events", json=bad), "event_id")
    refused(app.client.post("/v1/events", json=[good(1), bad]), "1.event_id")


ITEM_FIELDS: list[tuple[str, object]] = [
    ("item_id", ""),
    ("item_id", None),
    ("item_id", "i" * 129),
    ("title", 7),
    ("title", "t" * 1025),
    ("text", "t" * 16_385),
    ("categories", "love"),
    ("categories", [f"c{number}" for number in range(65)]),
    ("attributes", []),
    ("attributes", {"text": "x" * 4096}),
    ("hidden", "yes"),
    ("hidden", 1),
    ("timestamp", "2026-11-24T09:30:00"),
    ("timestamp", NOW * 1000),
    ("timestamp", -1),
    ("name", "misspelt"),
]


@pytest.mark.parametrize(("field", "value"), ITEM_FIELDS)
def test_a_wrong_field_of_an_item_is_named_alone_and_by_its_place_in_a_list(
    app: Running, field: str, value: object
) -> None:
    bad = {"item_id": "item-bad"} | {field: value}
    refused(app.client.post("/v1/items", json=bad), field)
    refused(app.client.post("/v1/items", json=[{"item_id": "item-1"}, bad]), f"1.{field}")
    assert app.client.get("/v1/items/item-1").status_code == 404


@pytest.mark.parametrize("category", ["", 7, None, "c" * 129])
def test_a_wrong_category_is_named_by_its_place(app: Running, category: object) -> None:
    body = [{"item_id": "item-1", "categories": ["love", category]}]
    refused(app.client.post("/v1/items", json=body), "0.categories.1")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("field", ["value", "timestamp"])
def test_numbers_that_are_none_are_refused(app: Running, field: str, number: str) -> None:
    body = orjson.dumps(good() | {field: "HERE"}).replace(b'"HERE"', number.encode())
    refused(app.client.post("/v1/events", content=body), field)
    refused(app.client.post("/v1/events", content=b"[" + body + b"]"), f"0.{field}")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "123456789012345678901234567890"])
def test_numbers_that_are_none_are_refused_in_properties_and_attributes(app: Running, number: str) -> None:
    body = orjson.dumps(good() | {"properties": {"deep": [{"n": "HERE"}]}}).replace(b'"HERE"', number.encode())
    refused(app.client.post("/v1/events", content=body), "properties")
    refused(app.client.post("/v1/events", content=b"[" + body + b"]"), "0.properties")
    refused(
        app.client.post("/v1/items", content=b'{"item_id":"i","attributes":{"n":%b}}' % number.encode()), "attributes"
    )


@pytest.mark.parametrize(
    "text", [LONE, "before" + LONE + "after", "\\udfff", RAW_LONE, b"\xff", b"\xc3", b"\xf8\x88\x80\x80\x80"]
)
@pytest.mark.parametrize(
    "field", ["user_id", "item_id", "event_id", "type", "session_id", "recommendation_id", "timestamp"]
)
def test_lone_surrogates_and_bytes_that_are_no_text_are_refused_by_their_field(
    app: Running, field: str, text: str | bytes
) -> None:
    body = with_text(field, text)
    refused(app.client.post("/v1/events", content=body), field)
    refused(app.client.post("/v1/events", content=b"[%b,%b]" % (orjson.dumps(good(1)), body)), f"1.{field}")


@pytest.mark.parametrize("text", [LONE.encode(), RAW_LONE, b"\xff"])
@pytest.mark.parametrize("properties", [b'{"a":"HERE"}', b'{"HERE":1}', b'{"a":{"b":[1,{"HERE":2}]}}'])
def test_lone_surrogates_in_properties_and_their_keys_are_refused(app: Running, properties: bytes, text: bytes) -> None:
    body = orjson.dumps(good() | {"properties": "HERE"}).replace(b'"HERE"', properties.replace(b"HERE", text))
    refused(app.client.post("/v1/events", content=body), "properties")
    refused(app.client.post("/v1/events", content=b"[" + body + b"]"), "0.properties")


@pytest.mark.parametrize("text", [LONE.encode(), RAW_LONE])
def test_a_field_whose_name_is_no_text_is_refused_and_the_answer_is_json(app: Running, text: bytes) -> None:
    response = app.client.post("/v1/events", content=orjson.dumps(good())[:-1] + b',"%b":1}' % text)
    assert response.status_code == 422
    assert response.json()["field"].startswith("\\ud")


def test_the_name_of_an_unknown_field_is_cut_where_it_is_long(app: Running) -> None:
    response = app.client.post("/v1/events", json=good() | {"x" * 10_000: 1})
    assert response.status_code == 422
    assert len(response.content) < 1000


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("opening", [b"[", b'{"properties":', b'{"user_id":['])
def test_nesting_without_end_is_refused(app: Running, route: str, opening: bytes) -> None:
    assert app.client.post(route, content=opening * 4000).status_code == 422


@pytest.mark.parametrize("depth", [300, 900])
def test_properties_that_are_nested_too_deep_are_refused_by_their_field(app: Running, depth: int) -> None:
    body = orjson.dumps(good() | {"properties": "HERE"}).replace(b'"HERE"', b'{"a":' * depth + b"1" + b"}" * depth)
    refused(app.client.post("/v1/events", content=body), "properties")
    refused(app.client.post("/v1/events", content=b"[" + body + b"]"), "0.properties")


def test_properties_that_no_parser_follows_are_refused(app: Running) -> None:
    body = orjson.dumps(good() | {"properties": "HERE"}).replace(b'"HERE"', b"[" * 20_000 + b"]" * 20_000)
    assert app.client.post("/v1/events", content=body).status_code == 422


def test_a_body_over_the_limit_is_refused_before_it_is_read(app: Running) -> None:
    most = app.serving.settings.body_bytes
    connection = http.client.HTTPConnection(app.client.base_url.host, app.client.base_url.port, timeout=10)
    connection.putrequest("POST", "/v1/events")
    connection.putheader("Content-Length", str(most + 1))
    connection.endheaders()  # and no body: the answer comes all the same
    response = connection.getresponse()
    problem = orjson.loads(response.read())
    connection.close()
    assert (response.status, problem["field"]) == (422, "body")
    assert str(most) in problem["detail"]
    assert "TASTEPRINT_BODY_BYTES" in problem["detail"]


@pytest.mark.parametrize("route", ROUTES)
def test_a_body_over_the_limit_is_refused_without_an_announced_length_too(app: Running, route: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(5):
            yield b" " * (app.serving.settings.body_bytes // 4)

    refused(app.client.post(route, content=chunks()), "body")


def test_a_body_of_the_limit_is_read(app: Running) -> None:
    body = b"{}".ljust(app.serving.settings.body_bytes)
    refused(app.client.post("/v1/events", content=body), "user_id")


RECOMMENDATIONS: list[tuple[dict[str, object], str]] = [
    ({}, "users"),
    ({"users": ["a"], "events": []}, "users"),
    ({"users": []}, "users"),
    ({"users": "a"}, "users"),
    ({"users": ["a", ""]}, "users.1"),
    ({"users": ["a", "u" * 129]}, "users.1"),
    ({"users": ["u"] * 51}, "users"),
    ({"users": ["a"], "k": 0}, "k"),
    ({"users": ["a"], "k": 101}, "k"),
    ({"users": ["a"], "k": "x"}, "k"),
    ({"users": ["a"], "k": 1.5}, "k"),
    ({"users": ["a"], "k": None}, "k"),
    ({"users": ["a"], "exclude": ["i", ""]}, "exclude.1"),
    ({"users": ["a"], "exclude": ["i"] * 1001}, "exclude"),
    ({"users": ["a"], "categories": "love"}, "categories"),
    ({"users": ["a"], "categories": ["c"] * 65}, "categories"),
    ({"users": ["a"], "user": "b"}, "user"),
    ({"events": {}}, "events"),
    ({"events": [{}]}, "events.0.item_id"),
    ({"events": [{"item_id": "i"}, {"item_id": ""}]}, "events.1.item_id"),
    ({"events": [{"item_id": "i", "timestamp": NOW * 1000}]}, "events.0.timestamp"),
    ({"events": [{"item_id": "i", "timestamp": -1}]}, "events.0.timestamp"),
    ({"events": [{"item_id": "i", "timestamp": "2026-11-24T09:30:00"}]}, "events.0.timestamp"),
    ({"events": [{"item_id": "i", "type": ""}]}, "events.0.type"),
    ({"events": [{"item_id": "i", "rating": 5}]}, "events.0.rating"),
    ({"events": [{"item_id": "i"}] * 1001}, "events"),
]


@pytest.mark.parametrize(("body", "field"), RECOMMENDATIONS)
def test_a_wrong_field_of_a_request_for_recommendations_is_named(
    app: Running, body: dict[str, object], field: str
) -> None:
    refused(app.client.post("/v1/recommendations", json=body), field)


RANKINGS: list[tuple[dict[str, object], str]] = [
    ({"items": ["i"]}, "user_id"),
    ({"user_id": "", "items": ["i"]}, "user_id"),
    ({"user_id": "u"}, "items"),
    ({"user_id": "u", "items": []}, "items"),
    ({"user_id": "u", "items": ["i", 7]}, "items.1"),
    ({"user_id": "u", "items": ["i"] * 1001}, "items"),
    ({"user_id": "u", "items": ["i"], "k": 3}, "k"),
]


@pytest.mark.parametrize(("body", "field"), RANKINGS)
def test_a_wrong_field_of_a_request_to_rank_is_named(app: Running, body: dict[str, object], field: str) -> None:
    refused(app.client.post("/v1/rank", json=body), field)


PARAMETERS = [
    ("/v1/users/u/recommendations?k=0", "k"),
    ("/v1/users/u/recommendations?k=101", "k"),
    ("/v1/users/u/recommendations?k=-1", "k"),
    ("/v1/users/u/recommendations?k=ten", "k"),
    ("/v1/users/u/recommendations?k=", "k"),
    ("/v1/users/u/recommendations?k=1e1", "k"),
    ("/v1/users/u/recommendations?k=" + "9" * 5000, "k"),
    ("/v1/users/u/recommendations?removed=perhaps", "removed"),
    ("/v1/users/u/recommendations?exclude=", "exclude.0"),
    ("/v1/users/u/recommendations?category=a&category=" + "c" * 129, "category.1"),
    ("/v1/users/u/history?limit=0", "limit"),
    ("/v1/users/u/history?limit=501", "limit"),
    ("/v1/users/u/history?cursor=", "cursor"),
    ("/v1/users/u/history?cursor=x", "cursor"),
    ("/v1/users/u/history?cursor=:", "cursor"),
    ("/v1/users/u/history?cursor=x:1", "cursor"),
    ("/v1/users/u/history?cursor=nan:x", "cursor"),
    ("/v1/users/u/history?cursor=inf:x", "cursor"),
    ("/v1/users/u/history?cursor=12", "cursor"),
    ("/v1/users/u/history?cursor=%00", "cursor"),
    ("/v1/items/i/similar?k=0", "k"),
    ("/v1/items/i/similar?k=101", "k"),
    ("/v1/users/", "user_id"),
    ("/v1/users/" + "u" * 129, "user_id"),
    ("/v1/users//recommendations", "user_id"),
    ("/v1/users/" + "u" * 129 + "/history", "user_id"),
    ("/v1/items/", "item_id"),
    ("/v1/items/" + "i" * 129, "item_id"),
    ("/v1/items/" + "i" * 129 + "/similar", "item_id"),
]


@pytest.mark.parametrize(("path", "field"), PARAMETERS)
def test_a_wrong_parameter_is_named(app: Running, path: str, field: str) -> None:
    refused(app.client.get(path), field)


@pytest.mark.parametrize("escape", ["%FF", "a%ED%A0%80b", "%C3", "%F8%88%80%80%80"])
@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/users/{}", "user_id"),
        ("/v1/users/{}/history", "user_id"),
        ("/v1/users/{}/recommendations", "user_id"),
        ("/v1/items/{}", "item_id"),
        ("/v1/items/{}/similar", "item_id"),
    ],
)
def test_a_path_that_is_no_text_is_refused(app: Running, path: str, field: str, escape: str) -> None:
    refused(app.client.get(path.format(escape)), field)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/users/bob%2Fhistory", "user_id"),
        ("/v1/users/bob%2frecommendations", "user_id"),
        ("/v1/items/alien%2Fsimilar", "item_id"),
    ],
)
def test_an_escaped_slash_does_not_make_an_id_into_a_route(app: Running, path: str, field: str) -> None:
    refused(app.client.get(path), field)


def test_other_escaped_slashes_belong_to_the_id(app: Running) -> None:
    assert app.client.get("/v1/users/a%2Fb/history").json()["user_id"] == "a/b"


def test_forgetting_a_path_that_is_no_text_is_refused_and_forgets_nobody(app: Running) -> None:
    # Read with replacement characters it would be somebody else's id.
    refused(app.client.delete("/v1/users/%FF"), "user_id")


def test_a_user_without_a_name_cannot_be_forgotten(app: Running) -> None:
    refused(app.client.delete("/v1/users/"), "user_id")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/", 404), ("PUT", "/v1/events", 405), ("GET", "/v1/rank", 405)],
)
def test_other_paths_and_methods_are_problems_too(app: Running, method: str, path: str, status: int) -> None:
    response = app.client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status


def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(app: Running) -> None:
    assert app.client.put("/v1/events").headers["allow"] == "POST"
