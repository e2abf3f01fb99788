"""What still works when something does not."""

import os
import signal
from collections.abc import Iterator

import pytest

from features.embedded import EmbeddedServer
from services.settings import Settings
from streaming.log import Stream
from tests.services.conftest import NOW, Running, event, running, wait_until


@pytest.fixture(scope="module")
def orphan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An application that knows a little, and whose profile store has been killed."""
    with running(Settings(home=tmp_path_factory.mktemp("orphan")), patient=False) as app:
        app.put([{"item_id": item, "title": item.title()} for item in ("alien", "brazil")])
        app.send([event("ann", "alien", NOW - 9), event("bob", "alien", NOW - 8), event("bob", "brazil", NOW - 7)])
        wait_until(lambda: len(app.client.get("/v1/users/nobody/recommendations").json()["items"]) == 2)
        wait_until(lambda: app.client.get("/v1/users/x/recommendations").json()["items"][0]["source"] == "popular")
        os.kill(int((app.home / "valkey" / "server.pid").read_text()), signal.SIGKILL)
        wait_until(lambda: app.client.get("/readyz").status_code == 503)
        yield app


def test_recommendations_are_answered_without_the_store_and_say_so(orphan: Running) -> None:
    response = orphan.client.get("/v1/users/ann/recommendations")
    assert response.status_code == 200
    answer = response.json()
    assert [item["item_id"] for item in answer["items"]] == ["alien", "brazil"]  # she has seen one: nobody can tell
    assert answer["as_of"] is None
    [problem] = answer["degraded"]
    assert problem.startswith("answered without the user's history: the profile store")


def test_every_answer_of_a_batch_says_so(orphan: Running) -> None:
    answers = orphan.client.post("/v1/recommendations", json={"users": ["ann", "bob"]}).json()["recommendations"]
    assert [len(answer["degraded"]) for answer in answers] == [1, 1]


def test_somebody_unknown_needs_no_store(orphan: Running) -> None:
    body = {"events": [{"item_id": "alien"}]}
    [answer] = orphan.client.post("/v1/recommendations", json=body).json()["recommendations"]
    assert answer["degraded"] == []
    assert [item["item_id"] for item in answer["items"]] == ["brazil"]


def test_ranking_is_answered_without_the_store_and_says_so(orphan: Running) -> None:
    answer = orphan.client.post("/v1/rank", json={"user_id": "ann", "items": ["brazil", "alien"]}).json()
    assert [item["item_id"] for item in answer["items"]] == ["alien", "brazil"]
    assert len(answer["degraded"]) == 1


def test_the_process_is_alive_and_not_ready(orphan: Running) -> None:
    assert orphan.client.get("/livez").status_code == 200
    response = orphan.client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["status"] == "not ready"
    assert "the profile store does not answer" in response.json()["problems"][0]


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/history"), ("DELETE", "")])
def test_what_needs_the_store_is_not_available_for_now(orphan: Running, method: str, path: str) -> None:
    response = orphan.client.request(method, f"/v1/users/ann{path}")
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "1"
    assert "the profile store does not answer" in response.json()["detail"]


def test_degraded_answers_are_counted(orphan: Running) -> None:
    def count() -> float:
        [line] = [
            line
            for line in orphan.client.get("/metrics").text.splitlines()
            if line.startswith("tasteprint_degraded_total ")
        ]
        return float(line.split()[1])

    before = count()
    orphan.client.post("/v1/recommendations", json={"users": ["ann", "bob"]})
    assert count() == before + 2


def test_what_is_accepted_without_the_store_is_applied_when_it_is_back(orphan: Running) -> None:
    response = orphan.client.post("/v1/events", json=[event("cem", "alien", NOW - 5), event("ann", "brazil", NOW - 4)])
    assert response.status_code == 202
    assert len(orphan.records(Stream.EVENTS)) == 5
    with EmbeddedServer(orphan.home):
        wait_until(lambda: orphan.client.get("/readyz").status_code == 200)
        orphan.applied(["cem", "ann"], response.json()["positions"])
        assert orphan.client.get("/v1/users/cem").json()["events"] == 1
        assert orphan.client.get("/v1/users/ann").json()["events"] == 2  # what was there before is there too
        wait_until(lambda: not orphan.client.get("/v1/users/ann/recommendations").json()["degraded"])
        assert orphan.client.get("/v1/users/ann/recommendations").json()["items"] == []
