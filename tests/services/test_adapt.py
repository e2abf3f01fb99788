"""The adapt worker: every user's stored state is that of all the user's events in the order of the log, each of which
has had its turn once, whatever happens on the way."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Event as Signal

import pytest
from toy_adapter import ToyAdapter

from features.errors import StoreUnavailable
from features.events import UserId
from features.profile import Position, WeightUpdate
from features.profiles import ProfileStore, connect_for_ingest
from features.updates import StoredUpdate
from models.stream_adapter.state import State
from services.adapt import GROUP, Adapted, Adapting
from services.behind import follow
from streaming.dead_letters import DeadLetters
from streaming.log import Stream
from streaming.sqlite_log import SqliteLog
from tests.services.test_encode import NOW, Worker, letters, log, patience

__all__ = ["letters", "log", "patience"]

numbers = count()


class AdaptWorker(Worker):
    """The log, the ingest and the adapt worker of one test. Items are their own words."""

    def run_adapt(
        self, adapter: ToyAdapter | None = None, model: str = "toy", at_once: int = 1, stop: Signal | None = None
    ) -> Adapted:
        """Until the log's end, without patience for the ingest."""
        reports = [Adapted()]
        adapting = Adapting(adapter or ToyAdapter(), model, str, self.store, at_once)
        with closing(self.log.consumer(Stream.EVENTS, GROUP)) as consumer:
            follow(
                consumer,
                self.store,
                lambda: adapting,
                stop or Signal(),
                until_end=True,
                patience=0.0,
                report=reports.append,
            )
        return sum(reports, Adapted())

    def updates(self, *users: str, model: str = "toy") -> dict[str, WeightUpdate | None]:
        return {one.user: one.update for one in self.store.read_updates([UserId(user) for user in users], model)}

    def state(self, user: str, model: str = "toy") -> tuple[list[float], str, int] | None:
        """(memory, tail in letters, chunks) as stored."""
        update = self.updates(user, model=model)[user]
        return None if update is None or not update.state else shown(State.from_bytes(update.state))


def shown(state: State) -> tuple[list[float], str, int]:
    return state.memory_LQD.ravel().tolist(), "".join(map(chr, state.tail_T)), state.chunks


def expected(*items: str) -> tuple[list[float], str, int]:
    """The state after these items, read at once."""
    adapter = ToyAdapter()
    return shown(adapter.advance([adapter.fresh()], [[ord(letter) for item in items for letter in item]])[0])


@pytest.fixture
def worker(log: SqliteLog, letters: DeadLetters, store: ProfileStore) -> AdaptWorker:
    return AdaptWorker(log, letters, store)


def last_of(worker: AdaptWorker, user: str) -> Position:
    with closing(worker.log.consumer(Stream.EVENTS, None)) as consumer:
        return [record.position for record in consumer.read(1000, 0.0) if record.key == user][-1]


def test_a_state_is_that_of_all_events_and_stands_at_the_last(worker: AdaptWorker) -> None:
    worker.append(("ada", "abc"), ("bob", "zz"), ("ada", "de"))
    worker.ingest()
    assert worker.run_adapt() == Adapted(3, 2, newest=NOW)
    assert worker.state("ada") == ([10.0, 1.0], "e", 1)  # a + b + c + d
    assert worker.state("bob") == ([0.0, 0.0], "zz", 0)
    for user, update in worker.updates("ada", "bob").items():
        assert update is not None
        assert update.as_of == last_of(worker, user)
    assert worker.updates("eve") == {"eve": None}


def test_what_is_new_is_put_behind_what_was_and_old_events_are_not_read_again(worker: AdaptWorker) -> None:
    told: list[str] = []
    for number, item in enumerate(["abc", "de", "fghij", "k"]):
        worker.append(("ada", item), at=NOW + number)
        worker.ingest()
        adapter = ToyAdapter()
        assert worker.run_adapt(adapter).users == 1  # and the records of the last minute once more
        assert adapter.sizes == [1]
        told.append(item)
        assert worker.state("ada") == expected(*told)


@pytest.mark.parametrize("at_once", [1, 2, 64])
def test_however_users_and_events_are_cut_into_batches_the_states_are_the_same(
    worker: AdaptWorker, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.behind.BATCH", 2 + at_once % 3)
    items = [("ada", "ab"), ("bob", "cdefg"), ("ada", "*hi"), ("cem", "!!"), ("bob", "j"), ("cem", "kl"), ("ada", "mn")]
    worker.append(*items, *items)
    worker.ingest()
    done = worker.run_adapt(at_once=at_once)
    assert (done.records, done.failed) == (14, 0)
    assert worker.state("ada") == expected("ab", "mn", "ab", "mn")
    assert worker.state("bob") == expected("cdefg", "j", "cdefg", "j")
    assert worker.state("cem") == ([0.0, 0.0], "!!", 0) or worker.state("cem") == expected("kl", "kl")


def test_an_event_without_an_item_moves_the_position_alone(worker: AdaptWorker) -> None:
    worker.append(("ada", "abcde"))
    worker.log.append(Stream.EVENTS, [("ada", b'{"event_id":"e","user_id":"ada","type":"search","timestamp":5}')], NOW)
    worker.ingest()
    worker.run_adapt()
    update = worker.updates("ada")["ada"]
    assert update is not None
    assert update.as_of == last_of(worker, "ada")
    assert worker.state("ada") == expected("abcde")


@pytest.mark.parametrize("absurd", ["!", "*", "!*" * 30])
def test_absurd_events_are_refused_and_change_neither_their_users_state_nor_anybody_elses(
    worker: AdaptWorker, absurd: str
) -> None:
    worker.append(("ada", "abcd"), ("bob", "efgh"))
    worker.ingest()
    worker.run_adapt(at_once=64)
    worker.append(("ada", f"{absurd}xyz"), ("bob", "ijkl"), ("ada", "mnop"), at=NOW + 9)
    worker.ingest()
    assert worker.run_adapt(at_once=64).refused == 1
    assert worker.state("ada") == expected("abcd", "mnop")
    assert worker.state("bob") == expected("efgh", "ijkl")


def test_what_the_ingest_has_not_applied_is_left_for_later(worker: AdaptWorker) -> None:
    worker.append(("ada", "abcd"))
    worker.ingest()
    worker.append(("ada", "efgh"), at=NOW + 1)
    assert worker.run_adapt().records == 1
    assert worker.state("ada") == expected("abcd")
    worker.ingest()
    worker.run_adapt()
    assert worker.state("ada") == expected("abcd", "efgh")


def test_a_new_model_begins_at_the_beginning_and_the_one_before_goes_on_where_it_was(worker: AdaptWorker) -> None:
    worker.append(("ada", "abcd"))
    worker.ingest()
    worker.run_adapt()
    worker.append(("ada", "efgh"), at=NOW + 1)
    worker.ingest()
    worker.run_adapt(model="new")
    assert worker.state("ada", "new") == expected("abcd", "efgh")
    assert worker.state("ada") == expected("abcd")
    worker.run_adapt()
    assert worker.state("ada") == expected("abcd", "efgh")


def test_who_was_erased_has_none_and_what_was_before_does_not_come_back(worker: AdaptWorker) -> None:
    worker.append(("ada", "abcd"), ("bob", "efgh"))
    worker.ingest()
    worker.run_adapt()
    worker.append(("ada", "ijkl"), at=NOW + 5)
    worker.erase("ada", NOW + 9)
    worker.append(("ada", "late"), at=NOW + 6)
    worker.append(("ada", "new"), at=NOW + 20)
    worker.ingest()
    worker.run_adapt()
    assert worker.state("ada") == expected("new")
    assert worker.state("bob") == expected("efgh")
    worker.store.forget_updates(GROUP)
    worker.run_adapt()
    assert worker.state("ada") == expected("new")


class Meanwhile(ToyAdapter):
    """Something happens while a state is put forward, once."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__()
        self.happens: list[Callable[[], object]] = [happens]

    def advance(self, states: Sequence[State], tokens: Sequence[Sequence[int]]) -> list[State]:
        if self.happens:
            self.happens.pop()()
        return super().advance(states, tokens)


def test_an_erasure_while_a_state_is_put_forward_leaves_none(worker: AdaptWorker) -> None:
    worker.append(("ada", "abcd"), ("bob", "efgh"))
    worker.ingest()

    def erase() -> None:
        worker.erase("ada", NOW + 100)
        worker.ingest()

    worker.run_adapt(Meanwhile(erase), at_once=64)
    assert worker.updates("ada") == {"ada": None}
    assert worker.state("bob") == expected("efgh")


def test_a_reset_while_a_state_is_put_forward_takes_what_was_before_it(worker: AdaptWorker) -> None:
    worker.append(("ada", "abcd"))
    worker.ingest()
    worker.run_adapt()
    worker.append(("ada", "efgh"), at=NOW + 1)
    worker.ingest()
    worker.run_adapt(Meanwhile(lambda: worker.store.reset_updates(UserId("ada"))))
    assert worker.state("ada") == expected("efgh")


@pytest.mark.parametrize("is_everybody", [False, True])
def test_after_a_reset_new_events_count_and_old_ones_do_not_come_back(worker: AdaptWorker, is_everybody: bool) -> None:
    worker.append(("ada", "abcd"))
    worker.ingest()
    worker.run_adapt()
    before = worker.updates("ada")["ada"]
    if is_everybody:
        worker.store.reset_all_updates()
    else:
        worker.store.reset_updates(UserId("ada"))
    worker.run_adapt()  # the records of the last minute, once more
    after = worker.updates("ada")["ada"]
    assert before is not None
    assert after == WeightUpdate(b"", "toy", before.as_of)
    worker.append(("ada", "efgh"), at=NOW + 1)
    worker.ingest()
    worker.run_adapt()
    assert worker.state("ada") == expected("efgh")


def test_made_anew_from_the_log_states_are_the_same_bytes(worker: AdaptWorker) -> None:
    users = [f"u{number}" for number in range(5)]
    for number in range(6):
        worker.append(*((user, "abcdefgh"[number : number + 3]) for user in users), at=NOW + 10 * number)
        worker.ingest()
        worker.run_adapt(at_once=3)
    streamed = worker.updates(*users)
    worker.store.reset_updates(UserId("u1"))
    assert worker.store.forget_updates(GROUP) == 5
    assert set(worker.updates(*users).values()) == {None}
    assert worker.run_adapt().records == 30
    assert worker.updates(*users) == streamed


def test_in_another_log_a_state_begins_anew(worker: AdaptWorker, tmp_path: Path) -> None:
    worker.append(("ada", "abcd"))
    worker.ingest()
    worker.run_adapt()
    with closing(SqliteLog(tmp_path / "other.sqlite", partitions=2)) as other:
        moved = AdaptWorker(other, worker.letters, worker.store)
        moved.append(("ada", "efgh"), at=NOW + 1)
        moved.ingest()
        moved.run_adapt()
        assert moved.state("ada") == expected("efgh")


def test_what_is_damaged_begins_anew(worker: AdaptWorker, caplog: pytest.LogCaptureFixture) -> None:
    worker.append(("ada", "abcd"))
    worker.ingest()
    worker.run_adapt()
    [stored] = worker.store.read_updates([UserId("ada")], "toy")
    assert stored.update is not None
    damaged = WeightUpdate(stored.update.state[:-1], "toy", stored.update.as_of)
    worker.store.write_updates([StoredUpdate(stored.user, damaged, stored.revision)])
    worker.append(("ada", "efgh"), at=NOW + 1)
    worker.ingest()
    worker.run_adapt()
    assert worker.state("ada") == expected("efgh")
    assert "begins anew" in caplog.text


class Failing(ToyAdapter):
    """Fails with a "?"."""

    def advance(self, states: Sequence[State], tokens: Sequence[Sequence[int]]) -> list[State]:
        if any(ord("?") in more for more in tokens):
            raise ValueError("no")
        return super().advance(states, tokens)


def test_a_user_with_whom_the_adapter_fails_takes_nobody_along(
    worker: AdaptWorker, caplog: pytest.LogCaptureFixture
) -> None:
    worker.append(("ada", "abcd"), ("mad", "?"), ("bob", "efgh"))
    worker.ingest()
    done = worker.run_adapt(Failing(), at_once=64)
    assert (done.users, done.failed) == (2, 1)
    assert (worker.state("ada"), worker.state("mad"), worker.state("bob")) == (expected("abcd"), None, expected("efgh"))
    assert "was not put forward" in caplog.text


class Flaky:
    """A store that does not answer the first calls."""

    def __init__(self, store: ProfileStore, failures: int) -> None:
        self._store, self._failures = store, failures

    def __getattr__(self, name: str) -> object:
        if name in ("checkpoints", "read_updates", "write_updates", "checkpoint") and self._failures:
            self._failures -= 1
            raise StoreUnavailable("down")
        return getattr(self._store, name)


@pytest.mark.parametrize("failures", range(8))
def test_while_the_store_does_not_answer_it_tries_again_and_counts_nothing_twice(
    worker: AdaptWorker, failures: int
) -> None:
    worker.append(("ada", "abc"), ("bob", "z"), ("ada", "de"))
    worker.ingest()
    store, worker.store = worker.store, Flaky(worker.store, failures)  # type: ignore[assignment]
    worker.run_adapt()
    worker.store = store
    assert worker.state("ada") == expected("abc", "de")


def test_killed_at_any_point_it_goes_on_to_the_same_bytes(worker: AdaptWorker, redis_url: str) -> None:
    tenant = f"adapt-{next(numbers)}"
    users = [f"u{number}" for number in range(4)]
    with closing(ProfileStore(connect_for_ingest(redis_url), tenant, 6)) as store:
        worker = AdaptWorker(worker.log, worker.letters, store)
        for number, item in enumerate(["abc", "defgh", "*!x"]):
            worker.append(*((user, f"{item}{user}") for user in users), at=NOW + number)
        worker.ingest()
        for asked in (4, 5, 8, 9):  # of a user three steps and a write, of all the checkpoint
            assert len(killed(worker.log.path, redis_url, tenant, asked)) == asked
        worker.run_adapt()
        streamed = worker.updates(*users)
        for user in users:
            assert worker.state(user) == expected(f"abc{user}", f"defgh{user}")
        store.forget_updates(GROUP)
        worker.run_adapt()
        assert worker.updates(*users) == streamed


def killed(log: Path, redis_url: str, tenant: str, asked: int) -> list[bytes]:
    """What a worker has asked until it was killed, before it got its last answer."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    script = Path(__file__).with_name("adapt_until_killed.py")
    command = [sys.executable, str(script), str(log), redis_url, tenant]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"go on\n" * (asked - 1))
        process.stdin.flush()
        said = [process.stdout.readline() for _ in range(asked)]
        process.kill()
    return [one for one in said if one]
