"""The encode worker: every user's stored vector becomes that of the profile, whatever happens on the way."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Event as Signal
from threading import Thread

import numpy as np
import pytest
from numpy.typing import NDArray
from toy_encoder import ToyEncoder

from features.errors import StoreUnavailable
from features.events import Erasure, Event, EventId, ItemId, UserId, encode_erasure, encode_event, user_digest
from features.profiles import ProfileStore, connect_for_ingest
from models.recommender import Query
from services import behind
from services.behind import BATCH
from services.encode import GROUP, Encoded, Vectors, follow
from streaming import ingest
from streaming.dead_letters import DeadLetters
from streaming.ingest import into_profiles
from streaming.log import Stream
from streaming.sqlite_log import SqliteLog

NOW = 1_700_000_000.0
numbers = count()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of a moment, where a service waits for people and for servers."""
    for module in (behind, ingest):
        monkeypatch.setattr(module, "WAIT_SECONDS", 0.001)
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)


@pytest.fixture
def log(home: Path) -> Iterator[SqliteLog]:
    with closing(SqliteLog(home / "log.sqlite", partitions=2)) as log:
        yield log


@pytest.fixture
def letters(home: Path, log: SqliteLog) -> Iterator[DeadLetters]:
    with closing(DeadLetters(home / "dead_letters.sqlite")) as letters:
        yield letters


class Worker:
    """The log, the ingest and the encode worker of one test."""

    def __init__(self, log: SqliteLog, letters: DeadLetters, store: ProfileStore) -> None:
        self.log, self.letters, self.store = log, letters, store

    def append(self, *pairs: tuple[str, str], at: float = NOW) -> None:
        """Each user with an item, a second after the one before."""
        events = [
            Event(EventId(f"e{next(numbers)}"), UserId(user), ItemId(item), "view", None, at + place)
            for place, (user, item) in enumerate(pairs)
        ]
        self.log.append(Stream.EVENTS, [(event.user, encode_event(event)) for event in events], NOW)

    def ingest(self) -> None:
        with closing(self.log.consumer(Stream.EVENTS, "ingest")) as consumer:
            prepare = into_profiles(self.store, self.letters, lambda: NOW)
            ingest.follow(consumer, prepare, self.store, "ingest", Signal(), until_end=True)

    def erase(self, user: str, at: float) -> None:
        digest = user_digest(UserId(user))
        self.log.append(Stream.EVENTS, [(digest, encode_erasure(Erasure(digest, at)))], NOW)

    def run(self, encoder: ToyEncoder, at_once: int = 256, stop: Signal | None = None) -> tuple[Encoded, int]:
        """Until the log's end, without patience for the ingest: (what was done, records left to the ingest)."""
        reports = [Encoded()]
        with closing(self.log.consumer(Stream.EVENTS, GROUP)) as consumer:
            left = follow(
                consumer,
                self.store,
                lambda: Vectors.of(encoder),
                stop or Signal(),
                until_end=True,
                at_once=at_once,
                patience=0.0,
                report=reports.append,
            )
        return sum(reports, Encoded()), left

    def vectors(self, *users: str, model: str = "toy") -> dict[str, list[float] | None]:
        """What is stored and fresh."""
        read = self.store.read_with_vectors([UserId(user) for user in users], model)
        return {
            history.user: vector.vector_D.tolist() if vector is not None and vector.as_of == history.as_of else None
            for history, vector in read
        }


@pytest.fixture
def worker(log: SqliteLog, letters: DeadLetters, store: ProfileStore) -> Worker:
    return Worker(log, letters, store)


def test_after_their_events_users_have_the_vectors_of_their_profiles(worker: Worker) -> None:
    worker.append(("ada", "1"), ("bob", "7"), ("ada", "2"))
    worker.ingest()
    assert worker.run(ToyEncoder()) == (Encoded(records=3, users=2, written=2), 0)
    assert worker.vectors("ada", "bob", "eve") == {"ada": [2.0, 3.0, 2.0], "bob": [1.0, 7.0, 1.0], "eve": None}


def test_users_are_encoded_together(worker: Worker) -> None:
    worker.append(*((f"u{number}", "1") for number in range(10)))
    worker.ingest()
    encoder = ToyEncoder()
    worker.run(encoder, at_once=4)
    assert encoder.sizes == [4, 4, 2]


def test_a_user_who_comes_up_often_is_encoded_once_and_a_fresh_vector_is_left_alone(worker: Worker) -> None:
    for number in range(5):
        worker.append(("ada", str(number)), at=NOW + number)
        worker.ingest()
    encoder = ToyEncoder()
    assert worker.run(encoder)[0].users == 1
    done, _ = worker.run(encoder)  # the records of the last minute, once more
    assert (done.records, done.users, encoder.sizes) == (5, 0, [1])


def test_what_the_ingest_has_not_applied_is_left_for_later(worker: Worker) -> None:
    worker.append(("ada", "1"), at=NOW)
    worker.ingest()
    worker.append(("ada", "2"), at=NOW + 1)
    assert worker.run(ToyEncoder()) == (Encoded(records=1, users=1, written=1), 1)
    assert worker.vectors("ada") == {"ada": [1.0, 1.0, 0.0]}
    worker.ingest()
    assert worker.vectors("ada") == {"ada": None}
    assert worker.run(ToyEncoder())[1] == 0
    assert worker.vectors("ada") == {"ada": [2.0, 3.0, 1.0]}


def test_a_partition_that_the_ingest_has_not_come_to_keeps_no_other_waiting(worker: Worker) -> None:
    users = [f"u{number}" for number in range(8)]
    here = [user for user in users if worker.log.partition_of(user) == 0]
    there = [user for user in users if worker.log.partition_of(user) == 1]
    worker.append(*((user, "1") for user in here))
    worker.ingest()
    worker.append(*((user, "1") for user in there))
    assert worker.run(ToyEncoder())[1] == len(there) > 0
    assert [vector is not None for vector in worker.vectors(*here).values()] == [True] * len(here)


def test_a_new_model_starts_at_the_beginning_and_the_one_before_keeps_its_vectors(worker: Worker) -> None:
    worker.append(("ada", "1"), ("bob", "7"))
    worker.ingest()
    worker.run(ToyEncoder())
    worker.append(("bob", "1"), at=NOW + 5)
    worker.ingest()
    assert worker.run(ToyEncoder("new", scale=10.0))[0] == Encoded(records=3, users=2, written=2)
    assert worker.vectors("ada", "bob", model="new") == {"ada": [10.0, 10.0, 0.0], "bob": [20.0, 80.0, 50.0]}
    assert worker.vectors("ada", "bob") == {"ada": [1.0, 1.0, 0.0], "bob": None}
    assert worker.run(ToyEncoder())[0].written == 1  # rolled back: only who has done something since
    assert worker.vectors("bob") == {"bob": [2.0, 8.0, 5.0]}


def test_a_model_that_changes_while_the_log_is_followed_takes_every_user_over(worker: Worker) -> None:
    worker.append(("ada", "1"), ("bob", "7"))
    worker.ingest()
    encoders, stop = [ToyEncoder(None), ToyEncoder(), ToyEncoder("new", scale=10.0)], Signal()
    reports: list[Encoded] = []

    def report(encoded: Encoded) -> None:
        reports.append(encoded)
        if len(reports) == 2:
            stop.set()

    with closing(worker.log.consumer(Stream.EVENTS, GROUP)) as consumer:
        # None is waited for; then each answers one call until its batch is reported.
        current = iter([encoders[0]])
        follow(
            consumer,
            worker.store,
            lambda: Vectors.of(next(current, encoders[1 + len(reports)])),
            stop,
            report=report,
        )
    assert reports == [Encoded(records=2, users=2, written=2)] * 2
    assert worker.vectors("ada") == {"ada": [1.0, 1.0, 0.0]}
    assert worker.vectors("ada", model="new") == {"ada": [10.0, 10.0, 0.0]}


def test_without_an_encoder_there_is_nothing_to_do(worker: Worker) -> None:
    worker.append(("ada", "1"))
    worker.ingest()
    assert worker.run(ToyEncoder(None)) == (Encoded(), 0)


def test_who_was_erased_has_no_vector_and_what_is_no_event_keeps_nobody_waiting(worker: Worker) -> None:
    worker.append(("ada", "1"), ("bob", "7"))
    worker.erase("ada", NOW + 100)
    worker.log.append(Stream.EVENTS, [("bob", b"no JSON"), ("cem", b"{}")], NOW)
    worker.ingest()
    assert worker.run(ToyEncoder()) == (Encoded(records=5, users=1, written=1), 0)
    assert worker.store.vectors(UserId("ada")) == ()
    assert worker.vectors("ada", "bob", "cem") == {"ada": None, "bob": [1.0, 7.0, 1.0], "cem": None}


class Meanwhile(ToyEncoder):
    """Something happens while it encodes."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self.happens = happens

    def vectors(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        self.happens()
        return super().vectors(queries)


def test_an_erasure_while_a_user_is_encoded_leaves_no_vector(worker: Worker) -> None:
    worker.append(("ada", "1"), ("bob", "7"))
    worker.ingest()

    def erase() -> None:
        worker.erase("ada", NOW + 100)
        worker.ingest()

    done, left = worker.run(Meanwhile(erase))
    assert (done.users, done.written, left) == (2, 1, 0)
    assert worker.store.vectors(UserId("ada")) == ()


def test_an_event_while_a_user_is_encoded_brings_the_user_up_again(worker: Worker) -> None:
    worker.append(("ada", "1"))
    worker.ingest()
    more = iter(["2", "3"])

    def act() -> None:
        if item := next(more, None):
            worker.append(("ada", item), at=NOW + int(item))
            worker.ingest()

    done, _ = worker.run(Meanwhile(act))
    assert (done.records, done.users, done.written) == (3, 3, 1)
    assert worker.vectors("ada") == {"ada": [3.0, 6.0, 3.0]}


class Failing(ToyEncoder):
    """Fails for a batch that holds this user, or gives it no number."""

    def __init__(self, error: BaseException | None) -> None:
        super().__init__()
        self.error = error

    def vectors(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        vectors_BD = super().vectors(queries)
        for place, query in enumerate(queries):
            if query.user == "mad" and self.error:
                raise self.error
            if query.user == "mad":
                vectors_BD[place] = np.nan
        return vectors_BD


@pytest.mark.parametrize("error", [ValueError("no"), None])
def test_users_who_cannot_be_encoded_are_left_out_and_said(
    worker: Worker, error: ValueError | None, caplog: pytest.LogCaptureFixture
) -> None:
    worker.append(("ada", "1"), ("mad", "1"), ("bob", "7"))
    worker.ingest()
    done, left = worker.run(Failing(error), at_once=1)
    assert (done, left) == (Encoded(records=3, users=3, written=2, failed=1), 0)
    assert worker.vectors("ada", "mad", "bob") == {"ada": [1.0, 1.0, 0.0], "mad": None, "bob": [1.0, 7.0, 2.0]}
    assert "1 users could not be encoded" in caplog.text


def test_one_who_has_no_number_takes_nobody_along(worker: Worker) -> None:
    worker.append(("ada", "1"), ("mad", "1"), ("bob", "7"))
    worker.ingest()
    done, _ = worker.run(Failing(None), at_once=3)
    assert (done.users, done.written, done.failed) == (3, 2, 1)
    assert worker.vectors("ada", "mad", "bob") == {"ada": [1.0, 1.0, 0.0], "mad": None, "bob": [1.0, 7.0, 2.0]}


class CutOff(ToyEncoder):
    """Ends at its call of this number, with what was in hand."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last = last

    def vectors(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        if len(self.sizes) == self.last:
            raise KeyboardInterrupt
        return super().vectors(queries)


def test_cut_off_at_any_batch_it_goes_on_to_the_same_vectors(worker: Worker) -> None:
    users = [f"u{number}" for number in range(7)]
    expected = {user: [1.0, float(place), float(place)] for place, user in enumerate(users)}
    worker.append(*((user, str(place)) for place, user in enumerate(users)))
    worker.ingest()
    for last in range(4):
        encoder = CutOff(last)
        encoder.encoder_model = f"toy-{last}"
        with pytest.raises(KeyboardInterrupt):
            worker.run(encoder, at_once=2)
        assert worker.store.checkpoints(f"encode:toy-{last}:events") == []
        assert worker.run(ToyEncoder(f"toy-{last}"))[0].written == len(users) - 2 * last
        assert worker.vectors(*users, model=f"toy-{last}") == expected


def test_killed_again_and_again_it_ends_in_the_vectors_of_the_profiles(
    worker: Worker, home: Path, redis_url: str
) -> None:
    tenant = f"encode-{next(numbers)}"
    users = [f"u{number}" for number in range(40)]
    with closing(ProfileStore(connect_for_ingest(redis_url), tenant, 6)) as store:
        worker = Worker(worker.log, worker.letters, store)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        script = Path(__file__).with_name("encode_until_killed.py")
        for round_ in range(3):
            worker.append(*((user, str(round_)) for user in users), at=NOW + 1000 * round_)
            worker.ingest()
            command = [sys.executable, script, worker.log.path, redis_url, tenant]
            with subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            ) as process:
                assert process.stdin
                assert process.stdout
                process.stdin.write(b"go on\n" * 4)
                process.stdin.flush()
                asked = [process.stdout.readline() for _ in range(5)]
                process.kill()
            assert asked == [b"2\n"] * 5
            fresh = sum(vector is not None for vector in worker.vectors(*users).values())
            assert fresh == 8
        worker.run(ToyEncoder())
        assert worker.vectors(*users) == {user: [3.0, 3.0, 2000.0 + place] for place, user in enumerate(users)}


class Flaky:
    """A store that does not answer the first calls."""

    def __init__(self, store: ProfileStore, failures: int) -> None:
        self._store, self._failures = store, failures

    def __getattr__(self, name: str) -> object:
        if name in ("checkpoints", "read_with_vectors", "write_vectors", "checkpoint") and self._failures:
            self._failures -= 1
            raise StoreUnavailable("down")
        return getattr(self._store, name)


def test_while_the_store_does_not_answer_it_tries_again(worker: Worker) -> None:
    worker.append(("ada", "1"), ("bob", "7"))
    worker.ingest()
    worker.store = Flaky(worker.store, failures=6)  # type: ignore[assignment]
    assert worker.run(ToyEncoder())[1] == 0
    assert worker.vectors("ada") == {"ada": [1.0, 1.0, 0.0]}


def test_it_stops_while_it_waits_for_the_ingest(worker: Worker) -> None:
    worker.append(("ada", "1"))
    stop, left = Signal(), list[int]()
    with closing(worker.log.consumer(Stream.EVENTS, GROUP)) as consumer:
        thread = Thread(
            target=lambda: left.append(follow(consumer, worker.store, lambda: Vectors.of(ToyEncoder()), stop))
        )
        thread.start()
        stop.wait(0.1)
        stop.set()
        thread.join(20.0)
    assert left == [1]


def test_no_more_is_read_than_it_can_hold(worker: Worker) -> None:
    many = [
        ("ada", encode_event(Event(EventId(f"e{n}"), UserId("ada"), ItemId("1"), "view", None, NOW)))
        for n in range(BATCH + 9)
    ]
    worker.log.append(Stream.EVENTS, many, NOW)
    assert worker.run(ToyEncoder())[1] == BATCH
