"""MovieLens 100K in a home of the benchmark's own, and a server over it."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from features.datasets import Dataset, fingerprint, to_events, to_items
from features.events import encode_event
from features.items import encode_item
from models.bundle import train_counts
from models.encoders.config import preset
from models.encoders.store import EncoderStore
from services.bundles import publish
from services.jobs.loading import load_or_pull
from services.settings import Settings, load_settings
from services.wiring import encoders_folder, open_log
from streaming.log import EventLog, Stream

START_SECONDS = 60.0
EPOCHS = 3


def movielens() -> Dataset:
    return load_or_pull("ml-100k", load_settings())


@contextmanager
def empty_home() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield load_settings(home=Path(folder))


def append_all(dataset: Dataset, log: EventLog, now: float) -> None:
    """Items and events of the data set, in file order."""
    for items in to_items(dataset, now):
        log.append(Stream.ITEMS, [(item.id, encode_item(item)) for item in items], now)
    for events in to_events(dataset):
        log.append(Stream.EVENTS, [(event.user, encode_event(event)) for event in events], now)


@contextmanager
def serving(*, encoder: bool = False) -> Iterator[tuple[Dataset, Settings, int]]:
    """`tasteprint up` with MovieLens in its log and a bundle: (data, its settings, its port).

    encoder: a bundle with an encoder of a few epochs, which answers as quickly as one that was trained to the end.
    """
    dataset = movielens()
    with empty_home() as settings:
        log = open_log(settings)
        append_all(dataset, log, time.time())
        log.close()
        bundle = train_counts(
            dataset.events,
            dataset.items,
            fingerprint=fingerprint(dataset),
            encoders=EncoderStore(encoders_folder(settings), may_train=True) if encoder else None,
            encoder_config=preset() if not encoder else replace(preset(), epochs=EPOCHS),
        )
        publish(settings, bundle)
        port = free_port()
        command = [sys.executable, "-m", "services.cli", "up", "--port", str(port)]
        with running(command, port, "/readyz", {"TASTEPRINT_HOME": str(settings.home)}):
            yield dataset, settings, port


@contextmanager
def running(command: list[str], port: int, path: str, environment: dict[str, str]) -> Iterator[None]:
    """The server of a command, from the moment that it answers 200 to this path."""
    process = subprocess.Popen(command, env=os.environ | environment, stdout=sys.stderr)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _is_ready(port, path):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} did not come up")
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
