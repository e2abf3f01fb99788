"""A user's stored weight update: a step that somebody else has taken since is not taken twice, and an erasure takes it
for good."""

from dataclasses import replace
from itertools import count
from struct import pack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies_of_events import USER

from features.errors import InvalidInput
from features.events import Event, EventId, ItemId, UserId, user_digest
from features.profile import Position, WeightUpdate
from features.profiles import ProfileStore, UserBatch, connect_for_ingest
from features.updates import STATE_MOST, StoredUpdate, decode_updates, encode_update, update_of

numbers = count()


def at(offset: int, log: str = "log", partition: int = 0) -> Position:
    return Position(log, partition, offset)


def applied(
    store: ProfileStore, position: Position, user: UserId = USER, erased_at: float | None = None, time: float = 1.0
) -> None:
    """One batch: an event of this time, or an erasure."""
    event = Event(EventId(f"e{time}"), user, ItemId("x"), "view", None, time)
    store.apply([UserBatch(user_digest(user), position, [] if erased_at is not None else [event], erased_at)])


def read(store: ProfileStore, user: UserId = USER, model: str = "m1") -> StoredUpdate:
    [found] = store.read_updates([user], model)
    return found


def put(stored: StoredUpdate, state: bytes, offset: int, model: str = "m1") -> StoredUpdate:
    return replace(stored, update=WeightUpdate(state, model, at(offset)))


def test_an_update_is_read_back_with_how_often_it_was_written(store: ProfileStore) -> None:
    applied(store, at(7))
    assert read(store) == StoredUpdate(USER, None, 0, 0, at(7), None)
    assert store.write_updates([put(read(store), b"one", 3)]) == [True]
    assert read(store) == StoredUpdate(USER, WeightUpdate(b"one", "m1", at(3)), 1, 0, at(7), None)
    assert store.write_updates([put(read(store), b"two", 7)]) == [True]
    assert read(store).update == WeightUpdate(b"two", "m1", at(7))
    assert read(store).revision == 2


def test_many_users_are_read_in_their_order(store: ProfileStore) -> None:
    users = [UserId(f"u{number}") for number in range(4)]
    for user in users[:3]:
        applied(store, at(1), user)
    store.write_updates([put(one, one.user.encode(), 1) for one in store.read_updates(users[:2], "m1")])
    found = store.read_updates(users[::-1], "m1")
    assert [one.user for one in found] == users[::-1]
    assert [one.update and one.update.state for one in found] == [None, None, b"u1", b"u0"]
    assert [one.seen for one in found] == [None, at(1), at(1), at(1)]


def test_of_two_who_have_read_the_same_the_first_writes_and_may_write_again(store: ProfileStore) -> None:
    applied(store, at(1))
    for revision in range(2):
        first, second = put(read(store), b"first", 1), put(read(store), b"second", 1)
        assert first.revision == revision
        assert store.write_updates([first]) == [True]
        assert store.write_updates([first, second]) == [True, False]
        assert read(store).update == first.update


def test_it_may_stay_behind_its_profile(store: ProfileStore) -> None:
    applied(store, at(1))
    stored = read(store)
    applied(store, at(2), time=2.0)
    assert store.write_updates([put(stored, b"one", 1)]) == [True]


def test_two_models_live_side_by_side_and_a_third_takes_the_older_place(store: ProfileStore) -> None:
    applied(store, at(1))
    for model in ("old", "m1"):
        assert store.write_updates([put(read(store, model=model), model.encode(), 1, model)]) == [True]
    assert [read(store, model=model).update for model in ("old", "m1", "m")] == [
        WeightUpdate(b"old", "old", at(1)),
        WeightUpdate(b"m1", "m1", at(1)),
        None,
    ]
    store.write_updates([put(read(store, model="new"), b"new", 1, "new")])
    assert [one.update and one.update.model for one in store.updates(USER)] == ["new", "m1"]


def test_what_is_damaged_is_nothing_and_is_written_over(store: ProfileStore, redis_url: str) -> None:
    user = UserId(f"damaged-update-{next(numbers)}")
    applied(store, at(1), user)
    store.write_updates([put(read(store, user), b"state", 1)])
    with connect_for_ingest(redis_url) as client:
        [key] = client.scan_iter(f"*{user_digest(user)}}}:u")
        whole = client.get(key)
        for damage in (b"\0", b"\0\0\0\0\0", b"\0\0\0\xff\2m1", whole[:-1], pack(">IB", 9, 2) + b"m1\0\0"):
            client.set(key, damage)
            assert read(store, user).update is None
            assert store.updates(user) == ()
            assert store.write_updates([put(read(store, user), b"anew", 1)]) == [True]
            assert [one.update and one.update.state for one in store.updates(user)] == [b"anew"]


def test_an_erasure_takes_it_and_what_was_read_before_stays_out(store: ProfileStore) -> None:
    applied(store, at(1))
    store.write_updates([put(read(store), b"one", 1)])
    before = read(store)
    applied(store, at(0, partition=3), erased_at=5.0)
    assert store.updates(USER) == ()
    assert store.write_updates([put(before, b"two", 1), put(replace(before, revision=0), b"two", 1)]) == [False, False]
    assert store.updates(USER) == ()
    after = read(store)
    assert (after.erased_at, after.revision) == (5.0, 0)
    assert store.write_updates([put(after, b"new", 2)]) == [True]


def test_an_erased_one_is_in_no_key(store: ProfileStore, redis_url: str) -> None:
    user = UserId(f"erased-update-{next(numbers)}")
    applied(store, at(1), user)
    store.write_updates([put(read(store, user), b"one", 1)])
    with connect_for_ingest(redis_url) as client:
        assert list(client.scan_iter(f"*{user_digest(user)}}}:u"))
        applied(store, at(2), user, erased_at=5.0)
        assert list(client.scan_iter(f"*{user_digest(user)}*")) == list(client.scan_iter(f"*{user_digest(user)}}}:m"))


def test_nobody_has_none(store: ProfileStore) -> None:
    nobody = UserId("nobody")
    assert store.write_updates([put(read(store, nobody), b"one", 1)]) == [False]
    assert store.reset_updates(nobody) == 0


def test_after_a_reset_nothing_is_left_but_what_was_seen(store: ProfileStore) -> None:
    applied(store, at(1))
    for model in ("m1", "m2"):
        store.write_updates([put(read(store, model=model), b"state", 1, model)])
    before = read(store)
    assert store.reset_updates(USER) == 2
    assert read(store).update == WeightUpdate(b"", "m1", at(1))
    assert store.write_updates([put(before, b"late", 2)]) == [False]
    assert store.write_updates([put(read(store), b"anew", 2)]) == [True]
    assert store.reset_updates(USER) == 1


def test_a_reset_of_all_is_everybodys_and_what_was_read_before_it_stays_out(store: ProfileStore) -> None:
    users = [USER, UserId("another")]
    for user in users:
        applied(store, at(1), user)
        store.write_updates([put(read(store, user), b"state", 1)])
    late = put(read(store), b"late", 2)
    assert store.reset_all_updates() == 1
    assert [one.update for one in store.read_updates(users, "m1")] == [WeightUpdate(b"", "m1", at(1))] * 2
    store.write_updates([late])
    assert read(store).update == WeightUpdate(b"", "m1", at(2))
    store.write_updates([put(read(store), b"anew", 3)])
    assert read(store).update == WeightUpdate(b"anew", "m1", at(3))
    assert store.reset_all_updates() == 2


def test_memory_counts_it_and_a_reset_frees_it(store: ProfileStore) -> None:
    applied(store, at(1))
    without = store.memory(USER)
    store.write_updates([put(read(store), bytes(46_080), 1)])
    assert 46_080 <= store.memory(USER) - without <= 70_000
    store.reset_updates(USER)
    assert store.memory(USER) - without < 500


def test_a_state_that_is_too_big_is_refused_and_nothing_is_stored(store: ProfileStore) -> None:
    applied(store, at(1))
    stored = read(store)
    with pytest.raises(InvalidInput, match="update: a state of 65537 bytes"):
        store.write_updates([put(stored, b"small", 1), put(stored, bytes(STATE_MOST + 1), 1)])
    with pytest.raises(InvalidInput, match="update: none"):
        store.write_updates([stored])
    assert read(store).update is None
    assert store.write_updates([put(stored, bytes(STATE_MOST), 1)]) == [True]


@pytest.mark.parametrize("name", ["", "m" * 256])
def test_a_model_without_a_short_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="model: "):
        encode_update(WeightUpdate(b"", name, at(1)), 1, 0)


def test_a_value_is_as_compact_as_documented() -> None:
    encoded = encode_update(WeightUpdate(b"state", "chunk-64", Position("2c52b2d9d302", 1, 21850)), 3, 2)
    text = b"2c52b2d9d302:1:21850"
    body = bytes([8]) + b"chunk-64" + bytes([len(text)]) + text + pack(">II", 3, 2) + b"state"
    assert encoded == pack(">I", 4 + len(body)) + body


models = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda m: len(m.encode()) < 256
)
counts = st.integers(0, 2**32 - 1)


@given(models, st.binary(max_size=99), counts, counts, counts)
def test_decoding_gives_back_what_was_encoded_as_long_as_the_generation_lasts(
    model: str, state: bytes, revision: int, generation: int, now: int
) -> None:
    update = WeightUpdate(state, model, at(9, "lo:g"))
    encoded = encode_update(update, revision, generation)
    assert decode_updates(encoded, generation) == ((update, revision),)
    assert update_of(encoded, model, generation) == (update, revision)
    assert update_of(encoded, f"{model}x", generation) is None
    if now != generation:
        assert update_of(encoded, model, now) == (replace(update, state=b""), revision)
    assert decode_updates(b"", now) == ()


steps = st.lists(
    st.tuples(st.sampled_from(["read", "write", "reset", "reset all", "erase"]), st.integers(0, 3)), max_size=20
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(steps)
def test_in_any_interleaving_no_step_is_lost_and_none_comes_back(
    store: ProfileStore, given_steps: list[tuple[str, int]]
) -> None:
    """Four workers read at one step and write at a later one, each adding a letter to what it has read."""
    user = UserId(f"interleaved-update-{next(numbers)}")
    applied(store, at(0), user)
    hands: dict[int, StoredUpdate] = {}
    kept, writes, erasures = b"", 0, 0
    fresh: dict[int, int] = {}  # of each hand: what was written when it read
    for step, number in given_steps:
        if step == "read":
            hands[number], fresh[number] = read(store, user), writes
        elif step == "write" and number in hands:
            update = hands[number].update
            state = (b"" if update is None else update.state) + b"abcd"[number : number + 1]
            is_first = fresh[number] == writes
            assert store.write_updates([put(hands[number], state, 0)]) == [is_first]
            if is_first:
                kept, writes = state, writes + 1
                del hands[number]
        elif step == "reset":
            if kept:
                kept, writes = b"", writes + 1
            store.reset_updates(user)
        elif step == "reset all":
            store.reset_all_updates()
            hands.clear()
            kept = b""
        elif step == "erase":
            erasures += 1
            applied(store, at(erasures), user, erased_at=float(erasures))
            kept, writes = b"", writes + 1
        now = read(store, user).update
        assert (b"" if now is None else now.state) == kept
