"""A storm: members of a group join and leave every few seconds while events come in.

`pytest tests/streaming/test_kafka_storm.py --storm-seconds 60 -s` is the whole one, and says what it saw.
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event as Signal
from threading import Thread

import pytest
from kafka_server import KafkaServer

from features.events import Event, EventId, ItemId, UserId, encode_event
from features.history import encode
from features.profiles import ProfileStore, connect_for_ingest
from streaming.dead_letters import DeadLetters
from streaming.ingest import Applied, Prepare, follow, into_profiles
from streaming.kafka_log import KafkaLog
from streaming.kafka_url import KafkaUrl
from streaming.log import Record, Stream

NOW, LIMIT, GROUP = 1_700_000_000.0, 6, "ingest"
PARTITIONS, SESSION_SECONDS, LIFE_SECONDS = 4, 15, 3.0
USERS, AT_ONCE, PAUSE_SECONDS = 40, 50, 0.1
LONG = 120.0  # only something broken lasts so long


class Watched:
    """Prepares batches as given, and writes down when each partition was applied last and how long it ever waited."""

    def __init__(self, prepare: Prepare) -> None:
        self._prepare = prepare
        self._last: dict[int, float] = {}
        self.idle: defaultdict[int, float] = defaultdict(float)
        self.records: Counter[int] = Counter()

    def __call__(self, records: Sequence[Record]) -> Callable[[], Applied]:
        apply = self._prepare(records)

        def watched() -> Applied:
            applied, now = apply(), time.monotonic()
            for partition, count in Counter(record.position.partition for record in records).items():
                self.records[partition] += count
                self.idle[partition] = max(self.idle[partition], now - self._last.get(partition, now))
                self._last[partition] = now
            return applied

        return watched


@pytest.fixture
def letters(tmp_path: Path) -> Iterator[DeadLetters]:
    with closing(DeadLetters(tmp_path / "dead_letters.sqlite")) as letters:
        yield letters


def test_members_that_join_and_leave_under_load_end_in_the_bytes_of_a_plain_fold(
    kafka: KafkaServer, redis_url: str, letters: DeadLetters, pytestconfig: pytest.Config
) -> None:
    seconds, chance, given = pytestconfig.getoption("storm_seconds"), random.Random(3), list[Event]()
    said = kafka.url("storm", retention_days=0, impressions_days=0, session_seconds=SESSION_SECONDS)
    url, over, lives = KafkaUrl.parse(said, PARTITIONS), Signal(), list[float]()

    def open_store() -> closing[ProfileStore]:
        return closing(ProfileStore(connect_for_ingest(redis_url), "storm", LIMIT))

    def member(watched: Watched, store: ProfileStore, stop: Signal) -> None:
        with closing(KafkaLog(url)) as log, closing(log.consumer(Stream.EVENTS, GROUP)) as consumer:
            follow(consumer, watched, store, GROUP, stop, batch=100)

    def come_and_go(watched: Watched, store: ProfileStore, wait: float) -> None:
        over.wait(wait)
        while not over.is_set():
            stop = Signal()
            thread = Thread(target=member, args=(watched, store, stop))
            thread.start()
            over.wait(LIFE_SECONDS)
            stop.set()
            thread.join(LONG)
            lives.append(time.monotonic())

    with closing(KafkaLog(url)) as log, open_store() as store:
        watched = Watched(into_profiles(store, letters, lambda: NOW))
        threads = [
            Thread(target=member, args=(watched, store, over)),
            Thread(target=come_and_go, args=(watched, store, 0.0)),
            Thread(target=come_and_go, args=(watched, store, LIFE_SECONDS / 2)),
        ]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            some = [event(len(given) + n, chance) for n in range(AT_ONCE)]
            log.append(Stream.EVENTS, [(one.user, encode_event(one)) for one in some], NOW)
            given += some
            time.sleep(PAUSE_SECONDS)
        over.set()
        for thread in threads:
            thread.join(LONG)
            assert not thread.is_alive()
        idle = dict(watched.idle)
        with closing(log.consumer(Stream.EVENTS, GROUP)) as consumer:
            deadline = time.monotonic() + LONG
            while len(consumer.partitions) < PARTITIONS:  # a member that could not say that it left is missed later
                assert time.monotonic() < deadline
                consumer.read(1, 0.05)
            follow(consumer, watched, store, GROUP, Signal(), until_end=True)
        for user in {one.user for one in given}:
            assert store.export(user)[0] == encode([one for one in given if one.user == user], LIMIT)
    assert letters.count() == 0
    assert sum(watched.records.values()) >= len(given)
    print(f"{seconds:.0f} s, {len(lives)} members came and went beside one that stayed; {len(given)} events, applied")
    print(f"{sum(watched.records.values())} times in all; longest wait of a partition, seconds: {idle}")
    assert seconds < LONG / 2 or max(idle.values()) <= SESSION_SECONDS


def event(number: int, chance: random.Random) -> Event:
    user, item = UserId(f"u{number % USERS}"), ItemId(f"i{number % 60}")
    return Event(EventId(f"e{number}"), user, item, "view", None, float(chance.randrange(900)))
