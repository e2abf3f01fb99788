"""A server's parts together: what it knows at the start, and that several processes share one home."""

import json
from pathlib import Path

import pytest

from features.errors import LogUnavailable
from services.serving import Serving
from services.settings import Settings
from services.wiring import backends
from streaming.log import Stream
from tests.services.conftest import NOW, Running, event, running, wait_until


def names(app: Running, user: str = "nobody") -> list[str]:
    return [item["item_id"] for item in app.client.get(f"/v1/users/{user}/recommendations").json()["items"]]


def test_a_server_that_starts_again_knows_what_it_knew(own_home: Path) -> None:
    settings = Settings(home=own_home)
    with running(settings) as app:
        app.put([{"item_id": "alien", "title": "Alien"}, {"item_id": "brazil", "hidden": True}])
        app.send([event("ann", "alien", NOW - 2), event("ann", "brazil", NOW - 1)])
        before = app.client.get("/v1/users/ann").json()
    with running(settings) as app:
        assert app.client.get("/v1/users/ann").json() == before
        assert app.client.get("/v1/items/alien").json()["title"] == "Alien"
        wait_until(lambda: names(app) == ["alien"])


def test_servers_of_one_home_see_each_others_items_and_events(own_home: Path) -> None:
    settings = Settings(home=own_home)
    with running(settings) as first, running(settings, ingest=False) as second:
        second.client.post("/v1/items", json={"item_id": "alien", "title": "Alien"})
        wait_until(lambda: first.client.get("/v1/items/alien").status_code == 200)
        second.send(event("ann", "alien", NOW))
        assert first.client.get("/v1/users/ann").json() == second.client.get("/v1/users/ann").json()
        first.client.post("/v1/items", json={"item_id": "alien", "hidden": True, "timestamp": NOW + 1})
        wait_until(lambda: names(second) == [])


def test_a_second_ingest_of_one_home_is_refused_and_the_first_goes_on(own_home: Path) -> None:
    settings = Settings(home=own_home)
    with running(settings) as app:
        with (
            backends(settings) as opened,
            pytest.raises(LogUnavailable, match="stop the other process"),
            Serving(settings, opened, lambda: NOW, ingest=True),
        ):
            pass
        app.send(event("ann", "alien", NOW))
        assert app.client.get("/v1/users/ann").json()["events"] == 1


def test_only_the_newest_events_count_as_popular_at_the_start(own_home: Path) -> None:
    settings = Settings(home=own_home, trend_events=2, log_partitions=1)
    with running(settings) as app:
        app.send([event(f"u{number}", "old", NOW - 9) for number in range(5)])
        app.send([event("ann", "new", NOW), event("bob", "new", NOW)])
    with running(settings) as app:
        wait_until(lambda: names(app) == ["new"])


def test_how_far_the_items_were_applied_says_nothing_of_the_events(own_home: Path) -> None:
    settings = Settings(home=own_home, log_partitions=1)
    with running(settings) as app:
        app.put([{"item_id": f"i{number}"} for number in range(5)])
        wait_until(lambda: len(list(app.backends.patient.items())) == 5)
    with backends(settings) as opened:  # events that waited for longer than the overlap with which ingest goes on
        values = [json.dumps(event("ann", f"i{number}", NOW)).encode() for number in range(3)]
        opened.log.append(Stream.EVENTS, [("ann", value) for value in values], NOW - 1000)
    with running(settings) as app:
        app.send(event("bob", "i0", NOW))
        assert app.client.get("/v1/users/ann").json()["events"] == 3


def test_what_a_server_does_not_ingest_waits_in_the_log(own_home: Path) -> None:
    settings = Settings(home=own_home)
    with running(settings, ingest=False) as app:
        assert app.client.post("/v1/events", json=event("ann", "alien", NOW)).status_code == 202
        assert app.client.get("/v1/users/ann").json()["events"] == 0
        assert app.appended(Stream.EVENTS) == 1
    with running(settings) as app:
        wait_until(lambda: app.client.get("/v1/users/ann").json()["events"] == 1)
