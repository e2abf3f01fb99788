"""Ingest: whatever happens on the way, the store ends in the bytes of a plain fold over what was appended."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain, count, cycle
from pathlib import Path
from threading import Event as Signal
from threading import Thread
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies_of_events import USER, events

from features.embedded import EmbeddedServer
from features.errors import LogUnavailable, StoreUnavailable
from features.events import Erasure, Event, EventId, ItemId, UserId, encode_erasure, encode_event, user_digest
from features.history import decode, encode
from features.items import Item, encode_item
from features.profile import Position
from features.profiles import Checkpoint, ProfileStore, UserBatch, connect_for_ingest
from streaming import ingest
from streaming.dead_letters import DeadLetters
from streaming.ingest import Applied, follow, into_catalogue, into_profiles
from streaming.log import Consumer, Record, Stream
from streaming.sqlite_log import SqliteLog

NOW = 1_700_000_000.0
LIMIT = 6  # of the store fixture
GROUP = "ingest"
EVENTS_OF_GROUP = "ingest:events"  # whose checkpoints
LONG = 20.0  # only something broken lasts so long

Pair = tuple[str, bytes]  # key and value, as they are appended
numbers = count()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of a moment, where a service waits for people and for servers."""
    monkeypatch.setattr(ingest, "WAIT_SECONDS", 0.001)
    monkeypatch.setattr(ingest, "RETRY_SECONDS", 0.001)


@pytest.fixture
def letters(home: Path) -> Iterator[DeadLetters]:
    with closing(DeadLetters(home / "dead_letters.sqlite")) as letters:
        yield letters


@pytest.fixture
def open_log(home: Path) -> Iterator[Callable[..., SqliteLog]]:
    """Makes a new log at every call."""
    opened: list[SqliteLog] = []

    def make(partitions: int = 3) -> SqliteLog:
        opened.append(SqliteLog(home / f"log-{next(numbers)}.sqlite", partitions))
        return opened[-1]

    yield make
    for log in opened:
        log.close()


@pytest.fixture
def log(open_log: Callable[..., SqliteLog]) -> SqliteLog:
    return open_log()


@pytest.fixture
def open_store(redis_url: str) -> Iterator[Callable[..., ProfileStore]]:
    """A store of another tenant at every call."""
    opened: list[ProfileStore] = []

    def make() -> ProfileStore:
        opened.append(ProfileStore(connect_for_ingest(redis_url), f"ingest-{next(numbers)}", LIMIT))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def view(identity: str, at: float, item: str = "x", user: str = USER) -> Event:
    return Event(EventId(identity), UserId(user), ItemId(item), "view", None, at)


def pair(event: Event) -> Pair:
    return event.user, encode_event(event)


def erasure(user: str, at: float) -> Pair:
    digest = user_digest(UserId(user))
    return digest, encode_erasure(Erasure(digest, at))


def run(
    log: SqliteLog,
    store: Any,
    letters: Any,
    stream: Stream = Stream.EVENTS,
    *,
    wrap: Callable[[Consumer], Any] = lambda consumer: consumer,
    clock: Callable[[], float] = lambda: NOW,
    **options: Any,
) -> list[Applied]:
    """Starts the ingest and lets it come to the end, as `tasteprint ingest` would; what it reported."""
    into = into_profiles if stream is Stream.EVENTS else into_catalogue
    reported: list[Applied] = []
    options = {"until_end": True, "stop": Signal(), "report": reported.append, **options}
    with closing(log.consumer(stream, GROUP)) as consumer:
        follow(wrap(consumer), into(store, letters, clock), store, GROUP, **options)
    return reported


def folded(mine: Sequence[Event]) -> list[tuple[str, float]]:
    """What must be in a user's history, worked out from all of the events at once: (id, time) of the newest."""
    latest = {event.id: max(e.at for e in mine if e.id == event.id) for event in mine}
    return [(identity, at) for at, identity in sorted((at, identity) for identity, at in latest.items())[-LIMIT:]]


def assert_holds(store: ProfileStore, given: Sequence[Event], users: Iterable[str], erased_at: float = -1.0) -> None:
    """The store holds of these users the bytes of a plain fold over these events."""
    for user in map(UserId, users):
        encoded, left = store.export(user)
        mine = [event for event in given if event.user == user and event.at > erased_at]
        kept = decode(user, encoded)
        assert [(event.id, event.at) for event in kept] == folded(mine)
        gone = sorted((event.at, event.item) for event in mine if event not in kept and event.item)
        assert {item.decode(): at for item, at in left} == {item: at for at, item in gone}
        assert encoded == encode([event for event in given if event.user == user], LIMIT, erased_at)


def exports(store: ProfileStore, users: Iterable[str]) -> list[object]:
    return [store.export(UserId(user)) for user in users]


# Order, repetition and batching


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30, derandomize=True)
@given(events(), events(12), st.lists(st.integers(0, 9), max_size=1), st.randoms(use_true_random=False))
def test_any_order_repetition_and_split_through_the_log_ends_in_the_bytes_of_a_plain_fold(
    store: ProfileStore,
    letters: DeadLetters,
    open_log: Callable[..., SqliteLog],
    of_one: list[Event],
    of_other: list[Event],
    erasures: list[int],
    chance: random.Random,
) -> None:
    number = next(numbers)
    users = [f"ada-{number}", f"bob-{number}"]
    given_events = [replace(event, user=UserId(users[0])) for event in of_one]
    given_events += [replace(event, user=UserId(users[1])) for event in of_other]
    deliveries = [pair(event) for event in given_events + chance.sample(given_events, len(given_events) // 3)]
    deliveries += [erasure(user, float(at)) for at in erasures for user in users]
    chance.shuffle(deliveries)
    log = open_log()
    now = NOW
    while deliveries:
        size = chance.randint(1, 15)
        some, deliveries = deliveries[:size], deliveries[size:]
        now += chance.choice([0.0, 1.0, 200.0])
        log.append(Stream.EVENTS, some, now)
        if chance.random() < 0.4:
            run(log, store, letters, batch=chance.randint(1, 9))
    run(log, store, letters, batch=chance.randint(1, 9))
    assert_holds(store, given_events, users, float(max(erasures, default=-1)))
    assert letters.count() == 0


def test_a_profile_is_stamped_with_the_position_of_its_users_last_event(
    log: SqliteLog, store: ProfileStore, letters: DeadLetters
) -> None:
    given_events = [view(f"e{n}", float(n), user=user) for n in range(10) for user in ("ada", "bob", "eve")]
    positions = log.append(Stream.EVENTS, [pair(event) for event in given_events], NOW)
    run(log, store, letters, batch=4)
    assert [history.as_of for history in store.read([UserId("ada"), UserId("bob"), UserId("eve")])] == positions[-3:]


def test_what_became_of_every_batch_is_reported(log: SqliteLog, store: ProfileStore, letters: DeadLetters) -> None:
    for second in range(4):
        event = view(f"e{second}", float(second))
        log.append(Stream.EVENTS, [pair(event), erasure("bob", 1.0), ("eve", b"{")], NOW + second)
    reported = run(log, store, letters, batch=5)
    assert sum(applied.records for applied in reported) == 8
    assert sum(applied.dead for applied in reported) == 4
    assert sum(applied.erased for applied in reported) >= 1
    assert max(applied.last_appended for applied in reported) == NOW + 3
    assert {applied.stream for applied in reported} == {Stream.EVENTS}


# Killed and started again


def workload(seed: int, chunks: int, size: int, users: int, spread: float) -> list[tuple[float, list[Pair]]]:
    """Chunks of records with the times they are appended at, `spread` seconds apart: collisions, erasures and junk too.

    The overlap of a restart covers but a few of the chunks, so that it cannot hide a checkpoint that runs ahead.
    """
    chance = random.Random(seed)
    made = []
    for number in range(chunks):
        pairs = [
            pair(view(f"e{chance.randrange(400)}", float(chance.randrange(90)), f"i{chance.randrange(60)}", f"u{user}"))
            for user in chance.choices(range(users), k=size)
        ]
        if chance.random() < 0.3:
            pairs.append((f"u{chance.randrange(users)}", b'{"type":"view","number":%d}' % number))
        if chance.random() < 0.1:
            pairs.append(erasure(f"u{chance.randrange(users)}", float(chance.randrange(60))))
        made.append((NOW + spread * number, pairs))
    return made


def said(letters: DeadLetters) -> list[tuple[Position, str, bytes, str]]:
    listed = [(letter.position, letter.key, letter.value, letter.reason) for letter in letters.list(10_000)]
    return sorted(listed, key=lambda letter: (letter[0].partition, letter[0].offset))


def test_killed_again_and_again_while_events_come_in_it_ends_in_the_bytes_of_an_undisturbed_run(
    home: Path, log: SqliteLog, letters: DeadLetters, redis_url: str, open_store: Callable[..., ProfileStore]
) -> None:
    chance = random.Random(7)
    rounds, bursts, steps = 3, 8, 6
    chunks = iter(workload(7, rounds * (bursts + steps), 20, users=12, spread=25.0))
    users = [f"u{n}" for n in range(12)]
    tenant = f"ingest-{next(numbers)}"
    killed_letters = home / "killed.sqlite"

    def append(some: int) -> None:
        for _ in range(some):
            now, pairs = next(chunks)
            log.append(Stream.EVENTS, pairs, now)

    script = Path(__file__).with_name("ingest_until_killed.py")
    command = [sys.executable, script, log.path, killed_letters, redis_url, tenant, GROUP, "4", str(LIMIT)]
    unfinished = 0
    with closing(ProfileStore(connect_for_ingest(redis_url), tenant, LIMIT)) as store:
        for _ in range(rounds):
            process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE)
            assert process.stdout
            append(bursts)
            for _ in range(steps):
                append(1)
                for _ in range(chance.randint(1, 4)):
                    assert process.stdout.readline()
            process.kill()
            process.communicate()
            applied = {mark.position.partition: mark.position.offset + 1 for mark in store.checkpoints(EVENTS_OF_GROUP)}
            with closing(log.consumer(Stream.EVENTS, None)) as consumer:
                unfinished += consumer.lag() > sum(applied.values())
        assert unfinished == rounds  # else the kills came too late to break anything
        with closing(DeadLetters(killed_letters)) as rest:
            run(log, store, rest)
            undisturbed = open_store()
            run(log, undisturbed, letters)
            assert exports(store, users) == exports(undisturbed, users)
            assert said(rest) == said(letters)
    assert sum(bool(undisturbed.export(UserId(user))[0]) for user in users) == len(users)
    assert letters.count() > 10


class Killed(BaseException):
    """The process ends here."""


class Cuts:
    """Counts down the places where the process may end, and ends it at the last."""

    def __init__(self, left: int) -> None:
        self._left = left

    def here(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Killed


class CutStore:
    """The store of a process that may end before, between and after the scripts and the checkpoint of a batch."""

    def __init__(self, store: ProfileStore, cuts: Cuts) -> None:
        self._store = store
        self._cuts = cuts
        self.checkpoints = store.checkpoints

    def apply(self, batches: Sequence[UserBatch]) -> None:
        for batch in batches:
            self._cuts.here()
            self._store.apply([batch])
        self._cuts.here()

    def upsert_items(self, items: Iterable[Item]) -> None:
        for item in items:
            self._cuts.here()
            self._store.upsert_items([item])
        self._cuts.here()

    def checkpoint(self, group: str, marks: Sequence[Checkpoint]) -> None:
        self._cuts.here()
        self._store.checkpoint(group, marks)
        self._cuts.here()


class CutConsumer:
    """The consumer of the same process."""

    def __init__(self, consumer: Consumer, cuts: Cuts) -> None:
        self._consumer = consumer
        self._cuts = cuts
        self.stream, self.log_id, self.partitions = consumer.stream, consumer.log_id, consumer.partitions
        self.read, self.seek, self.lag = consumer.read, consumer.seek, consumer.lag

    def commit(self, positions: Sequence[Position]) -> None:
        self._cuts.here()
        self._consumer.commit(positions)
        self._cuts.here()


def cut_everywhere(
    log: SqliteLog, stream: Stream, open_store: Callable[..., ProfileStore], letters: DeadLetters
) -> Iterator[ProfileStore]:
    """For every place where the process may end: the store after it ended there, was started again and finished."""
    for cut in count():
        store, cuts = open_store(), Cuts(cut)
        try:
            run(log, CutStore(store, cuts), letters, stream, wrap=lambda c, cuts=cuts: CutConsumer(c, cuts), batch=4)
        except Killed:
            run(log, store, letters, stream, batch=4)
            yield store
        else:
            assert cut > 20
            return


def test_cut_at_any_call_and_started_again_it_ends_in_the_bytes_of_an_undisturbed_run(
    log: SqliteLog, open_store: Callable[..., ProfileStore], letters: DeadLetters
) -> None:
    for now, pairs in workload(3, chunks=6, size=4, users=3, spread=100.0):
        log.append(Stream.EVENTS, pairs, now)
    users = ["u0", "u1", "u2"]
    undisturbed = open_store()
    run(log, undisturbed, letters)
    expected, dead = exports(undisturbed, users), said(letters)
    assert dead
    for store in cut_everywhere(log, Stream.EVENTS, open_store, letters):
        assert exports(store, users) == expected
        assert said(letters) == dead


def test_a_catalogue_cut_at_any_call_and_started_again_is_whole(
    log: SqliteLog, open_store: Callable[..., ProfileStore], letters: DeadLetters
) -> None:
    for number in range(10):
        item = Item(ItemId(f"i{number % 4}"), f"title {number}", added=NOW + number)
        log.append(Stream.ITEMS, [(item.id, encode_item(item))], NOW + 100.0 * number)
    for store in cut_everywhere(log, Stream.ITEMS, open_store, letters):
        assert sorted(item.title for item in store.items()) == ["title 6", "title 7", "title 8", "title 9"]


def test_the_stores_checkpoint_decides_where_to_go_on_and_not_what_the_group_committed(
    log: SqliteLog, open_store: Callable[..., ProfileStore], letters: DeadLetters
) -> None:
    given_events = [view(f"e{n}", float(n), f"i{n}") for n in range(10)]
    log.append(Stream.EVENTS, [pair(event) for event in given_events], NOW)
    for store in (open_store(), open_store()):
        run(log, store, letters)
        assert_holds(store, given_events, [USER])


def test_what_was_appended_up_to_a_minute_before_the_checkpoint_is_applied_again(
    log: SqliteLog, store: ProfileStore, letters: DeadLetters
) -> None:
    for ten_seconds in range(11):
        event = view(f"e{ten_seconds:02}", float(ten_seconds), f"i{ten_seconds}")
        [position] = log.append(Stream.EVENTS, [pair(event)], NOW + 10 * ten_seconds)
    store.checkpoint(EVENTS_OF_GROUP, [Checkpoint(position, NOW + 100)])  # of a store that lost what it applied
    run(log, store, letters)
    assert store.read([USER])[0].seen == {f"i{n}" for n in range(4, 11)}


def test_a_record_without_a_time_has_the_time_it_was_appended_at_whenever_it_is_read(
    log: SqliteLog, open_store: Callable[..., ProfileStore], letters: DeadLetters
) -> None:
    records = [("ada", orjson.dumps({"event_id": f"e{n}", "user_id": "ada", "type": "view"})) for n in range(3)]
    for second, record in enumerate(records):
        log.append(Stream.EVENTS, [record], NOW + second)
    first, later = open_store(), open_store()
    run(log, first, letters, clock=lambda: NOW + 100)
    run(log, later, letters, clock=lambda: NOW + 200)
    assert [event.at for event in first.read([USER])[0].events] == [NOW, NOW + 1, NOW + 2]
    assert exports(first, [USER]) == exports(later, [USER])


# Several logs


def test_a_checkpoint_in_one_log_says_nothing_about_another(
    open_log: Callable[..., SqliteLog], store: ProfileStore, letters: DeadLetters
) -> None:
    given_events = [view(f"e{n}", float(n), f"i{n}") for n in range(20)]
    for place, log in enumerate([open_log(1), open_log(1)]):
        for number, event in enumerate(given_events[place::2]):
            log.append(Stream.EVENTS, [pair(event)], NOW + 100 * number)
        run(log, store, letters)
    assert_holds(store, given_events, [USER])


@pytest.mark.parametrize("seed", range(2))
def test_two_logs_and_a_changed_number_of_partitions_end_in_the_same_bytes(
    open_log: Callable[..., SqliteLog], store: ProfileStore, letters: DeadLetters, seed: int
) -> None:
    chance = random.Random(seed)
    users = ["ada", "bob", "eve"]
    given_events = [
        view(f"e{chance.randrange(60)}", float(chance.randrange(30)), f"i{chance.randrange(20)}", chance.choice(users))
        for _ in range(150)
    ]
    logs = [open_log(3), open_log(3), open_log(5), open_log(1)]
    for event in given_events:
        for log in chance.sample(logs, chance.randint(1, 2)):
            log.append(Stream.EVENTS, [pair(event)], NOW)
        if chance.random() < 0.1:
            run(chance.choice(logs), store, letters, batch=chance.randint(1, 20))
    for log in logs:
        run(log, store, letters, batch=chance.randint(1, 20))
    assert_holds(store, given_events, users)


def test_a_back_fill_beside_live_traffic_ends_in_the_same_bytes(
    open_log: Callable[..., SqliteLog], open_store: Callable[..., ProfileStore], letters: DeadLetters
) -> None:
    chance = random.Random(5)
    users = [f"u{n}" for n in range(4)]

    def some(most: int) -> list[Event]:
        at = [float(chance.randrange(100)) for _ in range(most)]
        return [view(f"e{chance.randrange(150)}", t, f"i{chance.randrange(30)}", chance.choice(users)) for t in at]

    past, present = some(300), some(300)
    live, back_fill = open_log(3), open_log(2)
    back_fill.append(Stream.EVENTS, [pair(event) for event in past], NOW)
    store, other_store = open_store(), open_store()
    stop = Signal()
    following = Thread(target=lambda: run(live, store, letters, until_end=False, stop=stop, batch=7))
    filling = Thread(target=lambda: run(back_fill, store, letters, batch=5))
    following.start()
    filling.start()
    for event in present:
        live.append(Stream.EVENTS, [pair(event)], NOW)
    filling.join(LONG)
    stop.set()
    following.join(LONG)
    run(live, store, letters)
    assert_holds(store, past + present, users)
    one_log = open_log(1)
    one_log.append(Stream.EVENTS, [pair(event) for event in present + past], NOW)
    run(one_log, other_store, letters)
    assert exports(store, users) == exports(other_store, users)


# Dead letters


def test_what_cannot_be_parsed_goes_to_the_dead_letters_with_its_reason_and_the_rest_is_applied(
    log: SqliteLog, store: ProfileStore, letters: DeadLetters
) -> None:
    good = [view(f"e{n}", float(n), f"i{n}") for n in range(3)]
    bad = {
        b"{": "JSON",
        b"\xff\x00": "",
        orjson.dumps({"event_id": "e", "type": "view"}): "user_id",
        orjson.dumps({"event_id": "e", "user_id": "ada", "type": "view", "timestamp": NOW * 1000}): "timestamp",
        orjson.dumps({"user_id": "ada", "type": "view"}): "event_id",
        orjson.dumps({"event_id": "e", "user_id": "ada", "type": "view", "colour": "red"}): "colour",
        b'{"erased":"short","timestamp":1}': "erased",
    }
    pairs = [pair(good[0]), *(("ada", value) for value in bad), pair(good[1]), pair(good[2])]
    positions = log.append(Stream.EVENTS, pairs, NOW)
    [applied] = run(log, store, letters)
    assert (applied.records, applied.dead) == (3, len(bad))
    assert_holds(store, good, ["ada"])
    listed = letters.list()
    assert {letter.value: letter.position for letter in listed} == dict(
        zip(bad, positions[1 : len(bad) + 1], strict=True)
    )
    for letter in listed:
        assert (letter.stream, letter.key, letter.at) == (Stream.EVENTS, "ada", NOW)
        assert letter.reason
        assert bad[letter.value] in letter.reason


def test_a_batch_of_nothing_but_junk_is_passed(log: SqliteLog, store: ProfileStore, letters: DeadLetters) -> None:
    positions = log.append(Stream.EVENTS, [("ada", b"junk %d" % n) for n in range(5)], NOW)
    run(log, store, letters, batch=2)
    run(log, store, letters, batch=2)
    assert letters.count() == 5
    assert [mark.position for mark in store.checkpoints(EVENTS_OF_GROUP)] == [positions[-1]]


def test_items_that_cannot_be_parsed_go_to_the_dead_letters_and_the_rest_is_applied(
    log: SqliteLog, store: ProfileStore, letters: DeadLetters
) -> None:
    good = encode_item(Item(ItemId("i1"), "Kolya", added=NOW))
    log.append(Stream.ITEMS, [("i0", b'{"title":"no id"}'), ("i1", good), ("i2", b"[]")], NOW)
    [applied] = run(log, store, letters, Stream.ITEMS)
    assert (applied.stream, applied.records, applied.dead) == (Stream.ITEMS, 1, 2)
    assert [item.title for item in store.items()] == ["Kolya"]
    reasons = {letter.key: letter.reason for letter in letters.list() if letter.stream is Stream.ITEMS}
    assert set(reasons) == {"i0", "i2"}
    assert "item_id" in reasons["i0"]


# Erasure


def test_an_erasure_drops_older_events_however_late_they_arrive_and_by_whatever_log(
    open_log: Callable[..., SqliteLog], store: ProfileStore, letters: DeadLetters
) -> None:
    log, late = open_log(3), open_log(2)
    log.append(Stream.EVENTS, [pair(view("before", 10.0, "before")), pair(view("bobs", 10.0, "b", "bob"))], NOW)
    run(log, store, letters)
    log.append(Stream.EVENTS, [erasure("ada", 20.0)], NOW)
    [applied] = run(log, store, letters)[-1:]
    assert applied.erased == 1
    assert store.export(USER) == (b"", ())
    log.append(Stream.EVENTS, [pair(view("late", 15.0, "late")), pair(view("at", 20.0, "at"))], NOW)
    late.append(Stream.EVENTS, [pair(view("later", 19.0, "later")), pair(view("new", 21.0, "new"))], NOW)
    run(log, store, letters)
    run(late, store, letters)
    history = store.read([USER])[0]
    assert [event.id for event in history.events] == ["new"]
    assert history.seen == {"new"}
    assert [event.id for event in store.read([UserId("bob")])[0].events] == ["bobs"]


@pytest.mark.parametrize("batch", [4, 100])
@pytest.mark.parametrize("times", [(6.0, 3.0), (3.0, 6.0)])
def test_an_erasure_that_comes_before_its_events_or_beside_another_holds(
    log: SqliteLog, store: ProfileStore, letters: DeadLetters, batch: int, times: tuple[float, float]
) -> None:
    given_events = [view(f"e{n}", float(n), f"i{n}") for n in range(10)]
    pairs = [erasure("ada", times[0]), *map(pair, given_events), erasure("ada", times[1])]
    log.append(Stream.EVENTS, pairs, NOW)
    run(log, store, letters, batch=batch)
    assert_holds(store, given_events, ["ada"], 6.0)


# Stopping, and a store that is slow or away


class SlowStore:
    """A store that says when it begins to apply a batch, and goes on when it may."""

    def __init__(self, store: ProfileStore) -> None:
        self._store = store
        self.applying, self.go_on = Signal(), Signal()
        self.checkpoints, self.checkpoint = store.checkpoints, store.checkpoint

    def apply(self, batches: Sequence[UserBatch]) -> None:
        self.applying.set()
        assert self.go_on.wait(LONG)
        self._store.apply(batches)


def test_a_stop_finishes_and_records_the_batch_in_flight(
    log: SqliteLog, store: ProfileStore, letters: DeadLetters
) -> None:
    given_events = [view(f"e{n}", float(n), f"i{n}") for n in range(40)]
    positions = log.append(Stream.EVENTS, [pair(event) for event in given_events], NOW)
    slow, stop, reported = SlowStore(store), Signal(), list[Applied]()
    following = Thread(
        target=lambda: run(log, slow, letters, until_end=False, stop=stop, batch=2, report=reported.append)
    )
    following.start()
    assert slow.applying.wait(LONG)
    stop.set()
    slow.go_on.set()
    following.join(LONG)
    assert not following.is_alive()
    [mark] = store.checkpoints(EVENTS_OF_GROUP)
    done = positions.index(mark.position) + 1
    assert 2 <= done < 40
    assert sum(applied.records for applied in reported) == done
    assert_holds(store, given_events[:done], [USER])
    with closing(log.consumer(Stream.EVENTS, GROUP)) as consumer:
        assert consumer.read(1, 0.0)[0].position == positions[done]


def test_a_stop_before_the_start_reads_nothing(log: SqliteLog, store: ProfileStore, letters: DeadLetters) -> None:
    log.append(Stream.EVENTS, [pair(view("e", 1.0))], NOW)
    stopped = Signal()
    stopped.set()
    assert run(log, store, letters, until_end=False, stop=stopped) == []
    assert store.checkpoints(EVENTS_OF_GROUP) == []


def test_a_stop_while_the_store_is_away_ends_and_records_nothing(
    log: SqliteLog, store: ProfileStore, letters: DeadLetters
) -> None:
    log.append(Stream.EVENTS, [pair(view("e", 1.0))], NOW)
    stop = Signal()

    class Away:
        def __init__(self) -> None:
            self.checkpoints, self.checkpoint = store.checkpoints, store.checkpoint

        def apply(self, batches: Sequence[UserBatch]) -> None:
            stop.set()
            raise StoreUnavailable("away")

    assert run(log, Away(), letters, until_end=False, stop=stop) == []
    assert store.checkpoints(EVENTS_OF_GROUP) == []
    run(log, store, letters)
    assert_holds(store, [view("e", 1.0)], [USER])


def test_one_batch_is_in_flight_and_one_in_hand_while_the_store_is_slow(
    log: SqliteLog, store: ProfileStore, letters: DeadLetters
) -> None:
    given_events = [view(f"e{n}", float(n), f"i{n}") for n in range(12)]
    log.append(Stream.EVENTS, [pair(event) for event in given_events], NOW)
    held, most, second_read, overrun = [0], [0], Signal(), Signal()

    class Counting:
        """Counts the batches that were read and not yet applied."""

        def __init__(self, consumer: Consumer) -> None:
            self._consumer = consumer
            self.stream, self.log_id, self.partitions = consumer.stream, consumer.log_id, consumer.partitions
            self.seek, self.commit, self.lag = consumer.seek, consumer.commit, consumer.lag

        def read(self, records: int, wait: float) -> list[Record]:
            read = self._consumer.read(records, wait)
            if read:
                held[0] += 1
                most[0] = max(most[0], held[0])
                (overrun if held[0] > 2 else second_read if held[0] == 2 else Signal()).set()
            return read

    class Slow:
        def __init__(self) -> None:
            self.checkpoints, self.checkpoint = store.checkpoints, store.checkpoint

        def apply(self, batches: Sequence[UserBatch]) -> None:
            assert second_read.wait(LONG)  # the next batch is read while this one is being applied
            overrun.wait(0.1)  # time enough to read a third, which must not happen
            store.apply(batches)
            held[0] -= 1

    run(log, Slow(), letters, wrap=Counting, batch=3)
    assert most[0] == 2
    assert_holds(store, given_events, [USER])


class Flaky:
    """Something whose methods of these names fail now and then, before or after they did what was asked."""

    def __init__(self, inner: Any, error: type[Exception], *methods: str) -> None:
        self._inner, self._error, self._methods = inner, error, methods
        self._fails = chain(["before", "", "after"], cycle(random.Random(0).choices(["before", "after", ""], k=97)))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in self._methods:
            return method

        def call(*arguments: Any, **more: Any) -> Any:
            fails = next(self._fails)
            if fails == "before":
                raise self._error("away")
            done = method(*arguments, **more)
            if fails == "after":
                raise self._error("away")
            return done

        return call


@pytest.mark.parametrize("methods", [["checkpoints"], ["apply"], ["checkpoint"], ["apply", "checkpoint"]])
def test_a_store_that_comes_and_goes_is_asked_again_until_all_is_applied(
    log: SqliteLog,
    store: ProfileStore,
    letters: DeadLetters,
    methods: list[str],
) -> None:
    given_events = [view(f"e{n}", float(n), f"i{n}") for n in range(12)]
    positions = log.append(Stream.EVENTS, [pair(event) for event in given_events], NOW)
    reported = run(log, Flaky(store, StoreUnavailable, *methods), letters, batch=5)
    assert sum(applied.records for applied in reported) == 12
    assert_holds(store, given_events, [USER])
    assert [mark.position for mark in store.checkpoints(EVENTS_OF_GROUP)] == [positions[-1]]


@pytest.mark.parametrize("method", ["seek", "commit"])
def test_a_log_that_comes_and_goes_is_asked_again_until_all_is_applied(
    log: SqliteLog, store: ProfileStore, letters: DeadLetters, method: str
) -> None:
    given_events = [view(f"e{n}", float(n), f"i{n}") for n in range(12)]
    positions = log.append(Stream.EVENTS, [pair(event) for event in given_events], NOW)
    reported = run(log, store, letters, wrap=lambda consumer: Flaky(consumer, LogUnavailable, method), batch=5)
    assert sum(applied.records for applied in reported) == 12
    assert_holds(store, given_events, [USER])
    assert [mark.position for mark in store.checkpoints(EVENTS_OF_GROUP)] == [positions[-1]]


def test_a_log_that_cannot_be_read_for_a_moment_is_read_again(
    log: SqliteLog, store: ProfileStore, letters: DeadLetters
) -> None:
    given_events = [view(f"e{n}", float(n), f"i{n}") for n in range(12)]
    log.append(Stream.EVENTS, [pair(event) for event in given_events], NOW)

    class Refusing(Flaky):
        """Fails before it reads, for what was read and lost would be the consumer's fault."""

        def read(self, most: int, wait: float) -> list[Record]:
            if next(self._fails):
                raise LogUnavailable("away")
            return list(self._inner.read(most, wait))

    run(log, store, letters, wrap=lambda consumer: Refusing(consumer, LogUnavailable), batch=5)
    assert_holds(store, given_events, [USER])


def test_dead_letters_that_cannot_be_kept_for_a_moment_are_kept_after_it(
    log: SqliteLog, store: ProfileStore, letters: DeadLetters
) -> None:
    good = view("e", 1.0)
    log.append(Stream.EVENTS, [("ada", b"junk"), pair(good), ("ada", b"more junk")], NOW)
    run(log, store, Flaky(letters, LogUnavailable, "add"))
    assert [letter.value for letter in letters.list()] == [b"junk", b"more junk"]
    assert_holds(store, [good], [USER])


def test_an_error_that_waiting_cannot_mend_rises(log: SqliteLog, store: ProfileStore, letters: DeadLetters) -> None:
    log.append(Stream.EVENTS, [pair(view("e", 1.0))], NOW)
    with pytest.raises(ZeroDivisionError):
        run(log, Flaky(store, ZeroDivisionError, "apply"), letters)
    assert store.checkpoints(EVENTS_OF_GROUP) == []


def test_a_server_killed_beneath_the_ingest_and_started_again_ends_in_the_same_bytes(
    home: Path, log: SqliteLog, letters: DeadLetters
) -> None:
    given_events = [view(f"e{n}", float(n % 50), f"i{n % 40}") for n in range(400)]
    log.append(Stream.EVENTS, [pair(event) for event in given_events[:200]], NOW)
    stop, batches = Signal(), iter([Signal(), Signal(), Signal()])
    waited = [next(batches) for _ in range(2)]

    def report(applied: Applied) -> None:
        waited[0].set()
        if applied.last_appended > NOW:
            waited[1].set()

    with EmbeddedServer(home) as server:
        pid = int((server.folder / "server.pid").read_text())
        with closing(ProfileStore(connect_for_ingest(server.url), limit=LIMIT)) as store:
            following = Thread(
                target=lambda: run(log, store, letters, until_end=False, stop=stop, batch=3, report=report)
            )
            following.start()
            assert waited[0].wait(LONG)
            os.kill(pid, signal.SIGKILL)
            log.append(Stream.EVENTS, [pair(event) for event in given_events[200:]], NOW + 1)
            with EmbeddedServer(home):
                assert waited[1].wait(LONG)
                stop.set()
                following.join(LONG)
                run(log, store, letters)
                assert_holds(store, given_events, [USER])


# Items


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20, derandomize=True)
@given(st.permutations(range(6)), st.integers(1, 4), st.lists(st.integers(0, 5), max_size=3))
def test_the_last_version_of_an_item_wins_in_any_order(
    store: ProfileStore,
    letters: DeadLetters,
    open_log: Callable[..., SqliteLog],
    order: list[int],
    batch: int,
    repeated: list[int],
) -> None:
    identity = ItemId(f"item-{next(numbers)}")
    log = open_log(2)
    for number in order + repeated:
        version = Item(identity, f"title {number}", hidden=number % 2 == 0, added=float(number))
        log.append(Stream.ITEMS, [(identity, encode_item(version))], NOW)
    run(log, store, letters, Stream.ITEMS, batch=batch)
    assert [item for item in store.items() if item.id == identity] == [Item(identity, "title 5", added=5.0)]


def test_of_item_versions_without_a_time_the_one_appended_last_wins(
    log: SqliteLog, store: ProfileStore, letters: DeadLetters
) -> None:
    for number in range(8):
        for second, title in enumerate(["old", "new"]):
            value = orjson.dumps({"item_id": f"i{number}", "title": f"{title} {number}"})
            log.append(Stream.ITEMS, [(f"i{number}", value)], NOW + 10 * number + second)
    for later in (1000, 2000):
        run(log, store, letters, Stream.ITEMS, clock=lambda later=later: NOW + later)
        assert sorted(item.title for item in store.items()) == [f"new {n}" for n in range(8)]


def test_events_and_items_are_followed_side_by_side_with_marks_of_their_own(
    log: SqliteLog, store: ProfileStore, letters: DeadLetters
) -> None:
    item = Item(ItemId("i1"), "Kolya", added=NOW)
    log.append(Stream.ITEMS, [("i1", encode_item(item))], NOW)
    log.append(Stream.EVENTS, [pair(view(f"e{n}", float(n), "i1")) for n in range(5)], NOW)
    run(log, store, letters)
    run(log, store, letters, Stream.ITEMS)
    assert list(store.items()) == [item]
    assert len(store.read([USER])[0].events) == 5
