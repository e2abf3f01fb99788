"""What the profile store promises on one server and on a cluster: its script does what the pure fold does; and the
fence, the erasure, checkpoints and the catalogue."""

import random
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies_of_events import USER, events

from features.errors import StoreUnavailable
from features.events import Event, EventId, ItemId, UserId, user_digest
from features.history import encode, fold
from features.items import Item, encode_item
from features.profile import Position
from features.profiles import (
    LEFT_READ,
    Checkpoint,
    ProfileStore,
    UserBatch,
    connect_for_ingest,
    connect_for_serving,
)

LIMIT = 6

numbers = count(1000)


@pytest.fixture(params=["server", "cluster"])
def store(request: pytest.FixtureRequest) -> Iterator[ProfileStore]:
    url = request.getfixturevalue("embedded_url" if request.param == "server" else "cluster_url")
    with closing(ProfileStore(connect_for_ingest(url), f"contract-{next(numbers)}", LIMIT)) as store:
        yield store


def batch(
    user: UserId, offset: int, *given_events: Event, log: str = "log", erased_at: float | None = None
) -> UserBatch:
    return UserBatch(user_digest(user), Position(log, 0, offset), given_events, erased_at)


def view(identity: str, at: float, item: str = "x", user: UserId = USER) -> Event:
    return Event(EventId(identity), user, ItemId(item), "view", None, at)


def fresh(number: int) -> UserId:
    return UserId(f"user-{number}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    events(),
    st.lists(st.integers(0, 9).map(float), max_size=2),
    st.randoms(use_true_random=False),
)
def test_any_permutation_repetition_split_and_erasure_ends_in_the_bytes_of_the_pure_fold(
    store: ProfileStore, given_events: list[Event], erasures: list[float], chance: random.Random
) -> None:
    user = fresh(next(numbers))
    deliveries: list[Event | float] = [
        *given_events,
        *chance.sample(given_events, len(given_events) // 3),
        *erasures,
    ]
    chance.shuffle(deliveries)
    offset = 0
    while deliveries:
        size = chance.randint(1, 8)
        some, deliveries = deliveries[:size], deliveries[size:]
        erased = [at for at in some if isinstance(at, float)]
        store.apply(
            [
                batch(
                    user,
                    offset,
                    *(e for e in some if isinstance(e, Event)),
                    erased_at=max(erased, default=None),
                )
            ]
        )
        offset += 1
    erased_at = max(erasures, default=None)
    history, left = store.export(user)
    assert history == encode(given_events, LIMIT, erased_at)
    kept = fold(given_events, LIMIT, erased_at)
    gone = [e for e in given_events if e not in kept and e.item and (erased_at is None or e.at > erased_at)]
    assert {item.decode(): at for item, at in left} == {
        e.item: max(o.at for o in gone if o.item == e.item) for e in gone
    }
    known = {e.item for e in given_events if e.item and (erased_at is None or e.at > erased_at)}
    assert store.read([user])[0].seen == known


def test_an_applied_batch_is_fenced_and_another_log_is_not(store: ProfileStore) -> None:
    first = batch(USER, 7, view("a", 1.0))
    assert store.apply([first]) == 1
    assert store.apply([first]) == 0
    assert store.apply([batch(USER, 6, view("z", 5.0))]) == 0
    assert store.apply([batch(USER, 0, view("b", 2.0), log="another")]) == 1
    history = store.read([USER])[0]
    assert [e.id for e in history.events] == ["a", "b"]
    assert history.as_of == Position("another", 0, 0)


def test_what_was_seen_is_not_trimmed(store: ProfileStore) -> None:
    store.apply([batch(USER, 0, *(view(f"e{n}", float(n), f"i{n}") for n in range(50)))])
    history = store.read([USER])[0]
    assert len(history.events) == LIMIT
    assert len(history.seen) == 50
    assert len(history.left) == 50 - LIMIT


def test_items_are_kept_apart_only_when_their_events_have_left(store: ProfileStore) -> None:
    store.apply([batch(USER, n, view(f"e{n}", float(n), f"i{n}")) for n in range(LIMIT)])
    assert store.export(USER)[1] == ()
    store.apply([batch(USER, 50, view("e1", 1.5, "instead")), batch(USER, 51, view("new", 99.0, "i0"))])
    assert store.export(USER)[1] == ((b"i0", 0.0), (b"i1", 1.0))


@pytest.mark.parametrize("item", ['a "quoted" \\ one', "i\u0000j\n", "é,]", "["])
def test_an_item_that_leaves_is_remembered_by_its_own_name(store: ProfileStore, item: str) -> None:
    store.apply([batch(USER, 0, view("old", 0.0, item), *(view(f"e{n}", 1.0, "x") for n in range(LIMIT - 1)))])
    store.apply([batch(USER, 1, view("new", 2.0, "y"))])
    assert store.read([USER])[0].left == {item}


def test_ids_inside_other_ids_are_not_taken_for_them(store: ProfileStore) -> None:
    store.apply([batch(USER, 0, view("1", 1.0), view("21", 2.0), view("121", 3.0))])
    store.apply([batch(USER, 1, view("2", 4.0), view("12", 2.5))])
    assert [e.id for e in store.read([USER])[0].events] == ["1", "21", "12", "121", "2"]


def test_thousands_of_events_of_one_user_fit_one_script(store: ProfileStore) -> None:
    many = [view(f"e{n:05}", float(n), f"i{n}") for n in range(4096)]
    store.apply([batch(USER, 0, *many)])
    history = store.read([USER])[0]
    assert history.events == fold(many, LIMIT)
    assert len(history.seen) == 4096


def test_an_erasure_leaves_nothing_and_late_events_stay_out(store: ProfileStore) -> None:
    store.apply([batch(USER, 0, view("a", 1.0), view("b", 2.0))])
    store.apply([batch(USER, 1, erased_at=2.0)])
    assert store.export(USER) == (b"", ())
    store.apply([batch(USER, 2, view("late", 1.5), view("new", 3.0, "y"))])
    history = store.read([USER])[0]
    assert [e.id for e in history.events] == ["new"]
    assert history.seen == {"y"}


def test_users_with_braces_and_spaces_stay_apart(store: ProfileStore) -> None:
    odd = [UserId("a}b"), UserId("a b"), UserId("{a"), UserId("é"), UserId("a")]
    store.apply([batch(user, n, view(f"e{n}", 1.0, f"i{n}", user)) for n, user in enumerate(odd)])
    assert [history.seen for history in store.read(odd)] == [{f"i{n}"} for n in range(5)]


def test_an_unknown_user_reads_as_empty(store: ProfileStore) -> None:
    history = store.read([UserId("nobody")])[0]
    assert (history.events, history.seen, history.as_of) == ((), frozenset(), None)


def test_reading_keeps_the_order_of_the_question(store: ProfileStore) -> None:
    store.apply([batch(fresh(n), n, view(f"e{n}", 1.0, f"i{n}", fresh(n))) for n in range(5)])
    assert [h.seen for h in store.read([fresh(3), fresh(1), fresh(4)])] == [{"i3"}, {"i1"}, {"i4"}]


def test_checkpoints_are_kept_for_each_group_log_and_partition(store: ProfileStore) -> None:
    marks = [Checkpoint(Position("a", 0, 5), 10.5), Checkpoint(Position("a", 1, 3), 11.0)]
    store.checkpoint("ingest", marks)
    store.checkpoint("ingest", [Checkpoint(Position("a", 0, 9), 12.0)])
    assert sorted(store.checkpoints("ingest"), key=str) == [Checkpoint(Position("a", 0, 9), 12.0), marks[1]]
    assert store.checkpoints("other") == []


@given(st.permutations([0, 1, 2, 3]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_greatest_version_of_an_item_wins_in_any_order(store: ProfileStore, order: list[int]) -> None:
    identity = ItemId(f"item-{next(numbers)}")
    versions = [Item(identity, f"title {n}", added=float(n)) for n in range(3)]
    versions.append(Item(identity, "same time", added=2.0))
    for n in order:
        store.upsert_items([versions[n]])
    kept = [item for item in store.items() if item.id == identity]
    expected = max(versions[2:], key=lambda item: blake2b(encode_item(item), digest_size=16).digest())
    assert kept == [expected]


def test_a_dead_server_is_said_at_once_and_by_name() -> None:
    nobody = ProfileStore(connect_for_serving("unix:///nowhere/server.sock"))
    with pytest.raises(StoreUnavailable, match="does not answer"):
        nobody.read([USER])


def test_of_what_a_robot_has_seen_the_newest_is_read(store: ProfileStore) -> None:
    for first in range(0, LEFT_READ + 1000, 1000):
        seen = [view(f"e{number}", float(number), f"i{number}") for number in range(first, first + 1000)]
        store.apply([batch(USER, first, *seen)])
    [history] = store.read([USER])
    assert history.seen == {f"i{number}" for number in range(1000 - LIMIT, LEFT_READ + 1000)}
