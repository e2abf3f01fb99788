"""From the log to stored vectors of every user, against a bare loop of the same encoder over the same histories; and
soft prompts of all users together, against one user at a time and against what the machine can multiply.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from threading import Event as Signal
from typing import Any

import torch
from _movielens import append_all, empty_home, movielens
from _report import alternate, measure, print_report, say
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from features.datasets import Dataset, fingerprint
from features.embedded import EmbeddedServer
from features.events import UserId
from features.history import UserHistory
from features.profiles import ProfileStore, connect_for_ingest
from models.bundle import Bundle, train_counts
from models.catalogue import Catalogue
from models.encoders.config import EncoderConfig
from models.encoders.store import EncoderStore
from models.recommender import Pipeline
from models.soft_prompt.bundle import SoftPrompter
from models.soft_prompt.config import preset
from models.soft_prompt.prompter import Prompter
from services.encode import AT_ONCE, GROUP, Vectors, follow, query_of
from services.settings import limit_threads
from services.wiring import open_log
from streaming.dead_letters import DeadLetters
from streaming.ingest import follow as ingest
from streaming.ingest import into_profiles
from streaming.log import EventLog, Stream

ROUNDS = 5
WIDTH = 576  # of SmolLM2-135M's embeddings
SIZE = 1024  # of the matrices that tell what the machine can multiply
# What torch does not count by itself.
ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda query, key, value, *_, **__: sdpa_flop_count(
        query, key, value
    )
}
PEER = f"the same encoder over the same histories, read before, {AT_ONCE} at once, nothing stored"


def main() -> None:
    dataset = movielens()
    with empty_home() as settings, EmbeddedServer(settings.home) as server:
        bundle = bundle_of(dataset)
        pipeline = Pipeline(bundle, Catalogue())
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

        histories = store.read(users)
        queries = [query_of(history) for history in histories]

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
            **soft_prompts(bundle, histories),
        },
        users=len(users),
        events=dataset.events.height,
    )


class Renamed:
    """The same encoder as another model, of which nobody has a vector yet."""

    def __init__(self, pipeline: Pipeline, model: str) -> None:
        self.encoder_model = model
        self.vectors = pipeline.vectors


def bundle_of(dataset: Dataset) -> Bundle:
    """With an encoder of one epoch: it takes the time of a better one."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        return train_counts(
            dataset.events,
            dataset.items,
            fingerprint=fingerprint(dataset),
            encoders=EncoderStore(Path(folder), may_train=True),
            encoder_config=EncoderConfig(epochs=1, patience=1),
        )


def soft_prompts(bundle: Bundle, histories: Sequence[UserHistory]) -> dict[str, Any]:
    """The measures of soft prompts, of the four vectors of an untrained adapter: it takes the time of a trained one.

    With all cores, as a job has them.
    """
    torch.set_num_threads(os.cpu_count() or 1)
    assert bundle.retriever is not None
    encoder = bundle.retriever.encoder
    said = {"version": "bench", "base": "none", "language": ""}
    untrained = Prompter(preset("query-4"), encoder, WIDTH, norm=1.0)
    untrained.weights.requires_grad_(False)
    prompter = SoftPrompter(Path(), untrained, encoder, bundle.vocabulary, said)
    with FlopCounterMode(display=False, custom_mapping=ATTENTION) as counted:
        prompter.prompts(histories)
    multiplied = counted.get_total_flops() / 2 / len(histories)
    ones = torch.ones(SIZE, SIZE)

    def product() -> tuple[float]:
        start = time.perf_counter()
        prompter.prompts(histories)
        rate = len(histories) / (time.perf_counter() - start)
        say(f"soft prompts together: {rate:.0f} users/s")
        return (rate,)

    def peer() -> tuple[float, float]:
        start = time.perf_counter()
        for history in histories:
            prompter.prompts([history])
        alone = len(histories) / (time.perf_counter() - start)
        start = time.perf_counter()
        for _ in range(ROUNDS):
            torch.mm(ones, ones)
        most = ROUNDS * SIZE**3 / (time.perf_counter() - start)
        say(f"one at a time: {alone:.0f} users/s; torch.mm: {most / 1e9:.0f} billion multiply-adds/s")
        return alone, most

    product(), peer()
    ours, theirs = alternate(product, peer, ROUNDS)
    work = "billion multiply-adds/s"
    return {
        "soft_prompts": measure("users/s", ours[0], theirs[0], "the same, one user at a time"),
        "matmul_share": measure(
            work, ours[0] * multiplied / 1e9, theirs[1] / 1e9, f"torch.mm of {SIZE} x {SIZE} in float32"
        ),
    }


def encoded(log: EventLog, store: ProfileStore, pipeline: Renamed) -> float:
    """Seconds for the whole log: reading it, reading profiles, encoding, storing, checkpoints."""
    consumer = log.consumer(Stream.EVENTS, GROUP)
    start = time.perf_counter()
    follow(consumer, store, lambda: Vectors.of(pipeline), Signal(), until_end=True)
    seconds = time.perf_counter() - start
    consumer.close()
    return seconds


if __name__ == "__main__":
    limit_threads(1)
    main()
