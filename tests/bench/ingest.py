"""From the log to the profile store, against LPUSH + LTRIM of the same wire bytes on the same server."""

import sys
import time
from pathlib import Path
from threading import Event as Signal

from _movielens import append_all, empty_home, movielens
from _report import alternate, measure, print_report, say

from features.datasets import to_events
from features.embedded import EmbeddedServer
from features.events import encode_event
from features.profiles import HISTORY_LIMIT, ProfileStore, connect_for_ingest
from services.settings import limit_threads
from streaming.dead_letters import DeadLetters
from streaming.ingest import follow, into_profiles
from streaming.log import Stream
from streaming.sqlite_log import SqliteLog

ROUNDS, PIPELINE = 5, 500
PEER = f"LPUSH + LTRIM of the same wire bytes, pipelines of {PIPELINE}"


def main() -> None:
    dataset = movielens()
    wire = [(event.user, encode_event(event)) for events in to_events(dataset) for event in events]
    with empty_home() as settings, EmbeddedServer(settings.home) as server:
        client = connect_for_ingest(server.url)
        log = SqliteLog(settings.log_path, settings.log_partitions, settings.impressions_kept)
        append_all(dataset, log, time.time())
        rounds = iter(range(1000))

        def product() -> tuple[float]:
            store = ProfileStore(connect_for_ingest(server.url), f"round-{next(rounds)}")
            seconds = ingest(log, store, settings.home / "dead_letters.sqlite")
            say(f"log to profiles: {len(wire) / seconds:.0f} events/s")
            client.flushall()
            return (len(wire) / seconds,)

        def peer() -> tuple[float]:
            start = time.perf_counter()
            for first in range(0, len(wire), PIPELINE):
                pipeline = client.pipeline(transaction=False)
                for user, event in wire[first : first + PIPELINE]:
                    pipeline.lpush(f"peer:{user}", event)
                    pipeline.ltrim(f"peer:{user}", 0, HISTORY_LIMIT - 1)
                pipeline.execute()
            rate = len(wire) / (time.perf_counter() - start)
            say(f"LPUSH + LTRIM: {rate:.0f} events/s")
            client.flushall()
            return (rate,)

        ours, theirs = alternate(product, peer, ROUNDS)
        log.close()
    print_report("ingest", {"rate": measure("events/s", ours[0], theirs[0], PEER)})


def ingest(log: SqliteLog, store: ProfileStore, dead_letters: Path) -> float:
    """Seconds for the whole log: reading, parsing, folding, fencing, checkpoints."""
    letters = DeadLetters(dead_letters)
    consumer = log.consumer(Stream.EVENTS, "ingest")
    start = time.perf_counter()
    follow(consumer, into_profiles(store, letters, time.time), store, "ingest", Signal(), until_end=True)
    seconds = time.perf_counter() - start
    consumer.close()
    letters.close()
    store.close()
    return seconds


if __name__ == "__main__":
    limit_threads(1)
    if "--log" in sys.argv:
        from _ingest_kafka import measure_kafka

        measure_kafka(sys.argv[sys.argv.index("--log") + 1])
    else:
        main()
