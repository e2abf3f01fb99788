"""A user's stored vectors: what may be stored, when it is, and that an erasure takes it for good."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from struct import pack

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies_of_events import USER

from features.errors import InvalidInput
from features.events import Event, EventId, ItemId, UserId, user_digest
from features.profile import Position, UserVector
from features.profiles import ProfileStore, UserBatch, connect_for_ingest
from features.vectors import DIMENSIONS_MOST, decode_vectors, encode_vector, vector_of

numbers = count()


def at(offset: int, log: str = "log", partition: int = 0) -> Position:
    return Position(log, partition, offset)


def vector(as_of: Position, *values: float, model: str = "m1") -> UserVector:
    return UserVector(np.array(values or [1.0, 2.0], np.float32), model, as_of)


def shown(one: UserVector | None) -> tuple[str, str, list[float]] | None:
    return None if one is None else (one.model, str(one.as_of), one.vector_D.tolist())


def applied(
    store: ProfileStore, position: Position, user: UserId = USER, erased_at: float | None = None, time: float = 1.0
) -> None:
    """One batch: an event of this time, or an erasure."""
    event = Event(EventId(f"e{time}"), user, ItemId("x"), "view", None, time)
    store.apply([UserBatch(user_digest(user), position, [] if erased_at is not None else [event], erased_at)])


def stored(store: ProfileStore, user: UserId = USER, model: str = "m1") -> UserVector | None:
    [(_, found)] = store.read_with_vectors([user], model)
    return found


def test_a_vector_is_read_back_with_its_history(store: ProfileStore) -> None:
    applied(store, at(3))
    assert store.write_vectors([(USER, vector(at(3), 0.5, -2.0))]) == 1
    [(history, found)] = store.read_with_vectors([USER], "m1")
    assert history == store.read([USER])[0]
    assert shown(found) == ("m1", "log:0:3", [0.5, -2.0])
    assert found is not None
    assert found.vector_D.dtype == np.float32
    assert found.as_of == history.as_of


def test_users_keep_their_order_and_their_vectors(store: ProfileStore) -> None:
    users = [UserId(f"u{number}") for number in range(4)]
    for number, user in enumerate(users[:3]):
        applied(store, at(number), user)
    assert store.write_vectors([(user, vector(at(n), n + 1.0)) for n, user in enumerate(users[:2])]) == 2
    read = store.read_with_vectors(users[::-1], "m1")
    assert [history.user for history, _ in read] == users[::-1]
    assert [shown(found) for _, found in read] == [None, None, ("m1", "log:0:1", [2.0]), ("m1", "log:0:0", [1.0])]


def test_a_vector_from_before_the_last_event_is_not_stored(store: ProfileStore) -> None:
    applied(store, at(1))
    applied(store, at(2), time=2.0)
    assert store.write_vectors([(USER, vector(at(1)))]) == 0
    assert stored(store) is None


def test_a_vector_ahead_of_the_profile_is_not_stored(store: ProfileStore) -> None:
    applied(store, at(1))
    assert store.write_vectors([(USER, vector(at(2))), (UserId("nobody"), vector(at(1)))]) == 0
    assert stored(store) is None


@pytest.mark.parametrize("elsewhere", [at(1, log="other"), at(1, partition=1)])
def test_positions_of_another_log_or_partition_do_not_pass(store: ProfileStore, elsewhere: Position) -> None:
    applied(store, at(1))
    assert store.write_vectors([(USER, vector(elsewhere))]) == 0
    applied(store, elsewhere)
    assert store.write_vectors([(USER, vector(at(1)))]) == 0
    assert store.write_vectors([(USER, vector(elsewhere))]) == 1


def test_a_stored_vector_stays_when_its_history_moves_on_and_tells_so(store: ProfileStore) -> None:
    applied(store, at(1))
    store.write_vectors([(USER, vector(at(1)))])
    applied(store, at(2), time=2.0)
    [(history, found)] = store.read_with_vectors([USER], "m1")
    assert (history.as_of, found and found.as_of) == (at(2), at(1))


def test_two_models_live_side_by_side_and_a_third_takes_the_place_of_the_older(store: ProfileStore) -> None:
    applied(store, at(1))
    for model, value in (("old", 1.0), ("m", 2.0), ("old", 3.0)):
        assert store.write_vectors([(USER, vector(at(1), value, model=model))]) == 1
    assert [shown(one) for one in store.vectors(USER)] == [("old", "log:0:1", [3.0]), ("m", "log:0:1", [2.0])]
    store.write_vectors([(USER, vector(at(1), 4.0, model="mm"))])
    assert [one.model for one in store.vectors(USER)] == ["mm", "old"]
    assert (stored(store, model="m"), shown(stored(store, model="old"))) == (None, ("old", "log:0:1", [3.0]))


def test_an_erasure_takes_the_vectors_and_one_that_comes_late_stays_out(store: ProfileStore) -> None:
    applied(store, at(1))
    store.write_vectors([(USER, vector(at(1)))])
    applied(store, at(0, partition=3), erased_at=5.0)
    assert store.vectors(USER) == ()
    assert store.write_vectors([(USER, vector(at(1)))]) == 0
    assert store.vectors(USER) == ()
    applied(store, at(2), time=6.0)
    assert store.write_vectors([(USER, vector(at(1))), (USER, vector(at(0, partition=3)))]) == 0
    assert store.write_vectors([(USER, vector(at(2)))]) == 1


def test_an_erased_vector_is_in_no_key(store: ProfileStore, redis_url: str) -> None:
    user = UserId(f"erased-{next(numbers)}")
    applied(store, at(1), user)
    store.write_vectors([(user, vector(at(1)))])
    with connect_for_ingest(redis_url) as client:
        assert list(client.scan_iter(f"*{user_digest(user)}}}:v"))
        applied(store, at(2), user, erased_at=5.0)
        assert list(client.scan_iter(f"*{user_digest(user)}*")) == list(client.scan_iter(f"*{user_digest(user)}}}:m"))


def test_memory_counts_the_vectors(store: ProfileStore) -> None:
    applied(store, at(1))
    without = store.memory(USER)
    store.write_vectors([(USER, vector(at(1), *range(64)))])
    assert store.memory(USER) >= without + 256


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(3, np.float64),
        np.zeros(3, np.int64),
        np.zeros((1, 3), np.float32),
        np.zeros(0, np.float32),
        np.zeros(DIMENSIONS_MOST + 1, np.float32),
        np.array([1.0, np.nan], np.float32),
        np.array([np.inf], np.float32),
    ],
)
def test_what_is_no_row_of_finite_float32_is_refused_and_nothing_is_stored(
    store: ProfileStore, wrong: NDArray[np.float32]
) -> None:
    applied(store, at(1))
    with pytest.raises(InvalidInput, match="vector: "):
        store.write_vectors([(USER, vector(at(1))), (USER, UserVector(wrong, "m1", at(1)))])
    assert stored(store) is None


@pytest.mark.parametrize("name", ["", "m" * 256])
def test_a_model_without_a_short_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="model: "):
        encode_vector(vector(at(1), model=name))


def test_a_record_is_as_compact_as_documented() -> None:
    as_of = Position("2c52b2d9d302", 1, 21850)
    encoded = encode_vector(vector(as_of, 1.0, 2.0, model="sasrec-1"))
    text = b"2c52b2d9d302:1:21850"
    body = bytes([8]) + b"sasrec-1" + bytes([len(text)]) + text + pack("<2f", 1.0, 2.0)
    assert encoded == pack(">H", len(body) + 2) + body


models = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda m: len(m.encode()) < 256
)
rows = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=9)


@given(st.lists(st.tuples(models, rows, st.integers(0, 2**53)), max_size=2, unique_by=lambda one: one[0]))
def test_decoding_gives_back_what_was_encoded(given_rows: list[tuple[str, list[float], int]]) -> None:
    given_vectors = [vector(at(offset, "lo:g"), *values, model=model) for model, values, offset in given_rows]
    encoded = b"".join(map(encode_vector, given_vectors))
    assert list(map(shown, decode_vectors(encoded))) == list(map(shown, given_vectors))
    for one in given_vectors:
        assert shown(vector_of(encoded, one.model)) == shown(one)
    assert vector_of(encoded, "") is None


@dataclass(slots=True)
class Remembered:
    """The store as a sentence says it: a vector is kept when it was made from what the profile is now."""

    position: Position | None = None
    applied: dict[tuple[str, int], int] = field(default_factory=dict)
    erased_at: float | None = None
    vectors: list[tuple[str, str, list[float]]] = field(default_factory=list)

    def apply(self, position: Position, erased_at: float | None) -> None:
        if position.offset <= self.applied.get((position.log_id, position.partition), -1):
            return
        self.applied[position.log_id, position.partition] = position.offset
        self.position = position
        if erased_at is not None and (self.erased_at is None or erased_at > self.erased_at):
            self.erased_at = erased_at
            self.vectors = []

    def write(self, model: str, as_of: Position, value: float) -> int:
        if as_of != self.position:
            return 0
        others = [one for one in self.vectors if one[0] != model]
        self.vectors = [(model, str(as_of), [value]), *others[:1]]
        return 1


positions = st.builds(at, st.integers(0, 6), st.sampled_from(["a", "b"]), st.integers(0, 1))
steps = st.lists(
    st.tuples(st.just("apply"), positions, st.integers(1, 9))
    | st.tuples(st.just("erase"), positions, st.integers(1, 9))
    | st.tuples(st.just("encode"), st.sampled_from(["m1", "m2", "m3"]), st.none())
    | st.tuples(st.just("write"), st.integers(0, 5), st.none()),
    max_size=25,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps)
def test_in_any_interleaving_a_vector_is_stored_only_while_the_profile_is_the_one_it_was_made_from(
    store: ProfileStore, given_steps: list[tuple[str, object, int | None]]
) -> None:
    """Encoders read at one step and write at any later one, in any order, as often as they like."""
    user, model = UserId(f"interleaved-{next(numbers)}"), Remembered()
    encoded: list[tuple[UserVector, float | None]] = []  # with the erasure that its encoder knew of
    values: Iterator[int] = count(1)
    for step, what, time in given_steps:
        if step in ("apply", "erase"):
            assert isinstance(what, Position)
            assert time is not None
            erased_at = float(time) if step == "erase" else None
            applied(store, what, user, erased_at, float(time))
            model.apply(what, erased_at)
        elif step == "encode":
            [history] = store.read([user])
            assert history.as_of == model.position
            if history.as_of is not None:
                encoded.append((vector(history.as_of, next(values), model=str(what)), model.erased_at))
        elif encoded:
            assert isinstance(what, int)
            one, erasure = encoded[what % len(encoded)]
            written = store.write_vectors([(user, one)])
            assert written == model.write(one.model, one.as_of, one.vector_D.tolist()[0])
            assert not written or erasure == model.erased_at  # nothing of an erased user comes back
        assert [shown(found) for found in store.vectors(user)] == model.vectors
