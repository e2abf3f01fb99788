"""Workers: their metrics and whether they live, over HTTP."""

import os
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from features.embedded import EmbeddedServer
from features.errors import CannotListen
from services.metrics import Metrics
from services.observing import observed
from services.settings import Settings
from streaming.ingest import Applied
from streaming.log import Stream
from tests.services.test_running import SCRIPT, free_port

START_SECONDS = 120.0  # of a process: never reached unless something is wrong


def test_metrics_are_those_of_the_process(own_home: Path) -> None:
    metrics = Metrics()
    with observed(Settings(home=own_home, metrics_port=0), metrics) as port:
        metrics.applied(Applied(Stream.EVENTS, 5, 1, 1000.0))
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'tasteprint_ingested_records_total{stream="events"} 5.0' in answer.text


def test_a_worker_with_a_thread_that_has_stopped_does_not_live(own_home: Path) -> None:
    problems: list[str] = []
    with observed(Settings(home=own_home, metrics_port=0), Metrics(), lambda: problems) as port:
        alive = httpx.get(f"http://127.0.0.1:{port}/livez")
        problems.append("ingest of events has stopped: no disk")
        dead = httpx.get(f"http://127.0.0.1:{port}/livez")
    assert (alive.status_code, alive.json()) == (200, {"status": "ok", "problems": []})
    assert (dead.status_code, dead.json()["problems"]) == (503, problems)


def test_there_is_nothing_else(own_home: Path) -> None:
    with observed(Settings(home=own_home, metrics_port=0), Metrics()) as port:
        assert httpx.get(f"http://127.0.0.1:{port}/v1/users/u1").status_code == 404
        assert httpx.post(f"http://127.0.0.1:{port}/metrics").status_code == 501


def test_nothing_listens_where_no_port_is_set_and_none_after_the_block(own_home: Path) -> None:
    with observed(Settings(home=own_home), Metrics()) as port:
        assert port is None
    with observed(Settings(home=own_home, metrics_port=0), Metrics()) as port:
        assert port
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/livez")


def test_a_port_in_use_is_named(own_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(home=own_home, metrics_port=port)
        with pytest.raises(CannotListen, match=str(port)), observed(settings, Metrics()):
            pass


@pytest.mark.parametrize("command", [["ingest"], ["encode", "--follow"]])
def test_a_worker_shows_itself(own_home: Path, command: list[str]) -> None:
    port = free_port()
    environment = os.environ | {"TASTEPRINT_HOME": str(own_home), "TASTEPRINT_METRICS_PORT": str(port)}
    with subprocess.Popen([SCRIPT, *command], env=environment, stderr=subprocess.PIPE) as worker:
        try:
            deadline = time.monotonic() + START_SECONDS
            while worker.poll() is None and not lives(port) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert worker.poll() is None, worker.communicate()[1].decode()
            assert "tasteprint_dead_letters_total" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
        finally:
            worker.kill()
            worker.communicate()
            with EmbeddedServer(own_home):
                pass  # the last one to leave stops it


def lives(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/livez").status_code == 200
    except httpx.TransportError:
        return False
