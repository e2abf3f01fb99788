"""What the tests of the services share: running applications on the embedded backends, and how to wait for them.

Three are started once and shared. `app` is for writing: each test uses users and items of its own. `shop` is seeded and
never written to, so that its popularity is known; `trained` is the same with a bundle that answers.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from shutil import copy
from threading import Thread
from typing import Any

import httpx
import pytest
import uvicorn
from toy_frames import items_of, marching

from features.events import UserId
from features.profile import Position
from models.bundle import train_counts
from services.api.app import create_app
from services.bundles import publish
from services.serving import Serving
from services.settings import Settings
from services.wiring import Backends, backends, open_registry
from streaming.log import EventLog, Stream

NOW = 1_800_000_000.0  # what the servers' clocks show
DEADLINE_SECONDS = 20.0  # for a condition to hold: never reached unless something is wrong

# Of the shop: alien was chosen by five users, brazil by four, ...; the third and fourth users have seen three and two.
# `hidden` was chosen by all and is hidden; `fresh` was chosen by nobody.
CHOSEN = {
    "ann": ["alien", "brazil", "casablanca", "dune", "eraserhead", "hidden"],
    "bob": ["alien", "brazil", "casablanca", "dune", "hidden"],
    "cem": ["alien", "brazil", "casablanca", "hidden"],
    "dov": ["alien", "brazil", "hidden"],
    "eva": ["alien", "hidden"],
}
CATEGORIES = {
    "alien": ["horror", "space"],
    "brazil": ["space"],
    "casablanca": ["love"],
    "dune": ["space"],
    "eraserhead": ["horror"],
    "hidden": ["love"],
    "fresh": ["horror"],
}

_homes = count()


@dataclass(frozen=True, slots=True)
class Running:
    """A running application: `client` talks to it over a socket, the rest is what stands behind its routes."""

    client: httpx.Client
    serving: Serving
    backends: Backends

    @property
    def home(self) -> Path:
        return self.serving.settings.home

    @property
    def log(self) -> EventLog:
        return self.backends.log

    def appended(self, stream: Stream = Stream.EVENTS) -> int:
        """How many records the stream was ever given."""
        with closing(self.log.consumer(stream, None)) as consumer:
            return consumer.lag()

    def records(self, stream: Stream) -> list[bytes]:
        """What the stream holds."""
        with closing(self.log.consumer(stream, None)) as consumer:
            batches = iter(lambda: consumer.read(100_000, 0.0), [])
            return [record.value for batch in batches for record in batch]

    def send(self, events: Any) -> dict[str, Any]:
        """Posts events and waits until they are in the profiles; the answer."""
        response = self.client.post("/v1/events", json=events)
        assert response.status_code == 202, response.text
        answer = response.json()
        sent = events if isinstance(events, list) else [events]
        self.applied([one["user_id"] for one in sent], answer["positions"])
        return answer

    def put(self, items: Any) -> None:
        """Posts items and waits until the catalogue of the server has them."""
        response = self.client.post("/v1/items", json=items)
        assert response.status_code == 202, response.text
        for item in items if isinstance(items, list) else [items]:
            wait_until(lambda item=item: self.client.get(f"/v1/items/{item['item_id']}").status_code == 200)

    def applied(self, users: Sequence[str], positions: Sequence[str]) -> None:
        """Waits until each user's profile covers the position that the user's event was given."""
        last = {UserId(user): Position.parse(at) for user, at in zip(users, positions, strict=True)}

        def are_covered() -> bool:
            histories = self.backends.patient.read(list(last))
            return all(found.as_of is not None and found.as_of.covers(last[found.user]) for found in histories)

        wait_until(are_covered)


def wait_until(holds: Callable[[], object]) -> None:
    """Returns when the condition holds."""
    wait_until_within(DEADLINE_SECONDS, holds)


def wait_until_within(seconds: float, holds: Callable[[], object]) -> None:
    """The same with so much patience."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it has not come to hold"
        time.sleep(0.005)


@contextmanager
def running(settings: Settings, *, ingest: bool = True, patient: bool = True) -> Iterator[Running]:
    """An application that serves on a free port from a thread of its own, with a clock that stands still.

    patient: requests wait for the store however long it takes. Those of a real server give up after 50 ms, which a
    busy machine may well need, and answer without it.
    """
    with ExitStack() as stack:
        opened = stack.enter_context(backends(settings))
        if patient:
            opened = replace(opened, serving=opened.patient)
        serving = stack.enter_context(Serving(settings, opened, lambda: NOW, ingest=ingest))
        config = uvicorn.Config(
            create_app(serving),
            port=0,
            loop="uvloop",
            http="httptools",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=10,
        )
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, name="server")
        thread.start()
        try:
            wait_until(lambda: server.started)
            [socket] = server.servers[0].sockets
            with httpx.Client(base_url=f"http://127.0.0.1:{socket.getsockname()[1]}", timeout=30.0) as client:
                wait_until(lambda: client.get("/readyz").status_code == 200)
                yield Running(client, serving, opened)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("TASTEPRINT_", "MLFLOW_")):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, deployment: Callable[[str], dict[str, str]]) -> Iterator[Running]:
    settings = Settings(home=tmp_path_factory.mktemp("app"), body_bytes=65_536, batch_most=50, **deployment("app"))
    with running(settings) as started:
        yield started


@pytest.fixture(scope="session")
def shop(
    tmp_path_factory: pytest.TempPathFactory, redis_url: str, deployment: Callable[[str], dict[str, str]]
) -> Iterator[Running]:
    said = {"redis_url": redis_url, "tenant": "shop"} | deployment("shop")
    settings = Settings(home=tmp_path_factory.mktemp("shop"), **said)
    with running(settings) as started:
        _stock(started)
        yield started


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, redis_url: str, deployment: Callable[[str], dict[str, str]]
) -> Iterator[Running]:
    """Its bundle knows users who march through a ring of items, i0 to i19, one after the other."""
    said = {"redis_url": redis_url, "tenant": "trained"} | deployment("trained")
    settings = Settings(home=tmp_path_factory.mktemp("trained"), explore=0.0, **said)
    events, _ = marching(users=60, items=20, length=6)
    items = items_of({f"i{number}": [] for number in range(20)})  # alike only by who chose them
    publish(settings, train_counts(events, items, fingerprint="toy"))
    with running(settings) as started:
        started.put(
            [
                {"item_id": item, "title": title, "categories": categories}
                for item, title, categories in items.select("item", "title", "categories").iter_rows()
            ]
        )
        started.send([event("marcher", item, NOW - 100 + step) for step, item in enumerate(["i3", "i4", "i5"])])
        yield started


def _stock(shop: Running) -> None:
    shop.put(
        [
            {"item_id": item, "title": item.title(), "categories": categories, "hidden": item == "hidden"}
            for item, categories in CATEGORIES.items()
        ]
    )
    events = [
        event(user, item, NOW - 1000 + 10 * place) for user, items in CHOSEN.items() for place, item in enumerate(items)
    ]
    shop.send(events)
    wait_until(lambda: shop.client.get("/v1/users/nobody/recommendations").json()["items"][0]["item_id"] == "alien")


def event(user: str, item: str, at: float, **more: object) -> dict[str, object]:
    return {
        "event_id": f"{user}-{item}-{at:.0f}",
        "user_id": user,
        "item_id": item,
        "type": "view",
        "timestamp": at,
    } | more


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user nobody else has, by the name of the test."""
    return f"user-{request.node.name}"[:100]


@pytest.fixture
def own_home(tmp_path: Path) -> Path:
    """A home of the test's own, with a path short enough for a socket."""
    return tmp_path / f"home-{next(_homes)}"


@pytest.fixture(scope="session")
def _made_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("mlflow")
    open_registry(Settings(home=home)).open()
    return home / "mlflow.sqlite"


@pytest.fixture
def tables_of_mlflow(own_home: Path, _made_tables: Path) -> None:
    """What the first run in a home makes in several seconds, made once."""
    own_home.mkdir(exist_ok=True)
    copy(_made_tables, own_home / "mlflow.sqlite")
