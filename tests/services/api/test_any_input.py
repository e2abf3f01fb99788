"""Arbitrary bytes and arbitrary JSON, to every route that takes a body."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.settings import Settings
from tests.services.conftest import NOW, Running, running

GOOD = {
    "/v1/events": {
        "user_id": "u",
        "item_id": "i",
        "type": "view",
        "value": 1.5,
        "timestamp": NOW,
        "properties": {"a": 1},
    },
    "/v1/items": {"item_id": "i", "title": "t", "categories": ["c"], "attributes": {"a": 1}, "hidden": False},
    "/v1/recommendations": {"events": [{"item_id": "i", "timestamp": NOW}], "k": 3, "exclude": ["j"]},
    "/v1/rank": {"user_id": "u", "items": ["i", "j"]},
    "/v1/users/u/prompt": {"task": "tagging", "input": "t", "choices": ["a", "b"], "k": 1, "layout": "structured"},
}

TEXT = st.text(st.characters(), max_size=6)  # lone surrogates too
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def battered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """What is accepted here by accident is nobody's."""
    home: Path = tmp_path_factory.mktemp("battered")
    with running(Settings(home=home)) as started:
        yield started


@st.composite
def bodies(draw: st.DrawFn, route: str) -> bytes:
    """Bytes; JSON; a good body with one value replaced, taken away or added, or with a few of its bytes changed."""
    kind = draw(st.sampled_from(["bytes", "json", "one value", "broken bytes"]))
    if kind == "bytes":
        return draw(st.binary(max_size=100))
    if kind == "json":
        return json.dumps(draw(VALUES)).encode()
    good = dict(GOOD[route])
    if kind == "one value":
        good[draw(st.sampled_from([*good, "event_id", "other"]) | TEXT)] = draw(VALUES)
        return json.dumps(draw(st.sampled_from([good, [good], [GOOD[route], good]]))).encode()
    broken = bytearray(json.dumps(good).encode())
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(broken) - 1))
        broken[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(broken)


@pytest.mark.parametrize("route", list(GOOD))
def test_the_good_bodies_are_good(battered: Running, route: str) -> None:
    assert battered.client.post(route, json=GOOD[route]).status_code in {200, 202}


@pytest.mark.parametrize("route", list(GOOD))
@given(data=st.data())
@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_posted_is_accepted_or_refused_by_name(battered: Running, route: str, data: st.DataObject) -> None:
    response = battered.client.post(route, content=data.draw(bodies(route)))
    if response.status_code == 422:
        assert isinstance(response.json()["field"], str)
    else:
        assert response.status_code in {200, 202}, response.text


def test_the_server_still_works_afterwards(battered: Running) -> None:
    assert battered.client.get("/readyz").status_code == 200
    battered.send({"user_id": "afterwards", "item_id": "i", "type": "view", "timestamp": NOW})
    assert battered.client.get("/v1/users/afterwards").json()["events"] == 1
    assert battered.backends.dead_letters.count() == 0  # what the door accepts the ingest can apply
