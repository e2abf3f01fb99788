"""Questions that wait together, lists made ahead: what is at hand, what is fresh, and what must not come back."""

from collections.abc import Callable, Iterator, Sequence
from threading import Event as Signal
from threading import Thread

import pytest

from features.errors import Overloaded
from features.events import (
    Erasure,
    Event,
    EventId,
    ItemId,
    UserId,
    encode_erasure,
    encode_event,
    user_digest,
)
from features.profile import Position
from features.profiles import ProfileStore, UserBatch
from models.p5.asks import Answer, Ask
from models.p5.past import Person
from models.p5.templates import Family, Task
from models.queries import NOT_GENERATED, Generated, Query
from services.results import Key
from services.tasking import LISTS, Tasks
from streaming.log import Record
from tests.services.conftest import NOW, wait_until

ANN, BOB, NOBODY = UserId("ann"), UserId("bob"), UserId("nobody")


class ToyWorker:
    """Finds the item that a history ends with, once more, marked; answers with the item it was asked of. `open` lets
    it go on; `batches` says how much was asked at a time, and of whom. It fails when it is broken, and of what is in
    `fails`: items, and users."""

    def __init__(self) -> None:
        self.open = Signal()
        self.open.set()
        self.entered = Signal()
        self.batches: list[tuple[str, list[object]]] = []
        self.broken = False
        self.fails: set[object] = set()

    def answer(self, asks: Sequence[Ask]) -> list[Answer]:
        self._enter("answer", [ask.item for ask in asks])
        return [Answer(Family.RATING, Task.STARS, "rating-1", stars=float(ask.item or 0)) for ask in asks]

    def generate(self, queries: Sequence[Query]) -> list[Generated]:
        self._enter("generate", [query.user for query in queries])
        return [Generated((ItemId(f"after {query.history[-1]}"),), (1.0,)) for query in queries]

    def _enter(self, what: str, asked: list[object]) -> None:
        self.batches.append((what, asked))
        self.entered.set()
        assert self.open.wait(20)
        if self.broken or self.fails.intersection(asked):
            raise ValueError("the model is broken")

    @property
    def answers(self) -> list[list[object]]:
        return [asked for what, asked in self.batches if what == "answer"]


@pytest.fixture
def worker() -> ToyWorker:
    return ToyWorker()


@pytest.fixture
def told() -> list[object]:
    """What was counted."""
    return []


@pytest.fixture
def tasks(store: ProfileStore, worker: ToyWorker, told: list[object]) -> Iterator[Tasks]:
    """At work, for one model."""

    def tell(kept: int, made: int) -> None:
        told.append((kept, made))

    tasks, stop = Tasks(store, told.append, tell, questions_most=3), Signal()
    tasks.use({"m1": worker})
    thread = Thread(target=tasks.run, args=(stop,))
    thread.start()
    try:
        yield tasks
    finally:
        worker.open.set()
        stop.set()
        thread.join()


def chose(store: ProfileStore, user: UserId, item: str, offset: int, at: float | None = None) -> Query:
    """The query of the user after one more event."""
    event = Event(EventId(f"{user}-{offset}"), user, ItemId(item), "view", None, NOW + offset if at is None else at)
    store.apply([UserBatch(user_digest(user), Position("log", 0, offset), [event])])
    [history] = store.read([user])
    return Query(user, history.recent_items(50), history.seen, as_of=history.as_of, oldest=history.oldest)


def record(user: UserId, item: str, offset: int) -> Record:
    event = Event(EventId(f"{user}-{offset}"), user, ItemId(item), "view", None, NOW + offset)
    return Record(Position("log", 0, offset), user, encode_event(event), NOW)


def erasure(user: UserId, at: float) -> Record:
    digest = user_digest(user)
    return Record(Position("log", 0, 10_000), digest, encode_erasure(Erasure(digest, at)), NOW)


def state(tasks: Tasks, query: Query) -> str:
    return tasks.lists("m1", [query])[0].state


def key(user: UserId = ANN, asked: bytes = b"") -> Key:
    return Key(user, "m1", "rating", asked)


def ask(item: int) -> Ask:
    return Ask(Family.RATING, Person([]), item)


def test_a_list_that_is_missing_is_made_behind_and_then_at_hand(tasks: Tasks, store: ProfileStore) -> None:
    query = chose(store, ANN, "alien", 3)
    [first] = tasks.lists("m1", [query])
    assert (first.generated, first.state) == (NOT_GENERATED, "missing")
    assert first.problem == "answered without P5, whose list for this user is being made"
    wait_until(lambda: state(tasks, query) == "fresh")
    [then] = tasks.lists("m1", [query])
    assert (then.generated.items, then.problem) == (("after alien",), "")


def test_when_the_history_moves_on_the_old_list_is_used_and_said_to_be_old_until_the_new_one_is_there(
    tasks: Tasks, store: ProfileStore, worker: ToyWorker
) -> None:
    query = chose(store, ANN, "alien", 3)
    wait_until(lambda: state(tasks, query) == "fresh")
    worker.open.clear()
    query = chose(store, ANN, "brazil", 4)
    [stale] = tasks.lists("m1", [query])
    assert (stale.generated.items, stale.state) == (("after alien",), "stale")
    assert stale.problem == "answered with P5's list as of log:0:3; a newer one is being made"
    worker.open.set()
    wait_until(lambda: state(tasks, query) == "fresh")
    assert tasks.lists("m1", [query])[0].generated.items == ("after brazil",)


def test_an_event_has_the_list_of_its_user_made_anew_once_it_is_in_the_profile(
    tasks: Tasks, store: ProfileStore, worker: ToyWorker
) -> None:
    query = chose(store, ANN, "alien", 3)
    wait_until(lambda: state(tasks, query) == "fresh")
    tasks.take([record(ANN, "brazil", 4), record(BOB, "dune", 5)], NOW)  # the ingest has not come to it
    batches = len(worker.batches)
    query = chose(store, ANN, "brazil", 4)
    wait_until(lambda: state_without_asking(tasks, query))
    assert tasks.lists("m1", [query])[0].generated.items == ("after brazil",)
    assert worker.batches[batches:] == [("generate", [ANN])]  # nobody has asked for a list of Bob's


def state_without_asking(tasks: Tasks, query: Query) -> bool:
    return tasks.results.fresh(Key(query.user, "m1", LISTS), query.as_of) is not None


def test_an_event_that_is_asked_about_before_it_is_known_is_not_forgotten(
    tasks: Tasks, store: ProfileStore, worker: ToyWorker
) -> None:
    query = chose(store, ANN, "alien", 3)
    wait_until(lambda: state(tasks, query) == "fresh")
    tasks.take([record(ANN, "brazil", 4)], NOW)
    assert state(tasks, query) == "fresh"  # of what the profile holds so far
    wait_until(lambda: state_without_asking(tasks, chose(store, ANN, "brazil", 4)))


def test_a_list_that_has_seen_more_than_the_request_is_fresh(tasks: Tasks, store: ProfileStore) -> None:
    before = chose(store, ANN, "alien", 3)
    after = chose(store, ANN, "brazil", 4)
    wait_until(lambda: state(tasks, after) == "fresh")
    assert state(tasks, before) == "fresh"


def test_lists_that_wait_are_made_together(tasks: Tasks, store: ProfileStore, worker: ToyWorker) -> None:
    worker.open.clear()
    first = chose(store, ANN, "alien", 1)
    tasks.lists("m1", [first])
    assert worker.entered.wait(20)
    others = [chose(store, UserId(f"u{number}"), "brazil", 10 + number) for number in range(3)]
    tasks.lists("m1", others + others)
    worker.open.set()
    wait_until(lambda: all(state_without_asking(tasks, query) for query in others))
    assert worker.batches == [("generate", [ANN]), ("generate", ["u0", "u1", "u2"])]


def test_nobody_waits_for_a_list_of_somebody_new_or_without_a_name(
    tasks: Tasks, worker: ToyWorker, told: list[object]
) -> None:
    new, unnamed = tasks.lists("m1", [Query(NOBODY), Query(UserId(""), (ItemId("alien"),))])
    assert (new.generated, new.problem) == (NOT_GENERATED, "")
    assert unnamed.generated == NOT_GENERATED
    assert unnamed.problem == "answered without P5, which makes lists for users only"
    assert worker.batches == told == []


def test_how_lists_were_found_is_counted(tasks: Tasks, store: ProfileStore, told: list[object]) -> None:
    query = chose(store, ANN, "alien", 3)
    tasks.lists("m1", [query])
    wait_until(lambda: state_without_asking(tasks, query))
    tasks.lists("m1", [query, chose(store, ANN, "brazil", 4)])
    assert told == ["missing", "fresh", "stale"]


def test_a_list_that_cannot_be_made_stays_missing_and_is_tried_again_when_it_is_asked_for(
    tasks: Tasks, store: ProfileStore, worker: ToyWorker
) -> None:
    worker.broken = True
    query = chose(store, ANN, "alien", 3)
    assert state(tasks, query) == "missing"
    wait_until(lambda: worker.batches)
    worker.broken = False
    wait_until(lambda: state(tasks, query) == "fresh")


def test_questions_that_wait_are_answered_together_and_before_lists(
    tasks: Tasks, store: ProfileStore, worker: ToyWorker
) -> None:
    worker.open.clear()
    first = tasks.ask(key(asked=b"0"), ask(0), None, None)
    assert worker.entered.wait(20)
    tasks.lists("m1", [chose(store, ANN, "alien", 3)])
    others = [tasks.ask(key(asked=str(item).encode()), ask(item), None, None) for item in (1, 2, 3)]
    worker.open.set()
    assert [future.result(20).stars for future in (first, *others)] == [0.0, 1.0, 2.0, 3.0]
    wait_until(lambda: len(worker.batches) == 3)
    assert worker.batches == [("answer", [0]), ("answer", [1, 2, 3]), ("generate", [ANN])]


def test_an_answer_is_kept_until_the_history_moves_on(tasks: Tasks, worker: ToyWorker, told: list[object]) -> None:
    before, after = Position("log", 0, 3), Position("log", 0, 4)
    for as_of in (before, before, after, after):
        answer = tasks.at_hand(key(), as_of) or tasks.ask(key(), ask(5), as_of, NOW)
        assert answer.result(20).stars == 5.0
        wait_until(lambda as_of=as_of: tasks.results.fresh(key(), as_of))
    assert worker.answers == [[5], [5]]
    assert told == [(0, 1), (1, 0), (0, 1), (1, 0)]


def test_an_answer_made_without_the_history_is_not_kept(tasks: Tasks, worker: ToyWorker) -> None:
    for _ in range(2):
        tasks.ask(key(), ask(5), None, None, keep=False).result(20)
    assert worker.answers == [[5], [5]]
    assert len(tasks.results) == 0


def test_a_question_that_fails_says_so_to_those_who_asked_and_to_nobody_else(tasks: Tasks, worker: ToyWorker) -> None:
    worker.broken = True
    with pytest.raises(ValueError, match="broken"):
        tasks.ask(key(), ask(5), None, None).result(20)
    worker.broken = False
    assert tasks.ask(key(), ask(5), None, None).result(20).stars == 5.0


def test_a_question_that_fails_takes_none_along_that_were_asked_with_it(
    tasks: Tasks, worker: ToyWorker, told: list[object]
) -> None:
    worker.fails = {2}
    worker.open.clear()
    tasks.ask(key(asked=b"0"), ask(0), None, None)
    assert worker.entered.wait(20)
    one, bad, other = (tasks.ask(key(asked=b"%d" % item), ask(item), None, None) for item in (1, 2, 3))
    worker.open.set()
    with pytest.raises(ValueError, match="broken"):
        bad.result(20)
    assert (one.result(20).stars, other.result(20).stars) == (1.0, 3.0)
    assert worker.answers == [[0], [1, 2, 3], [1], [2], [3]]
    assert told == [(0, 1), (0, 2)]


def test_a_list_that_cannot_be_made_takes_none_along(tasks: Tasks, store: ProfileStore, worker: ToyWorker) -> None:
    worker.fails = {BOB}
    worker.open.clear()
    tasks.ask(key(), ask(0), None, None)
    assert worker.entered.wait(20)
    queries = [chose(store, user, "alien", offset) for offset, user in enumerate((ANN, BOB, UserId("cem")))]
    tasks.lists("m1", queries)
    worker.open.set()
    wait_until(lambda: state_without_asking(tasks, queries[0]) and state_without_asking(tasks, queries[2]))
    assert not state_without_asking(tasks, queries[1])


def test_what_nobody_foresaw_fails_those_who_wait_for_it_and_the_work_goes_on(
    store: ProfileStore, worker: ToyWorker
) -> None:
    failures = [RuntimeError("counting failed")]

    def tell(kept: int, made: int) -> None:
        if failures:
            raise failures.pop()

    tasks, stop = Tasks(store, on_answers=tell), Signal()
    tasks.use({"m1": worker})
    thread = Thread(target=tasks.run, args=(stop,))
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="counting failed"):
            tasks.ask(key(), ask(5), None, None).result(20)
        assert tasks.ask(key(), ask(5), None, None).result(20).stars == 5.0
    finally:
        stop.set()
        thread.join()


def test_a_list_of_a_damaged_history_ends_nothing(tasks: Tasks, store: ProfileStore) -> None:
    query = chose(store, ANN, "alien", 3)
    store._client.set(store._keys(user_digest(ANN))[0], b"\0\1\xff")
    tasks.lists("m1", [query])
    assert tasks.ask(key(), ask(5), None, None).result(20).stars == 5.0
    wait_until(lambda: state(tasks, chose(store, BOB, "brazil", 4)) == "fresh")


def test_what_waits_when_the_work_ends_is_refused(store: ProfileStore) -> None:
    tasks, stop = Tasks(store), Signal()
    waits, gone = (tasks.ask(key(asked=b"%d" % item), ask(item), None, None) for item in (1, 2))
    gone.cancel()
    stop.set()
    tasks.run(stop)
    with pytest.raises(Overloaded, match="not answered here any more"):
        waits.result(0)
    with pytest.raises(Overloaded, match="not answered here any more"):
        tasks.ask(key(), ask(5), None, None)


def test_whoever_has_gone_is_not_answered(tasks: Tasks, worker: ToyWorker) -> None:
    worker.open.clear()
    tasks.ask(key(asked=b"1"), ask(1), None, None)
    assert worker.entered.wait(20)
    assert tasks.ask(key(asked=b"2"), ask(2), None, None).cancel()
    stays = tasks.ask(key(asked=b"3"), ask(3), None, None)
    worker.open.set()
    stays.result(20)
    assert worker.answers == [[1], [3]]


def test_more_questions_than_can_be_answered_in_time_are_refused(tasks: Tasks, worker: ToyWorker) -> None:
    worker.open.clear()
    tasks.ask(key(asked=b"0"), ask(0), None, None)
    assert worker.entered.wait(20)
    waiting = [tasks.ask(key(asked=b"%d" % item), ask(item), None, None) for item in (1, 2, 3)]
    with pytest.raises(Overloaded, match="3 questions wait"):
        tasks.ask(key(asked=b"4"), ask(4), None, None)
    worker.open.set()
    assert [future.result(20).stars for future in waiting] == [1.0, 2.0, 3.0]


def test_a_model_that_is_replaced_takes_its_results_along(tasks: Tasks, store: ProfileStore) -> None:
    query = chose(store, ANN, "alien", 3)
    wait_until(lambda: state(tasks, query) == "fresh")
    tasks.ask(key(), ask(5), None, None).result(20)
    tasks.use({"m2": ToyWorker()})
    assert len(tasks.results) == 0
    with pytest.raises(Overloaded, match="m1 has just been replaced"):
        tasks.ask(key(), ask(5), None, None).result(20)
    assert tasks.lists("m2", [query])[0].state == "missing"
    wait_until(lambda: tasks.lists("m2", [query])[0].state == "fresh")


@pytest.fixture
def erased(store: ProfileStore) -> Callable[[UserId, float], None]:
    """Applies an erasure, as the ingest does."""

    def apply(user: UserId, at: float) -> None:
        store.apply([UserBatch(user_digest(user), Position("log", 0, 10_000), [], at)])

    return apply


def test_nothing_is_left_of_an_erased_user(
    tasks: Tasks, store: ProfileStore, erased: Callable[[UserId, float], None]
) -> None:
    query = chose(store, ANN, "alien", 3)
    wait_until(lambda: state(tasks, query) == "fresh")
    tasks.ask(key(), ask(5), query.as_of, NOW + 3).result(20)
    wait_until(lambda: len(tasks.results) == 2)
    tasks.take([erasure(ANN, NOW + 100)], NOW + 200)
    assert len(tasks.results) == 0
    # A question of before the ingest comes to the order is answered, and its answer not kept.
    assert tasks.ask(key(), ask(5), query.as_of, NOW + 3).result(20).stars == 5.0
    assert state(tasks, query) == "missing"
    erased(ANN, NOW + 100)
    after = chose(store, ANN, "dune", 10_300)
    assert after.history == ("dune",)
    wait_until(lambda: state(tasks, after) == "fresh")
    assert tasks.lists("m1", [after])[0].generated.items == ("after dune",)
    assert len(tasks.results) == 1


def test_a_list_of_erased_events_is_not_used_even_before_the_log_has_told_of_the_erasure(
    tasks: Tasks, store: ProfileStore, worker: ToyWorker, erased: Callable[[UserId, float], None]
) -> None:
    query = chose(store, ANN, "alien", 3)
    wait_until(lambda: state(tasks, query) == "fresh")
    worker.open.clear()
    erased(ANN, NOW + 100)
    after = chose(store, ANN, "dune", 10_300)
    [found] = tasks.lists("m1", [after])
    assert (found.generated, found.state) == (NOT_GENERATED, "missing")
    worker.open.set()
    wait_until(lambda: state(tasks, after) == "fresh")
    assert tasks.lists("m1", [after])[0].generated.items == ("after dune",)


def test_a_list_made_of_events_that_made_room_for_newer_ones_is_used_while_it_is_old(
    tasks: Tasks, store: ProfileStore, worker: ToyWorker
) -> None:
    query = chose(store, ANN, "alien", 3)
    wait_until(lambda: state(tasks, query) == "fresh")
    worker.open.clear()
    full = Query(ANN, (ItemId("brazil"),), as_of=Position("log", 0, 4))  # nothing says how old its history is
    assert state(tasks, full) == "stale"


def test_a_list_under_way_when_its_user_is_erased_is_not_kept(
    tasks: Tasks, store: ProfileStore, worker: ToyWorker, erased: Callable[[UserId, float], None]
) -> None:
    worker.open.clear()
    tasks.lists("m1", [chose(store, ANN, "alien", 3)])
    assert worker.entered.wait(20)
    tasks.take([erasure(ANN, NOW + 100)], NOW + 200)
    erased(ANN, NOW + 100)
    worker.open.set()
    tasks.ask(key(BOB), ask(5), None, None).result(20)  # the list is done when this one is
    wait_until(lambda: len(tasks.results) == 1)
    assert tasks.results.of(ANN, LISTS) == []


def test_a_broken_record_changes_nothing(tasks: Tasks) -> None:
    tasks.take(
        [Record(Position("log", 0, 1), "x", b'{"erased":', NOW), Record(Position("log", 0, 2), "x", b"{", NOW)], NOW
    )
