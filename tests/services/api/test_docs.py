"""The documentation: every route is in it, and what it shows works."""

from collections.abc import Iterator

import pytest

from services.settings import Settings
from tests.services.conftest import Running, running

ROUTES = {
    ("post", "/v1/events"),
    ("post", "/v1/items"),
    ("get", "/v1/items/{item_id}"),
    ("get", "/v1/items/{item_id}/similar"),
    ("get", "/v1/users/{user_id}"),
    ("delete", "/v1/users/{user_id}"),
    ("get", "/v1/users/{user_id}/history"),
    ("get", "/v1/users/{user_id}/recommendations"),
    ("get", "/v1/users/{user_id}/soft-prompt"),
    ("delete", "/v1/users/{user_id}/update"),
    ("get", "/v1/users/{user_id}/summary"),
    ("patch", "/v1/users/{user_id}/summary"),
    ("post", "/v1/recommendations"),
    ("post", "/v1/rank"),
    ("get", "/v1/models"),
    ("get", "/livez"),
    ("get", "/readyz"),
    ("get", "/metrics"),
}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An application that knows nothing, for what the documentation would have us try."""
    with running(Settings(home=tmp_path_factory.mktemp("empty"))) as started:
        yield started


def operations(app: Running) -> dict[tuple[str, str], dict[str, object]]:
    paths = app.client.get("/openapi.json").json()["paths"]
    return {
        (method, path.replace(":path}", "}")): operation
        for path, methods in paths.items()
        for method, operation in methods.items()
    }


def body_of(operation: dict[str, object]) -> dict[str, object]:
    return operation["requestBody"]["content"]["application/json"]


def test_every_route_is_documented_with_a_summary_and_a_description(app: Running) -> None:
    found = operations(app)
    assert set(found) >= ROUTES
    for route, operation in found.items():
        assert operation["summary"], route
        assert len(operation["description"]) > 10, route
        assert operation["tags"], route


def test_every_field_of_a_body_is_described_by_a_schema(app: Running) -> None:
    schema = body_of(operations(app)["post", "/v1/events"])["schema"]
    one, many = schema["oneOf"]
    assert many == {"type": "array", "items": one}
    assert set(one["required"]) == {"user_id", "type"}
    assert one["additionalProperties"] is False
    assert "$ref" not in str(schema)


@pytest.mark.parametrize("route", sorted(path for method, path in ROUTES if method == "post"))
def test_the_example_of_a_body_is_accepted_when_it_is_sent(empty: Running, route: str) -> None:
    example = body_of(operations(empty)["post", route])["example"]
    response = empty.client.post(route, json=example)
    assert response.status_code in {200, 202}, response.text


def test_an_example_event_can_be_sent_alone_and_in_a_list(empty: Running) -> None:
    example = body_of(operations(empty)["post", "/v1/events"])["example"]
    assert empty.send(example)["event_ids"] == empty.send([example])["event_ids"]


def test_the_documentation_opens_in_a_browser(app: Running) -> None:
    page = app.client.get("/docs")
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    assert "/openapi.json" in page.text
