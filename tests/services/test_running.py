"""`tasteprint up` as a process: starting, draining at SIGTERM, and losing nothing at SIGKILL."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Event as Signal
from threading import Thread

import httpx
import orjson

from features.embedded import EmbeddedServer
from services.settings import Settings
from streaming.log import Stream
from tests.services.conftest import Running, running, wait_until

SCRIPT = Path(sys.executable).with_name("tasteprint")
CLIENTS = 4
PER_USER = 100  # fewer than a history keeps


@dataclass(frozen=True, slots=True)
class Up:
    process: subprocess.Popen[bytes]
    client: httpx.Client


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def command(home: Path, port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [SCRIPT, "up", "--port", str(port)],
        env=os.environ | {"TASTEPRINT_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@contextmanager
def up(home: Path) -> Iterator[Up]:
    """A server that is ready; killed at the end when it still runs."""
    port = free_port()
    process = command(home, port)
    with process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30.0) as client:
        try:
            wait_until(lambda: process.poll() is not None or is_ready(client))
            assert process.poll() is None, process.stderr.read().decode()
            yield Up(process, client)
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()
            with EmbeddedServer(home):
                pass  # the last one to leave stops it, also when the server was killed


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def posting(client: httpx.Client) -> Iterator[list[tuple[str, str]]]:
    """While it lasts, clients post one event after the other; the (user, event id) of each that was accepted."""
    accepted: list[tuple[str, str]] = []
    stop = Signal()

    def post(name: int) -> None:
        with httpx.Client(base_url=client.base_url, timeout=30.0) as own:
            for number in count():
                user, event = f"u{name}-{number // PER_USER}", f"e{name}-{number}"
                body = {"event_id": event, "user_id": user, "item_id": "alien", "type": "view"}
                try:
                    if stop.is_set() or own.post("/v1/events", json=body).status_code != 202:
                        return
                except httpx.TransportError:
                    return
                accepted.append((user, event))

    threads = [Thread(target=post, args=(name,)) for name in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(accepted) > 20)
        yield accepted
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def assert_all_applied(app: Running, accepted: list[tuple[str, str]]) -> None:
    """Every accepted event stands in its user's history, once."""
    wait_until(lambda: len(stored(app, {user for user, _ in accepted})) >= len(accepted))
    found = stored(app, {user for user, _ in accepted})
    assert len(found) == len(set(found))
    assert set(accepted) <= set(found)


def stored(app: Running, users: set[str]) -> list[tuple[str, str]]:
    return [
        (user, event["event_id"])
        for user in users
        for event in app.client.get(f"/v1/users/{user}/history?limit=500").json()["events"]
    ]


def store_runs(home: Path) -> bool:
    """The embedded server takes its pid file with it when it is stopped."""
    return (home / "valkey" / "server.pid").exists()


def test_a_server_answers_and_another_on_its_home_or_its_port_is_refused(own_home: Path, tmp_path: Path) -> None:
    with up(own_home) as server:
        port = server.client.base_url.port
        same_home, same_port = command(own_home, free_port()), command(tmp_path / "elsewhere", port)
        assert server.client.get("/v1/users/nobody/recommendations").json()["items"] == []
        for refused, said in ((same_home, "stop the other process"), (same_port, "choose another with --port")):
            out, err = refused.communicate(timeout=30)
            assert (refused.returncode, out) == (1, b"")
            assert err.decode().splitlines()[-1].startswith("tasteprint: ")
            assert said in err.decode()
            assert b"Traceback" not in err
        assert is_ready(server.client)
        assert store_runs(own_home)  # the refused one was attached to the store, and left it running


def test_at_sigterm_what_came_in_is_answered_and_applied_and_the_process_ends_with_0(own_home: Path) -> None:
    with up(own_home) as server:
        # A request that is half sent when the signal comes.
        body = orjson.dumps({"event_id": "half", "user_id": "slow", "item_id": "alien", "type": "view"})
        slow = http.client.HTTPConnection(server.client.base_url.host, server.client.base_url.port)
        slow.putrequest("POST", "/v1/events")
        slow.putheader("Content-Length", str(len(body)))
        slow.endheaders(body[:10])
        server.client.get("/v1/users/slow/recommendations")
        with posting(server.client) as accepted:
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not is_ready(server.client))
        time.sleep(0.5)  # longer than the moment that everybody is given: this one is waited for
        slow.send(body[10:])
        response = slow.getresponse()
        assert (response.status, orjson.loads(response.read())["accepted"]) == (202, 1)
        slow.close()
        _, err = server.process.communicate(timeout=30)
        assert server.process.returncode == 0, err.decode()
        assert b"Traceback" not in err
        assert not store_runs(own_home)  # the last one out stops it
    with running(Settings(home=own_home)) as app:
        assert_all_applied(app, [*accepted, ("slow", "half")])
        assert [b'"slow"' in impression for impression in app.records(Stream.IMPRESSIONS)] == [True]


def test_nothing_that_was_accepted_is_lost_at_sigkill(own_home: Path) -> None:
    with up(own_home) as server, posting(server.client) as accepted:
        server.process.kill()
        server.process.wait()
    with running(Settings(home=own_home)) as app:
        assert_all_applied(app, accepted)


def test_ingest_runs_until_a_signal_and_reports_what_it_applied(own_home: Path) -> None:
    with running(Settings(home=own_home), ingest=False) as app:
        app.client.post("/v1/events", json={"event_id": "1", "user_id": "ann", "type": "view"})
        process = subprocess.Popen(
            [SCRIPT, "ingest", "--json"],
            env=os.environ | {"TASTEPRINT_HOME": str(own_home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            wait_until(lambda: app.client.get("/v1/users/ann").json()["events"] == 1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err.decode()
    assert {"events": 1, "items": 0, "dead_letters": 0, "problems": []}.items() <= orjson.loads(out).items()
