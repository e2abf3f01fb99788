"""From Kafka's protocol to the profile store, against a bare kafka-python consumer of the same topic.

`tasteprint bench ingest --log kafka://HOST:PORT/NAME` fills topics with names of the run's own behind NAME;
`--log kafka` starts a broker of noida-db here, on the same cores.
"""

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from threading import Event as Signal

import orjson
from _movielens import empty_home, movielens
from _report import alternate, measure, print_report, say
from kafka import KafkaConsumer, TopicPartition

from features.datasets import to_events
from features.embedded import EmbeddedServer
from features.events import encode_event
from features.profiles import ProfileStore, connect_for_ingest
from services.settings import limit_threads
from streaming.dead_letters import DeadLetters
from streaming.ingest import follow, into_profiles
from streaming.kafka_log import KafkaLog
from streaming.kafka_url import KafkaUrl
from streaming.log import Stream

ROUNDS, EVENTS, PARTITIONS, AT_ONCE = 3, 50_000, 2, 2000
PEER = "kafka-python's poll of the same topic, max_poll_records 4096"


def measure_kafka(log_url: str) -> None:
    dataset = movielens()
    wire = [(event.user, encode_event(event)) for events in to_events(dataset) for event in events][:EVENTS]
    with ExitStack() as stack:
        settings = stack.enter_context(empty_home())
        server = stack.enter_context(EmbeddedServer(settings.home))
        url = replace(broker(log_url, stack), partitions=PARTITIONS, retention_days=0)
        log = stack.enter_context(closing(KafkaLog(url)))
        for first in range(0, len(wire), AT_ONCE):
            log.append(Stream.EVENTS, wire[first : first + AT_ONCE], time.time())
        rounds = iter(range(1000))

        def product() -> tuple[float]:
            tenant = f"round-{next(rounds)}"
            seconds = ingest(url, server.url, tenant, settings.home)
            say(f"log to profiles: {len(wire) / seconds:.0f} events/s")
            return (len(wire) / seconds,)

        def peer() -> tuple[float]:
            seconds = bare(url, len(wire))
            say(f"bare consumer: {len(wire) / seconds:.0f} events/s")
            return (len(wire) / seconds,)

        ours, theirs = alternate(product, peer, ROUNDS)
        two = median(len(wire) / together(url, server.url, f"two-{number}", settings.home) for number in range(ROUNDS))
    print_report(
        "ingest",
        {
            "rate": measure("events/s", ours[0], theirs[0], PEER),
            "rate_of_two": measure("events/s", two, ours[0], "one consumer of both partitions"),
        },
    )


def broker(log_url: str, stack: ExitStack) -> KafkaUrl:
    """The brokers that are named, else one that is started for the run."""
    if log_url != "kafka":
        named = KafkaUrl.parse(log_url)
        return replace(named, topics=f"{named.topics}.bench-{time.time_ns()}")
    sys.path.append(str(Path(__file__).parents[1]))
    from kafka_server import KafkaServer

    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-kafka-"))
    return KafkaUrl.parse(stack.enter_context(KafkaServer(Path(folder))).url("bench"))


def ingest(url: KafkaUrl, redis_url: str, tenant: str, home: Path) -> float:
    """Seconds to read, parse, fold, fence and check what the topic holds, by a group of the tenant's own."""
    with (
        closing(KafkaLog(url)) as log,
        closing(ProfileStore(connect_for_ingest(redis_url), tenant)) as store,
        closing(DeadLetters(home / "dead_letters.sqlite")) as letters,
        closing(log.consumer(Stream.EVENTS, tenant)) as consumer,
    ):
        start = time.perf_counter()
        follow(consumer, into_profiles(store, letters, time.time), store, tenant, Signal(), until_end=True)
        return time.perf_counter() - start


def together(url: KafkaUrl, redis_url: str, tenant: str, home: Path) -> float:
    """Seconds for two members, processes that have one partition each, until both are at the end."""
    command = [sys.executable, __file__, orjson.dumps(asdict(url)).decode(), redis_url, tenant, str(home)]
    members = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    for one in members:
        assert one.stdout is not None
        one.stdout.readline()  # it has its partition
    start = time.perf_counter()
    for one in members:
        assert one.stdin is not None
        one.stdin.write(b"go\n")
        one.stdin.flush()
    for one in members:
        assert one.stdout is not None
        one.stdout.readline()  # it is at the end
    seconds = time.perf_counter() - start
    for one in members:
        one.communicate()
    return seconds


def member(said: str, redis_url: str, tenant: str, home: str) -> None:
    """One of two: says when it has its partition and when it is at the end, and stays until it is told to go."""
    with (
        closing(KafkaLog(KafkaUrl(**orjson.loads(said)))) as log,
        closing(ProfileStore(connect_for_ingest(redis_url), tenant)) as store,
        closing(DeadLetters(Path(home) / "dead_letters.sqlite")) as letters,
        closing(log.consumer(Stream.EVENTS, tenant)) as consumer,
    ):
        while len(consumer.partitions) != PARTITIONS // 2:
            consumer.read(1, 0.05)
        print("ready", flush=True)
        sys.stdin.readline()
        follow(consumer, into_profiles(store, letters, time.time), store, tenant, Signal(), until_end=True)
        print("done", flush=True)
        sys.stdin.read()


def bare(url: KafkaUrl, expected: int) -> float:
    """Seconds for kafka-python alone to hand over what the topic holds."""
    client = KafkaConsumer(
        bootstrap_servers=list(url.servers), auto_offset_reset="earliest", max_poll_records=4096, fetch_max_wait_ms=100
    )
    with closing(client):
        client.assign([TopicPartition(f"{url.topics}.events", partition) for partition in range(PARTITIONS)])
        start, read = time.perf_counter(), 0
        while read < expected:
            read += sum(map(len, client.poll(timeout_ms=100).values()))
        return time.perf_counter() - start


if __name__ == "__main__":  # one of two members
    limit_threads(1)
    member(*sys.argv[1:])
