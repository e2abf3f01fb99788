"""Tasteprint as operators run it: processes of the command line on one deployment, talked to over HTTP alone.

`pytest tests/e2e` runs it embedded, `pytest tests/e2e --backends infra` on Kafka's protocol and a Redis Cluster.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event as Signal
from threading import Thread

import httpx
import orjson
import pytest
from kafka_server import free_port

from features.embedded import EmbeddedServer
from tests.services.conftest import wait_until_within

SCRIPT = Path(sys.executable).with_name("tasteprint")
PER_USER = 100  # fewer than a history keeps
PATIENCE_SECONDS = 120.0  # several processes start, on a machine that may be busy

wait_until = partial(wait_until_within, PATIENCE_SECONDS)


class Deployment:
    """Commands that share a home and the settings."""

    def __init__(self, home: Path, settings: dict[str, str]) -> None:
        self.home = home
        self._environment = os.environ | {"TASTEPRINT_HOME": str(home), "OMP_NUM_THREADS": "1"}
        self._environment |= {f"TASTEPRINT_{name.upper()}": value for name, value in settings.items()}

    @contextmanager
    def started(self, *arguments: object) -> Iterator["subprocess.Popen[bytes]"]:
        """A command that goes on; killed at the end when it still runs."""
        command = [SCRIPT, *map(str, arguments)]
        process = subprocess.Popen(
            command, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()
                process.communicate()

    @contextmanager
    def api(self, command: str = "serve") -> Iterator[httpx.Client]:
        """A client of a server that is ready."""
        port = free_port()
        with (
            self.started(command, "--port", port) as process,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30.0) as client,
        ):
            wait_until(lambda: process.poll() is not None or is_ready(client))
            assert process.poll() is None, process.stderr and process.stderr.read().decode()
            yield client

    def run(self, *arguments: object) -> dict[str, object]:
        """What a command reports when it has ended."""
        with self.started(*arguments, "--json") as process:
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
            assert process.returncode == 0, err.decode()
        report = orjson.loads(out)
        assert isinstance(report, dict)
        return report


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def deployed(tmp_path: Path, deployment: Callable[[str], dict[str, str]]) -> Iterator[Deployment]:
    settings, home = deployment("processes"), tmp_path / "home"
    yield Deployment(home, settings)
    if not settings:
        with EmbeddedServer(home):
            pass  # the last one to leave stops it, also when all the others were killed


def view(user: str, item: str, event: str) -> dict[str, object]:
    return {"event_id": event, "user_id": user, "item_id": item, "type": "view"}


def history(client: httpx.Client, user: str) -> list[str]:
    """The ids of the user's events; asked again while the store is too slow for a request."""
    while (answer := client.get(f"/v1/users/{user}/history?limit=500")).status_code == 503:
        pass
    return [event["event_id"] for event in answer.json()["events"]]


@contextmanager
def posting(client: httpx.Client, clients: int = 3) -> Iterator[list[tuple[str, str]]]:
    """While it lasts, clients post one event after the other; the (user, event id) of each that was accepted."""
    accepted: list[tuple[str, str]] = []
    stop = Signal()

    def post(name: int) -> None:
        with httpx.Client(base_url=client.base_url, timeout=30.0) as own:
            for number in count():
                user, event = f"u{name}-{number // PER_USER}", f"e{name}-{number}"
                if stop.is_set() or own.post("/v1/events", json=view(user, "alien", event)).status_code != 202:
                    return
                accepted.append((user, event))

    threads = [Thread(target=post, args=(name,)) for name in range(clients)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(accepted) > 20)
        yield accepted
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_what_the_api_accepts_is_in_the_profiles_whichever_ingest_was_killed_meanwhile(
    deployed: Deployment, is_infra: bool
) -> None:
    members = 2 if is_infra else 1  # the embedded log has one member a group
    with deployed.api() as client:
        with deployed.started("ingest") as killed, posting(client) as accepted:
            if members == 2:
                with deployed.started("ingest"):
                    wait_until(lambda: len(accepted) > 200)
                    killed.kill()
                    done = len(accepted)
                    wait_until(lambda: len(accepted) > done + 100)
            else:
                wait_until(lambda: len(accepted) > 200)
                killed.kill()
        users = {user for user, _ in accepted}
        with deployed.started("ingest") as last:
            wait_until(lambda: sum(len(history(client, user)) for user in users) >= len(accepted))
            found = [(user, event) for user in users for event in history(client, user)]
            assert len(found) == len(set(found))
            assert set(accepted) <= set(found)
            last.send_signal(signal.SIGTERM)
            _, err = last.communicate(timeout=PATIENCE_SECONDS)
            assert last.returncode == 0, err.decode()
            assert b"Traceback" not in err


def test_a_user_from_the_first_event_to_the_erasure(deployed: Deployment) -> None:
    with deployed.api() as client, deployed.started("ingest"):
        items = [{"item_id": name, "title": name.title()} for name in ("alien", "brazil", "dune", "secret")]
        assert client.post("/v1/items", json=items).status_code == 202
        wait_until(lambda: all(client.get(f"/v1/items/{one['item_id']}").status_code == 200 for one in items))
        events = [view(f"fan-{n}", item, f"{n}-{item}") for n in range(5) for item in ("alien", "secret")]
        events += [view("ann", "brazil", "ann-1")]
        assert client.post("/v1/events", json=events).status_code == 202
        wait_until(lambda: history(client, "ann") == ["ann-1"])

        def recommended() -> list[str]:
            answer = client.get("/v1/users/ann/recommendations").json()
            return [item["item_id"] for item in answer["items"]]

        wait_until(lambda: {"alien", "secret"} <= set(recommended()))
        assert "brazil" not in recommended()
        hidden = {"item_id": "secret", "title": "Secret", "hidden": True}
        assert client.post("/v1/items", json=hidden).status_code == 202
        wait_until(lambda: "secret" not in recommended())
        assert client.delete("/v1/users/ann").status_code in (200, 202)
        wait_until(lambda: history(client, "ann") == [])
        assert history(client, "fan-1") != []


def test_a_data_set_is_imported_applied_trained_on_and_served(deployed: Deployment, tmp_path: Path) -> None:
    rows = [
        f"u{user},i{(user + step) % 12},{1_700_000_000 + 100 * step + user}" for user in range(40) for step in range(6)
    ]
    (tmp_path / "ring.csv").write_text("user,item,timestamp\n" + "\n".join(rows) + "\n")
    assert deployed.run("data", "import", tmp_path / "ring.csv")["events"] == 240
    applied = deployed.run("ingest", "--until-end")
    assert (applied["events"], applied["dead_letters"], applied["problems"]) == (240, 0, [])
    again = deployed.run("ingest", "--until-end")  # from a little before where it stood
    assert again["dead_letters"] == 0
    with deployed.api("up") as client:
        assert len(history(client, "u3")) == 6
        answer = client.get("/v1/users/u3/recommendations").json()
        assert {f"i{number}" for number in range(3, 9)}.isdisjoint(item["item_id"] for item in answer["items"])
