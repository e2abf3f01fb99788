"""The event log on Kafka: one topic a stream, keyed by user, read by consumer groups of as many members as partitions.

Nothing rests on Kafka's transactions. A record may be in a topic twice, because a producer or an app tried again, and
may be read twice, because a partition has moved; the store's fence and its fold make that no difference. A partition
that comes to a member is not read before the member has said where to go on; one that goes is given up once the batch
in flight is applied; one that was lost to another member meanwhile is dropped, and nothing of it committed.

One consumer is one thread's. kafka-python keeps a thread of its own behind each, in which it tells what comes and goes.
"""

import logging
import math
import time as clock
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from secrets import token_hex
from socket import create_connection
from threading import Lock, get_ident
from typing import Any, Final

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka import KafkaConsumer as Client
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from features.errors import LogUnavailable
from features.profile import Position
from streaming.cloud_events import unwrapped
from streaming.kafka_group import Membership, mend
from streaming.kafka_url import KafkaUrl
from streaming.log import Record, Stream

CONNECT_SECONDS: Final = 10.0
APPEND_SECONDS: Final = 10.0  # for all brokers in sync to have it; a request of the API waits for no longer
JOIN_SECONDS: Final = 30.0  # a member that applies a large batch keeps others waiting for so long at most
LEAVE_SECONDS: Final = 5.0  # a member that cannot say that it leaves is missed when its session ends
PATIENCE_SECONDS: Final = 5.0  # for records that are known to be there
LOOK_SECONDS: Final = 0.01  # between two looks for them
FETCH_SECONDS: Final = 0.1  # how long a broker holds back an answer with nothing in it
HEARTBEAT_SECONDS: Final = 1.0  # and so how soon a member hears that another has come or gone
BATCH_BYTES: Final = 262_144
_DAY: Final = 86_400_000  # milliseconds
_ID: Final = "id"

logger = logging.getLogger(__name__)


class KafkaLog:
    """An EventLog on Kafka's protocol; topics that are not there are made as the URL says.

    The log's id is the first record of a topic of its own: topics are to be deleted together or not at all. Times are
    kept in milliseconds, and do not decrease in what one process appends; those of several are as far apart as their
    clocks. An append that fails may be in the log in part: whoever appends tries again.
    """

    def __init__(self, url: KafkaUrl) -> None:
        self.url = url
        self._ordered = Lock()
        self._latest: dict[Stream, int] = {}
        with _translated(url):
            _knock(url)
            _make_topics(url)
            self._producer = KafkaProducer(
                **_connection(url),
                batch_size=BATCH_BYTES,
                max_block_ms=_ms(APPEND_SECONDS),
                request_timeout_ms=_ms(APPEND_SECONDS / 2),
                delivery_timeout_ms=_ms(APPEND_SECONDS),
            )
            try:
                self.log_id = self._read_or_make_id()
            except BaseException:
                self._producer.close(timeout=0)
                raise

    def append(self, stream: Stream, records: Sequence[tuple[str, bytes]], now: float) -> list[Position]:
        with _translated(self.url):
            with self._ordered:  # a clock set back must not unsort a partition
                at = self._latest[stream] = max(_ms(now), self._latest.get(stream, 0))
                sent = [
                    # Nothing is a value too: the one that compaction takes for a deletion.
                    self._producer.send(self.topic(stream), key=key.encode(), value=value or None, timestamp_ms=at)
                    for key, value in records
                ]
            done = [one.get(timeout=APPEND_SECONDS) for one in sent]
        return [Position(self.log_id, one.partition, one.offset) for one in done]

    def consumer(self, stream: Stream, group: str | None) -> "KafkaConsumer":
        return KafkaConsumer(self, stream, group)

    def forget(self, key: str) -> int:
        """None: brokers delete by age alone. The order to erase keeps what is left out of every profile."""
        return 0

    def close(self) -> None:
        self._producer.close(timeout=APPEND_SECONDS)

    def topic(self, stream: str) -> str:
        return f"{self.url.topics}.{stream}"

    def _read_or_make_id(self) -> str:
        """Whoever finds no id writes one; of those that several have written at once the first counts."""
        with _closing(_client(self.url, None)) as client:
            place = TopicPartition(self.topic(_ID), 0)
            client.assign([place])
            for made in (False, True):
                if made:
                    self._producer.send(place.topic, token_hex(6).encode(), partition=0).get(timeout=APPEND_SECONDS)
                if client.end_offsets([place])[place] == 0:
                    continue
                deadline = clock.monotonic() + CONNECT_SECONDS
                while clock.monotonic() < deadline:
                    client.seek_to_beginning(place)
                    for records in client.poll(timeout_ms=500, max_records=1).values():
                        return str(records[0].value.decode())
        raise LogUnavailable(f"{self.url.name}: the topic {place.topic} cannot be read; do its topics belong together?")


class KafkaConsumer:
    """A Consumer of a KafkaLog; members of a group share its partitions, and each partition has one of them."""

    def __init__(self, log: KafkaLog, stream: Stream, group: str | None) -> None:
        self.log_id = log.log_id
        self.stream = stream
        self.gained: Callable[[Sequence[int]], None] = lambda partitions: None
        self.losing: Callable[[], None] = lambda: None
        self._url = log.url
        self._topic = log.topic(stream)
        self._group = group
        self._thread = get_ident()
        self._arrived: set[TopicPartition] = set()
        with _translated(self._url):
            # A group a stream: members that read different topics would wait for each other whenever one comes or goes.
            self._client = _client(self._url, None if group is None else f"{self._url.topics}.{group}.{stream}")
            self._membership: Membership | None = None if group is None else mend(self._client)
            try:
                self._join()
            except BaseException:
                self.close()
                raise

    @property
    def partitions(self) -> tuple[int, ...]:
        return tuple(sorted(place.partition for place in self._client.assignment()))

    def read(self, most: int, wait: float) -> list[Record]:
        self._thread = get_ident()
        start, pause = clock.monotonic(), wait
        with _translated(self._url):
            while True:
                polled = self._client.poll(timeout_ms=_ms(pause), max_records=most)
                self._welcome()
                if polled:
                    return [self._record(message) for messages in polled.values() for message in messages]
                left = wait - (clock.monotonic() - start)
                if left <= 0 and (self._is_at_end() or left < -PATIENCE_SECONDS):
                    return []
                pause = max(left, LOOK_SECONDS)

    def commit(self, positions: Sequence[Position]) -> None:
        mine = self._client.assignment() if self._group is not None else ()
        places = {
            TopicPartition(self._topic, at.partition): OffsetAndMetadata(at.offset + 1, "", -1) for at in positions
        }
        if get_ident() == self._thread:
            places = {place: at for place, at in places.items() if place in mine}  # of those lost nothing is said
        if not places or self._group is None:
            return
        with _translated(self._url):
            if get_ident() == self._thread:
                self._client.commit(places, timeout_ms=_ms(CONNECT_SECONDS))
            else:
                self._client.commit_async(places)  # from the client's own thread, which cannot wait for itself

    def seek(self, partition: int, *, offset: int | None = None, time: float | None = None) -> None:
        place = TopicPartition(self._topic, partition)
        places = []
        with _translated(self._url):
            if place not in self._client.assignment():
                return  # it has gone to another member, who asks for itself
            if offset is not None:
                places.append(offset if offset >= 0 else max(self._end(place) + offset, 0))
            if time is not None:
                found = self._client.offsets_for_times({place: max(math.ceil(time * 1000), 0)})[place]
                places.append(self._end(place) if found is None else found.offset)
            self._client.seek(place, min(places))

    def lag(self) -> int:
        with _translated(self._url):
            if self._membership is not None and not self._membership.is_settled:
                raise LogUnavailable(f"{self._url.name}: the group is moving its partitions; ask again in a moment")
            places = self._client.assignment()
            ends = self._client.end_offsets(list(places)) if places else {}
            return sum(max(end - (self._client.position(place) or 0), 0) for place, end in ends.items())

    def close(self) -> None:
        self.losing = lambda: None
        try:
            _close(self._client, autocommit=False, timeout_ms=_ms(LEAVE_SECONDS))
        except KafkaError as error:
            logger.warning("the group was not told that a member leaves, and waits for it: %s", error)

    def _join(self) -> None:
        """Takes every partition, or those that the group leaves to this member."""
        if self._membership is None:
            partitions = self._client.partitions_for_topic(self._topic)
            self._client.assign([TopicPartition(self._topic, partition) for partition in sorted(partitions)])
            return
        self._client.partitions_for_topic(self._topic)  # else a leader may share out a topic that it has not heard of
        self._client.subscribe([self._topic], listener=_Listener(self))
        deadline = clock.monotonic() + JOIN_SECONDS
        while not self._membership.is_settled and clock.monotonic() < deadline:
            self._client.poll(timeout_ms=50)
        self._client.resume(*self._arrived)
        self._arrived.clear()

    def _welcome(self) -> None:
        """Asks where to go on with the partitions that have come, which are not read before."""
        arrived = self._arrived & self._client.assignment()
        if arrived:
            self.gained(sorted(place.partition for place in arrived))
            self._client.resume(*(arrived & self._client.assignment()))
        self._arrived -= arrived

    def _is_at_end(self) -> bool:
        """Whether every partition was read to where the broker last said that it ends."""
        for place in self._client.assignment():
            end, at = self._client.highwater(place), self._client.position(place)
            if end is None or at is None or at < end:
                return False
        return not self._arrived

    def _end(self, place: TopicPartition) -> int:
        return int(self._client.end_offsets([place])[place])

    def _record(self, message: Any) -> Record:
        value = message.value or b""
        if message.headers:
            value = unwrapped(message.headers, value)
        key = (message.key or b"").decode(errors="replace")
        return Record(Position(self.log_id, message.partition, message.offset), key, value, message.timestamp / 1000)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """Hears, in the client's own thread while a read waits, which partitions come and go."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._consumer._client.pause(*assigned)
        self._consumer._arrived |= assigned

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._consumer.losing()

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        logger.warning("partitions %s went to another member unasked", sorted(place.partition for place in lost))


def _knock(url: KafkaUrl) -> None:
    """Raises OSError when none of the brokers listens: at once, and without the client's threads, which stay behind."""
    for server in url.servers:
        host, _, port = server.rpartition(":")
        try:
            create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
            return
        except OSError as error:
            problem = error
    raise problem


def _make_topics(url: KafkaUrl) -> None:
    """Makes those that are not there. Items and dead letters are kept by key, the last of each; the rest by age."""
    by_age: dict[str, int] = {Stream.EVENTS: url.retention_days, Stream.IMPRESSIONS: url.impressions_days, _ID: 0}
    configs: dict[str, dict[str, str]] = {
        stream: {"cleanup.policy": "delete", "retention.ms": str(days * _DAY or -1), "retention.bytes": "-1"}
        for stream, days in by_age.items()
    }
    configs |= {stream: {"cleanup.policy": "compact"} for stream in (Stream.ITEMS,)}
    with _closing(KafkaAdminClient(**_connection(url))) as admin:
        wanted = {f"{url.topics}.{stream}": config for stream, config in configs.items()}
        there = {one["name"] for one in admin.describe_topics(list(wanted)) if not one["error_code"]}
        missing = {
            topic: {
                "num_partitions": 1 if topic.endswith(f".{_ID}") else url.partitions,
                "replication_factor": url.replication,
                "configs": config,
            }
            for topic, config in wanted.items()
            if topic not in there
        }
        if missing:
            for made in admin.create_topics(missing, raise_errors=False)["topics"]:
                problem = for_code(made["error_code"])
                if made["error_code"] and problem is not TopicAlreadyExistsError:
                    raise problem(f"topic {made['name']}: {made['error_message']}")
            admin.wait_for_topics(list(missing), timeout_ms=_ms(CONNECT_SECONDS))


def _client(url: KafkaUrl, group: str | None) -> Client:
    return Client(
        **_connection(url),
        group_id=group,
        allow_auto_create_topics=False,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=_ms(FETCH_SECONDS),
        session_timeout_ms=_ms(url.session_seconds),
        max_poll_interval_ms=_ms(url.session_seconds),  # a move waits for a member that hangs no longer than for a dead
        heartbeat_interval_ms=_ms(HEARTBEAT_SECONDS),
        partition_assignment_strategy=[CooperativeStickyAssignor()],
    )


@contextmanager
def _closing(client: Any) -> Iterator[Any]:
    try:
        yield client
    finally:
        _close(client)


def _close(client: Any, **how: Any) -> None:
    """Closes a consumer or an admin, and the sockets that kafka-python leaves when it was about to write to them."""
    client.close(**how)
    for connection in list(client._manager._conns.values()):
        if connection.transport is not None and connection.transport._sock is not None:
            connection.transport._sock.close()


def _connection(url: KafkaUrl) -> dict[str, Any]:
    """What every client is told of the brokers."""
    said: dict[str, Any] = {"bootstrap_servers": list(url.servers), "bootstrap_timeout_ms": _ms(CONNECT_SECONDS)}
    said["security_protocol"] = ("SASL_" if url.user else "") + ("SSL" if url.tls else "PLAINTEXT")
    if url.tls:
        files = {"ssl_cafile": url.ca, "ssl_certfile": url.certificate, "ssl_keyfile": url.key}
        said |= {name: file for name, file in files.items() if file}
    if url.user:
        said |= {"sasl_mechanism": url.sasl, "sasl_plain_username": url.user, "sasl_plain_password": url.password}
    return said


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


@contextmanager
def _translated(url: KafkaUrl) -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError) as error:
        if isinstance(error, LogUnavailable):
            raise
        raise LogUnavailable(
            f"the log {url.name} does not answer ({type(error).__name__}: {error}); are the brokers up?"
        ) from error
