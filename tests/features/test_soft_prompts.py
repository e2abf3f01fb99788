"""A user's stored soft prompt: what may be stored, when it is, and that an erasure takes it for good."""

from itertools import count
from struct import pack

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from strategies_of_events import USER

from features.errors import InvalidInput
from features.events import Event, EventId, ItemId, UserId, user_digest
from features.profile import Position, SoftPrompt
from features.profiles import ProfileStore, UserBatch, connect_for_ingest
from features.soft_prompts import (
    DIMENSIONS_MOST,
    VECTORS_MOST,
    decode_soft_prompts,
    encode_soft_prompt,
    halved,
    soft_prompt_of,
)

numbers = count()


def at(offset: int, log: str = "log", partition: int = 0) -> Position:
    return Position(log, partition, offset)


def prompt(as_of: Position, *rows: list[float], model: str = "m1") -> SoftPrompt:
    return SoftPrompt(np.array(rows or [[1.0, 2.0]], np.float32), model, as_of)


def shown(one: SoftPrompt | None) -> tuple[str, str, list[list[float]]] | None:
    return None if one is None else (one.model, str(one.as_of), one.vectors_KD.tolist())


def applied(
    store: ProfileStore, position: Position, user: UserId = USER, erased_at: float | None = None, time: float = 1.0
) -> None:
    """One batch: an event of this time, or an erasure."""
    event = Event(EventId(f"e{time}"), user, ItemId("x"), "view", None, time)
    store.apply([UserBatch(user_digest(user), position, [] if erased_at is not None else [event], erased_at)])


def stored(store: ProfileStore, user: UserId = USER, model: str = "m1") -> SoftPrompt | None:
    [(_, found)] = store.read_with_soft_prompts([user], model)
    return found


def test_a_soft_prompt_is_read_back_with_its_history(store: ProfileStore) -> None:
    applied(store, at(3))
    assert store.write_soft_prompts([(USER, prompt(at(3), [0.5, -2.0], [3.0, 4.0]))]) == 1
    [(history, found)] = store.read_with_soft_prompts([USER], "m1")
    assert history == store.read([USER])[0]
    assert shown(found) == ("m1", "log:0:3", [[0.5, -2.0], [3.0, 4.0]])
    assert found is not None
    assert found.vectors_KD.dtype == np.float32
    assert found.as_of == history.as_of


def test_users_keep_their_order_and_their_soft_prompts(store: ProfileStore) -> None:
    users = [UserId(f"u{number}") for number in range(4)]
    for number, user in enumerate(users[:3]):
        applied(store, at(number), user)
    assert store.write_soft_prompts([(user, prompt(at(n), [n + 1.0])) for n, user in enumerate(users[:2])]) == 2
    read = store.read_with_soft_prompts(users[::-1], "m1")
    assert [history.user for history, _ in read] == users[::-1]
    assert [shown(found) for _, found in read] == [
        None,
        None,
        ("m1", "log:0:1", [[2.0]]),
        ("m1", "log:0:0", [[1.0]]),
    ]


def test_one_from_before_the_last_event_or_ahead_of_it_or_of_nobody_is_not_stored(store: ProfileStore) -> None:
    applied(store, at(1))
    applied(store, at(2), time=2.0)
    for late in (at(1), at(3), at(2, log="other"), at(2, partition=1)):
        assert store.write_soft_prompts([(USER, prompt(late))]) == 0
    assert store.write_soft_prompts([(UserId("nobody"), prompt(at(2)))]) == 0
    assert stored(store) is None


def test_it_stays_when_its_history_moves_on_and_tells_so(store: ProfileStore) -> None:
    applied(store, at(1))
    store.write_soft_prompts([(USER, prompt(at(1)))])
    applied(store, at(2), time=2.0)
    [(history, found)] = store.read_with_soft_prompts([USER], "m1")
    assert (history.as_of, found and found.as_of) == (at(2), at(1))


def test_two_models_live_side_by_side_and_a_third_takes_the_older_place(store: ProfileStore) -> None:
    applied(store, at(1))
    for model, value in (("old", 1.0), ("m1", 2.0)):
        assert store.write_soft_prompts([(USER, prompt(at(1), [value], model=model))]) == 1
    assert shown(stored(store)) == ("m1", "log:0:1", [[2.0]])
    assert shown(stored(store, model="old")) == ("old", "log:0:1", [[1.0]])
    assert stored(store, model="m") is None
    store.write_soft_prompts([(USER, prompt(at(1), [3.0], model="new"))])
    assert [one.model for one in store.soft_prompts(USER)] == ["new", "m1"]


def test_what_is_damaged_is_nothing_and_is_written_over(store: ProfileStore, redis_url: str) -> None:
    user = UserId(f"damaged-{next(numbers)}")
    applied(store, at(1), user)
    store.write_soft_prompts([(user, prompt(at(1), model="old"))])
    with connect_for_ingest(redis_url) as client:
        [key] = client.scan_iter(f"*{user_digest(user)}}}:p")
        for damage in (b"\0", b"\0\0\0\0\0", b"\0\0\0\xff\2m1", client.get(key)[:-1]):
            client.set(key, damage)
            assert stored(store, user) is stored(store, user, "old") is None
            assert store.soft_prompts(user) == ()
            assert store.write_soft_prompts([(user, prompt(at(1)))]) == 1
            assert [one.model for one in store.soft_prompts(user)] == ["m1"]
            client.set(key, encode_soft_prompt(prompt(at(1), model="old")))


def test_an_erasure_takes_it_and_one_that_comes_late_stays_out(store: ProfileStore) -> None:
    applied(store, at(1))
    store.write_soft_prompts([(USER, prompt(at(1)))])
    applied(store, at(0, partition=3), erased_at=5.0)
    assert store.soft_prompts(USER) == ()
    assert store.write_soft_prompts([(USER, prompt(at(1)))]) == 0
    assert store.soft_prompts(USER) == ()
    applied(store, at(2), time=6.0)
    assert store.write_soft_prompts([(USER, prompt(at(1))), (USER, prompt(at(0, partition=3)))]) == 0
    assert store.write_soft_prompts([(USER, prompt(at(2)))]) == 1


def test_an_erased_one_is_in_no_key(store: ProfileStore, redis_url: str) -> None:
    user = UserId(f"erased-soft-{next(numbers)}")
    applied(store, at(1), user)
    store.write_soft_prompts([(user, prompt(at(1)))])
    with connect_for_ingest(redis_url) as client:
        assert list(client.scan_iter(f"*{user_digest(user)}}}:p"))
        applied(store, at(2), user, erased_at=5.0)
        assert list(client.scan_iter(f"*{user_digest(user)}*")) == list(client.scan_iter(f"*{user_digest(user)}}}:m"))


def test_memory_counts_it_in_half_precision(store: ProfileStore) -> None:
    applied(store, at(1))
    without = store.memory(USER)
    store.write_soft_prompts([(USER, prompt(at(1), *[[0.1] * 576] * 4))])
    assert 2 * 4 * 576 <= store.memory(USER) - without <= 3 * 4 * 576


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 3), np.float64),
        np.zeros(3, np.float32),
        np.zeros((0, 3), np.float32),
        np.zeros((3, 0), np.float32),
        np.zeros((VECTORS_MOST + 1, 1), np.float32),
        np.zeros((1, DIMENSIONS_MOST + 1), np.float32),
        np.array([[1.0, np.nan]], np.float32),
        np.array([[np.inf]], np.float32),
        np.array([[70_000.0]], np.float32),  # half precision ends at 65,504
    ],
)
def test_what_is_no_matrix_of_finite_numbers_is_refused_and_nothing_is_stored(
    store: ProfileStore, wrong: NDArray[np.float32]
) -> None:
    applied(store, at(1))
    with pytest.raises(InvalidInput, match="soft_prompt: "):
        store.write_soft_prompts([(USER, prompt(at(1))), (USER, SoftPrompt(wrong, "m1", at(1)))])
    assert stored(store) is None


@pytest.mark.parametrize("name", ["", "m" * 256])
def test_a_model_without_a_short_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="model: "):
        encode_soft_prompt(prompt(at(1), model=name))


def test_a_value_is_as_compact_as_documented() -> None:
    as_of = Position("2c52b2d9d302", 1, 21850)
    encoded = encode_soft_prompt(prompt(as_of, [1.0, 2.0], [3.0, 4.0], model="query-2"))
    text = b"2c52b2d9d302:1:21850"
    body = bytes([7]) + b"query-2" + bytes([len(text)]) + text + pack(">H", 2) + pack("<4e", 1.0, 2.0, 3.0, 4.0)
    assert encoded == pack(">I", 4 + len(body)) + body


def test_many_are_halved_together() -> None:
    many = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert np.array_equal(halved(many), [halved(one) for one in many])


models = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda m: len(m.encode()) < 256
)
matrices = arrays(
    np.float32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(-65_000, 65_000, width=32)
)


@given(models, matrices, st.integers(0, 2**53))
def test_decoding_gives_back_what_was_encoded_rounded_once(
    model: str, vectors_KD: NDArray[np.float32], offset: int
) -> None:
    encoded = encode_soft_prompt(SoftPrompt(vectors_KD, model, at(offset, "lo:g")))
    [found] = decode_soft_prompts(encoded)
    assert (found.model, found.as_of) == (model, at(offset, "lo:g"))
    np.testing.assert_allclose(found.vectors_KD, vectors_KD, rtol=2**-11, atol=2**-25)
    assert np.array_equal(halved(found.vectors_KD), halved(vectors_KD))
    assert shown(soft_prompt_of(encoded, model)) == shown(found)
    assert soft_prompt_of(encoded, f"{model}x") is None
    assert decode_soft_prompts(b"") == ()


positions = st.builds(at, st.integers(0, 5), st.sampled_from(["a", "b"]), st.integers(0, 1))
steps = st.lists(
    st.tuples(st.sampled_from(["apply", "erase"]), positions, st.integers(1, 9))
    | st.tuples(st.just("make"), positions, st.sampled_from([1, 2]))
    | st.tuples(st.just("write"), positions, st.integers(0, 5)),
    max_size=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(steps)
def test_in_any_interleaving_one_is_stored_only_while_the_profile_is_the_one_it_was_made_from(
    store: ProfileStore, given_steps: list[tuple[str, Position, int]]
) -> None:
    """Makers read at one step and write at any later one, in any order, as often as they like."""
    user = UserId(f"interleaved-soft-{next(numbers)}")
    seen: dict[tuple[str, int], int] = {}
    now: Position | None = None
    erased_at, kept, made = 0.0, list[SoftPrompt](), list[SoftPrompt]()
    for step, position, number in given_steps:
        if step in ("apply", "erase"):
            applied(store, position, user, float(number) if step == "erase" else None, float(number))
            if position.offset > seen.get((position.log_id, position.partition), -1):
                seen[position.log_id, position.partition] = position.offset
                now = position
                if step == "erase" and number > erased_at:
                    erased_at, kept = float(number), []
        elif step == "make" and now is not None:
            made.append(prompt(now, [float(len(made))], model=f"m{number}"))
        elif step == "write" and made:
            one = made[number % len(made)]
            assert store.write_soft_prompts([(user, one)]) == int(one.as_of == now)
            if one.as_of == now:
                kept = [one, *(other for other in kept if other.model != one.model)][:2]
        assert list(map(shown, store.soft_prompts(user))) == list(map(shown, kept))
