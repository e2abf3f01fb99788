"""Kafka: members that share the partitions, come and go, and are lost; records that apps produced themselves."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from threading import Event as Signal
from threading import Thread

import orjson
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka_server import KafkaServer, free_port

from features.errors import LogUnavailable
from features.events import UserId
from features.profiles import ProfileStore
from streaming import kafka_log
from streaming.dead_letters import DeadLetters
from streaming.ingest import follow, into_profiles
from streaming.kafka_log import KafkaConsumer, KafkaLog
from streaming.kafka_url import KafkaUrl
from streaming.log import Record, Stream

NOW = 1_700_000_000.0
LONG = 30.0  # only something broken lasts so long

names = count()


@pytest.fixture
def url(kafka: KafkaServer) -> KafkaUrl:
    return KafkaUrl.parse(kafka.url(f"log-{next(names)}", retention_days=0, impressions_days=0, session_seconds=15), 4)


@pytest.fixture
def log(url: KafkaUrl) -> Iterator[KafkaLog]:
    with closing(KafkaLog(url)) as log:
        yield log


@pytest.fixture
def letters(tmp_path: Path) -> Iterator[DeadLetters]:
    with closing(DeadLetters(tmp_path / "dead_letters.sqlite")) as letters:
        yield letters


def numbered(count: int) -> list[tuple[str, bytes]]:
    return [(f"user-{number}", b"%03d" % number) for number in range(count)]


def read_all(*consumers: KafkaConsumer, until: Callable[[list[Record]], bool]) -> list[Record]:
    """Reads with all in turn, as members do that live side by side."""
    records: list[Record] = []
    deadline = time.monotonic() + LONG
    while not until(records):
        assert time.monotonic() < deadline
        for consumer in consumers:
            records += consumer.read(100, 0.05)
    return records


def owned(*consumers: KafkaConsumer) -> list[int]:
    return sorted(partition for consumer in consumers for partition in consumer.partitions)


def in_threads(*tasks: Callable[[], object]) -> None:
    threads = [Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)


# Topics


def test_topics_are_made_once_with_what_the_url_says(log: KafkaLog, url: KafkaUrl) -> None:
    with KafkaAdminClient(bootstrap_servers=list(url.servers)) as admin:
        topics = [f"{url.topics}.{one}" for one in ("events", "items", "impressions", "id")]
        assert [len(one["partitions"]) for one in admin.describe_topics(topics)] == [4, 4, 4, 1]
    other = KafkaUrl.parse(f"{url.name}?partitions=9")
    with closing(KafkaLog(other)) as again, closing(again.consumer(Stream.EVENTS, None)) as consumer:
        assert (again.log_id, consumer.partitions) == (log.log_id, (0, 1, 2, 3))


def test_processes_that_make_a_log_at_once_make_one(url: KafkaUrl) -> None:
    made: list[str] = []

    def make() -> None:
        with closing(KafkaLog(url)) as log:
            made.append(log.log_id)

    in_threads(make, make, make)
    assert len(made) == 3
    assert len(set(made)) == 1


def test_a_broker_that_is_not_there_is_said_to_be_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_log, "CONNECT_SECONDS", 0.3)
    with pytest.raises(LogUnavailable, match=r"kafka://127\.0\.0\.1:\d+/away does not answer .*; are the brokers up\?"):
        KafkaLog(KafkaUrl.parse(f"kafka://ada:secret@127.0.0.1:{free_port()}/away"))


def test_what_is_said_to_the_brokers_is_what_the_url_says(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    said = kafka_log._connection(KafkaUrl.parse(f"kafkas://ada:secret@broker:9093/taste?ca={ca}"))
    assert said["security_protocol"] == "SASL_SSL"
    assert said["ssl_cafile"] == str(ca)
    assert (said["sasl_mechanism"], said["sasl_plain_username"]) == ("SCRAM-SHA-512", "ada")
    assert kafka_log._connection(KafkaUrl.parse("kafka://broker/taste"))["security_protocol"] == "PLAINTEXT"


# Records of others


def test_events_that_apps_produce_themselves_are_applied(
    log: KafkaLog, url: KafkaUrl, store: ProfileStore, letters: DeadLetters
) -> None:
    producer = KafkaProducer(bootstrap_servers=list(url.servers))
    topic, at = f"{url.topics}.events", {"timestamp_ms": int(NOW * 1000)}
    view = {"user_id": "ada", "type": "view", "item_id": "dune", "event_id": "e1"}
    wrapped = [("ce_specversion", b"1.0"), ("ce_id", b"7"), ("ce_source", b"/shop"), ("ce_type", b"bought")]
    sent = [
        producer.send(topic, key=b"ada", value=orjson.dumps(view), **at),
        producer.send(topic, key=b"ada", value=b'{"user_id":"ada","item_id":"akira"}', headers=wrapped, **at),
        producer.send(topic, value=b"no key, and no event", **at),
        producer.send(topic, key=b"\xff", **at),
    ]
    for one in sent:
        one.get(LONG)
    producer.close()
    with closing(log.consumer(Stream.EVENTS, "ingest")) as consumer:
        follow(consumer, into_profiles(store, letters, lambda: NOW), store, "ingest", Signal(), until_end=True)
    [history] = store.read([UserId("ada")])
    assert {(event.id, event.type, event.at) for event in history.events} == {
        ("e1", "view", NOW),
        ("/shop#7", "bought", NOW),
    }
    assert sorted(letter.value for letter in letters.list()) == [b"", b"no key, and no event"]


def test_a_key_has_the_partition_that_other_clients_give_it(log: KafkaLog, url: KafkaUrl) -> None:
    [position] = log.append(Stream.EVENTS, [("ada", b"ours")], NOW)
    producer = KafkaProducer(bootstrap_servers=list(url.servers))
    theirs = producer.send(f"{url.topics}.events", key=b"ada", value=b"theirs").get(LONG)
    producer.close()
    assert theirs.partition == position.partition


# Members that come and go


def test_two_members_share_the_partitions_and_every_record_is_read_by_one(log: KafkaLog) -> None:
    with closing(log.consumer(Stream.EVENTS, "group")) as one:
        assert one.partitions == (0, 1, 2, 3)
        with ExitStack() as stack:
            joining: list[KafkaConsumer] = []

            def join() -> None:
                joining.append(stack.enter_context(closing(log.consumer(Stream.EVENTS, "group"))))

            thread = Thread(target=join)
            thread.start()
            read_all(one, until=lambda _: not thread.is_alive())
            [other] = joining
            read_all(one, other, until=lambda _: len(one.partitions) == len(other.partitions) == 2)
            assert owned(one, other) == [0, 1, 2, 3]
            log.append(Stream.EVENTS, numbered(40), NOW)
            records = read_all(one, other, until=lambda records: len(records) >= 40)
            assert sorted(record.value for record in records) == [value for _, value in numbered(40)]
        read_all(one, until=lambda _: len(one.partitions) == 4)


class Hooks:
    """Writes down what comes and goes."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self.said: list[object] = []
        consumer.gained = self.gained
        consumer.losing = lambda: self.said.append("losing")

    def gained(self, partitions: Sequence[int]) -> None:
        self.said.append(list(partitions))


def test_a_member_says_where_to_go_on_with_what_comes_before_any_of_it_is_read(log: KafkaLog) -> None:
    positions = log.append(Stream.EVENTS, [("ada", b"%d" % n) for n in range(5)], NOW)
    partition = positions[0].partition
    joined, read = Signal(), Signal()
    others: list[Record] = []

    def beside() -> None:
        with closing(log.consumer(Stream.EVENTS, "group")) as other:

            def gained(partitions: Sequence[int]) -> None:
                for one in partitions:
                    other.seek(one, offset=positions[3].offset)

            other.gained = gained
            joined.set()
            while not read.is_set():
                others.extend(other.read(10, 0.05))

    with closing(log.consumer(Stream.EVENTS, "group")) as one:
        hooks, thread = Hooks(one), Thread(target=beside)
        thread.start()
        try:
            read_all(one, until=lambda _: joined.is_set() and len(one.partitions) == 2)
            assert hooks.said == ["losing"]
            if partition not in one.partitions:
                read_all(one, until=lambda _: len(others) >= 2)
                assert [record.value for record in others] == [b"3", b"4"]
        finally:
            read.set()
        read_all(one, until=lambda _: not thread.is_alive() and len(one.partitions) == 4)
        assert len(hooks.said) == 2
        assert len(hooks.said[1]) == 2  # type: ignore[arg-type]


def test_a_member_that_was_taken_for_dead_commits_nothing_of_what_it_lost(log: KafkaLog, url: KafkaUrl) -> None:
    positions = log.append(Stream.EVENTS, [("ada", b"%d" % n) for n in range(5)], NOW)
    place = TopicPartition(f"{url.topics}.events", positions[0].partition)
    with closing(log.consumer(Stream.EVENTS, "group")) as one:
        one.commit([read_all(one, until=lambda records: len(records) == 5)[1].position])
        one._client._coordinator.reset_generation()  # as when the brokers say that they know no such member
        one._client.poll(timeout_ms=0)
        assert one.partitions == ()
        one.commit(positions)
        assert one._client.committed(place) == positions[1].offset + 1


def test_members_that_read_different_streams_do_not_wait_for_each_other(log: KafkaLog) -> None:
    with closing(log.consumer(Stream.EVENTS, "group")) as events, closing(log.consumer(Stream.ITEMS, "group")) as items:
        assert events.partitions == items.partitions == (0, 1, 2, 3)
        assert (events.lag(), items.lag()) == (0, 0)
