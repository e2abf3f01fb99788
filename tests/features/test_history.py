"""The fold, against an oracle that keeps everything and looks for the answer at the end."""

import hashlib
import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies_of_events import USER, events

from features.events import Event, EventId, ItemId
from features.history import (
    UserHistory,
    count,
    decode,
    encode,
    encode_with_left,
    fold,
    items,
    recent_events,
    recent_items,
)


def event(identity: str, at: float, item: str | None = "x", **more: object) -> Event:
    return Event(EventId(identity), USER, None if item is None else ItemId(item), "view", None, at, **more)  # type: ignore[arg-type]


def oracle(events: list[Event], limit: int, erased_at: float | None) -> list[Event]:
    """Winner of each id by looking at all its versions; then everything sorted; then the tail."""
    alive = [e for e in events if erased_at is None or e.at > erased_at]
    winners = []
    for identity in {e.id for e in alive}:
        versions = [e for e in alive if e.id == identity]
        latest = max(e.at for e in versions)
        candidates = {encode([e], 1): e for e in versions if e.at == latest}
        record = max(candidates, key=lambda encoded: hashlib.sha1(encoded[2:]).hexdigest())
        winners.append(candidates[record])
    return sorted(winners, key=lambda e: (e.at, e.id))[-limit:] if winners else []


def test_the_newest_events_stay_in_time_order() -> None:
    kept = fold([event("b", 2.0), event("a", 3.0), event("c", 1.0)], limit=2)
    assert [e.id for e in kept] == ["b", "a"]


def test_equal_times_are_ordered_by_id() -> None:
    assert [e.id for e in fold([event("b", 1.0), event("a", 1.0)], limit=9)] == ["a", "b"]


def test_of_two_events_with_one_id_the_later_wins() -> None:
    kept = fold([event("a", 2.0, "new"), event("a", 1.0, "old")], limit=9)
    assert [e.item for e in kept] == ["new"]


def test_an_erasure_drops_what_is_not_after_it() -> None:
    kept = fold([event("a", 1.0), event("b", 2.0), event("c", 3.0)], limit=9, erased_at=2.0)
    assert [e.id for e in kept] == ["c"]


@given(events(), st.integers(1, 8), st.none() | st.integers(0, 9).map(float))
def test_the_fold_is_what_the_oracle_says(given_events: list[Event], limit: int, erased_at: float | None) -> None:
    assert list(fold(given_events, limit, erased_at)) == oracle(given_events, limit, erased_at)


@given(events(), st.integers(1, 8))
def test_the_oldest_event_is_found_without_reading_the_others(given_events: list[Event], limit: int) -> None:
    kept = fold(given_events, limit)
    assert UserHistory(USER, encode(given_events, limit)).oldest == (kept[0].at if kept else None)


@given(events(), st.integers(1, 8), st.randoms(use_true_random=False))
def test_order_repetition_and_batching_do_not_change_the_bytes(
    given_events: list[Event], limit: int, chance: random.Random
) -> None:
    whole = encode(given_events, limit)
    shuffled = given_events + chance.sample(given_events, len(given_events) // 2)
    chance.shuffle(shuffled)
    cut = chance.randint(0, len(shuffled))
    in_two_batches = encode((*fold(shuffled[:cut], limit), *shuffled[cut:]), limit)
    assert in_two_batches == whole


@given(events())
def test_decoding_gives_back_what_was_encoded(given_events: list[Event]) -> None:
    encoded = encode(given_events, 100)
    assert decode(USER, encoded) == fold(given_events, 100)
    assert count(encoded) == len(decode(USER, encoded))


@given(events(), st.integers(0, 12))
def test_recent_items_are_those_of_the_newest_events_that_have_one(given_events: list[Event], most: int) -> None:
    encoded = encode(given_events, 100)
    items = [e.item for e in decode(USER, encoded) if e.item is not None]
    assert list(recent_items(encoded, most)) == (items[-most:] if most else [])


@given(events(), st.integers(0, 12))
def test_recent_events_are_the_newest_that_have_an_item_with_their_times_and_values(
    given_events: list[Event], most: int
) -> None:
    encoded = encode(given_events, 100)
    kept = [e for e in decode(USER, encoded) if e.item is not None]
    kept = kept[-most:] if most else []
    items, times_L, values_L = recent_events(encoded, most)
    assert items == tuple(e.item for e in kept) == recent_items(encoded, most)
    assert times_L.tolist() == [e.at for e in kept]
    assert [None if math.isnan(value) else value for value in values_L.tolist()] == [e.value for e in kept]
    assert (times_L.dtype, values_L.dtype) == (np.float64, np.float32)


def test_a_value_that_float32_cannot_hold_is_the_greatest_that_it_can() -> None:
    kept = [Event(EventId(f"e{n}"), USER, ItemId("x"), "pay", value, n) for n, value in enumerate([1e300, -1e300, 3])]
    most = float(np.finfo(np.float32).max)
    assert recent_events(encode(kept, 9), 9)[2].tolist() == [most, -most, 3.0]


@pytest.mark.parametrize("odd", ['a "quoted" \\ one', "i\u0000j\n", "é,]", '["', '["z"', None, "plain"])
@pytest.mark.parametrize("more", [{}, {"session": '["s'}, {"properties": {"tags": ["t", None]}}, {"session": "[null"}])
def test_the_items_of_a_history_are_found_whatever_it_holds(odd: str | None, more: dict[str, Any]) -> None:
    kept = [event("a", 1.0, "x"), event("b", 2.0, odd, **more), event('["d"', 4.0, "y"), event("c", 3.0, "x")]
    for some in (kept, kept[:2], kept[1:2]):
        assert items(encode(some, 9)) == {one.item for one in some} - {None}


def test_items_of_events_that_left_are_told_with_their_newest_time() -> None:
    too_old = [event("a", 5.0, "x"), event("b", 3.0, "x"), event("c", 1.0, "y"), event("d", 2.0, None)]
    kept = [event("e", 9.0, "z"), event("f", 8.0, "y")]
    encoded, left = encode_with_left([*too_old, event("e", 7.0, "lost"), *kept, kept[0]], limit=2)
    assert encoded == encode(kept, 2)
    assert left == {"x": 5.0, "y": 1.0, "lost": 7.0}
    assert UserHistory(USER, encoded, frozenset(left)).seen == {"x", "y", "z", "lost"}
    assert encode_with_left(too_old, 2, erased_at=3.0)[1] == {}


def test_an_unknown_user_has_an_empty_history() -> None:
    assert UserHistory(USER).events == ()
    assert UserHistory(USER).recent_items(10) == ()
    assert [len(part) for part in UserHistory(USER).recent_events(10)] == [0, 0, 0]


def test_a_record_is_as_compact_as_documented() -> None:
    one = encode([event("ml-100k-00001", 881250949.0, "242")], 10)
    assert len(one) == 2 + 12 + len("ml-100k-00001") + len('["242","view"]') + 2
