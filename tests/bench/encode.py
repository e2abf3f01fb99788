"""From the log to stored vectors of every user, against a bare loop of the same encoder over the same histories."""

import tempfile
import time
from itertools import count
from pathlib import Path
from threading import Event as Signal

from _movielens import append_all, empty_home, movielens
from _report import alternate, measure, print_report, say

from features.datasets import Dataset, fingerprint
from features.embedded import EmbeddedServer
from features.events import UserId
from features.profiles import ProfileStore, connect_for_ingest
from models.bundle import train_counts
from models.catalogue import Catalogue
from models.encoders.config import EncoderConfig
from models.encoders.store import EncoderStore
from models.recommender import Pipeline
from services.encode import AT_ONCE, GROUP, follow, query_of
from services.settings import limit_threads
from services.wiring import open_log
from streaming.dead_letters import DeadLetters
from streaming.ingest import follow as ingest
from streaming.ingest import into_profiles
from streaming.log import EventLog, Stream

ROUNDS = 5
PEER = f"the same encoder over the same histories, read before, {AT_ONCE} at once, nothing stored"


def main() -> None:
    dataset = movielens()
    with empty_home() as settings, EmbeddedServer(settings.home) as server:
        pipeline = pipeline_of(dataset)
        log, store = open_log(settings), ProfileStore(connect_for_ingest(server.url))
        append_all(dataset, log, time.time())
        letters = DeadLetters(settings.home / "dead_letters.sqlite")
        consumer = log.consumer(Stream.EVENTS, "ingest")
        ingest(consumer, into_profiles(store, letters, time.time), store, "ingest", Signal(), until_end=True)
        consumer.close()
        users = [UserId(user) for user in dataset.events["user"].unique(maintain_order=True)]
        without = sum(map(store.memory, users)) / len(users)
        models = (f"round-{number}" for number in count())

        def product() -> tuple[float]:
            seconds = encoded(log, store, Renamed(pipeline, next(models)))
            say(f"log to stored vectors: {len(users) / seconds:.0f} users/s")
            return (len(users) / seconds,)

        queries = [query_of(history) for history in store.read(users)]

        def peer() -> tuple[float]:
            start = time.perf_counter()
            for first in range(0, len(queries), AT_ONCE):
                pipeline.vectors(queries[first : first + AT_ONCE])
            rate = len(queries) / (time.perf_counter() - start)
            say(f"bare: {rate:.0f} users/s")
            return (rate,)

        product()
        bytes_per_user = sum(map(store.memory, users)) / len(users) - without
        ours, theirs = alternate(product, peer, ROUNDS)
        letters.close()
        log.close()
    print_report(
        "encode",
        {
            "rate": measure("users/s", ours[0], theirs[0], PEER),
            "bytes_per_user": measure("bytes", bytes_per_user),
        },
        users=len(users),
        events=dataset.events.height,
    )


class Renamed:
    """The same encoder as another model, of which nobody has a vector yet."""

    def __init__(self, pipeline: Pipeline, model: str) -> None:
        self.encoder_model = model
        self.vectors = pipeline.vectors


def pipeline_of(dataset: Dataset) -> Pipeline:
    """With an encoder of one epoch: it takes the time of a better one."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bundle = train_counts(
            dataset.events,
            dataset.items,
            fingerprint=fingerprint(dataset),
            encoders=EncoderStore(Path(folder), may_train=True),
            encoder_config=EncoderConfig(epochs=1, patience=1),
        )
    return Pipeline(bundle, Catalogue())


def encoded(log: EventLog, store: ProfileStore, pipeline: Renamed) -> float:
    """Seconds for the whole log: reading it, reading profiles, encoding, storing, checkpoints."""
    consumer = log.consumer(Stream.EVENTS, GROUP)
    start = time.perf_counter()
    follow(consumer, store, lambda: pipeline, Signal(), until_end=True)
    seconds = time.perf_counter() - start
    consumer.close()
    return seconds


if __name__ == "__main__":
    limit_threads(1)
    main()
