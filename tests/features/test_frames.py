from hashlib import blake2b

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from toy_frames import EVENTS_SCHEMA, events_of

from features.frames import at_least, held_out_users, hold_out_last, k_core, ordered, sequences, split_at

TIED = pl.DataFrame(
    [("e-2", "ann", "c", 5.0), ("e-0", "ann", "a", 5.0), ("e-1", "ann", "b", 5.0), ("e-3", "ann", "d", 1.0)],
    EVENTS_SCHEMA,
    orient="row",
)


def test_equal_times_stand_in_the_order_of_the_file_by_default() -> None:
    assert ordered(TIED)["item"].to_list() == ["d", "a", "b", "c"]


def test_other_tie_seeds_permute_only_what_is_tied_and_the_same_way_each_time() -> None:
    orders = [ordered(TIED, seed)["item"].to_list() for seed in range(1, 30)]
    assert all(order[0] == "d" and sorted(order) == ["a", "b", "c", "d"] for order in orders)
    assert len({tuple(order) for order in orders}) == 6
    assert ordered(TIED, 3).equals(ordered(TIED.sample(fraction=1.0, shuffle=True, seed=1), 3))


def test_events_without_an_item_are_left_out() -> None:
    without = TIED.with_columns(pl.when(pl.col("item") == "b").then(None).otherwise(pl.col("item")).alias("item"))
    assert ordered(without)["item"].to_list() == ["d", "a", "c"]


def test_the_last_event_of_each_user_is_held_out() -> None:
    split = hold_out_last(ordered(events_of({"ann": "abc", "bob": "xy"})))
    assert split.targets.select("user", "item").rows() == [("ann", "c"), ("bob", "y")]
    assert split.history["item"].to_list() == ["a", "b", "x"]


def test_only_the_named_users_lose_their_last_event() -> None:
    split = hold_out_last(ordered(events_of({"ann": "abc", "bob": "xyz"})), ["bob"])
    assert split.targets.select("user", "item").rows() == [("bob", "z")]
    assert split.history["item"].to_list() == ["a", "b", "c", "x", "y"]
    assert hold_out_last(ordered(TIED), []).targets.is_empty()


def test_held_out_users_are_those_with_three_events_and_the_smallest_digests() -> None:
    histories = {f"u{number}": "abc" for number in range(40)} | {f"few{number}": "ab" for number in range(40)}
    digests = {user: blake2b(user.encode(), digest_size=16).hexdigest() for user in histories if user[0] == "u"}
    found = held_out_users(events_of(histories), most=10)
    assert found == sorted(digests, key=digests.__getitem__)[:10]
    assert len(held_out_users(events_of(histories), most=100)) == 40


@given(
    st.dictionaries(st.integers(0, 60), st.integers(1, 5), min_size=1),
    st.dictionaries(st.integers(0, 60), st.integers(1, 3)),
)
def test_what_is_held_out_of_grown_data_was_never_fitted_before(old: dict[int, int], more: dict[int, int]) -> None:
    def events(counts: dict[int, int]) -> pl.DataFrame:
        rows = [(f"{user}-{at}", f"u{user}", "a", float(at)) for user, count in counts.items() for at in range(count)]
        return ordered(pl.DataFrame(rows, EVENTS_SCHEMA, orient="row"))

    before = events(old)
    after = events({user: old.get(user, 0) + more.get(user, 0) for user in old | more})
    fitted = hold_out_last(before, held_out_users(before, most=5)).history
    targets = hold_out_last(after, held_out_users(after, most=5)).targets
    assert not set(fitted["event_id"]) & set(targets["event_id"])


def test_users_with_too_few_events_are_dropped() -> None:
    assert at_least(events_of({"ann": "abc", "bob": "xy"}), 3)["user"].unique().to_list() == ["ann"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("vwxyz"), st.integers(0, 20)), min_size=2))
def test_a_global_split_lets_nothing_later_into_the_history(rows: list[tuple[str, str, int]]) -> None:
    events = pl.DataFrame(
        [(f"e-{place:03d}", user, item, float(at)) for place, (user, item, at) in enumerate(rows)],
        EVENTS_SCHEMA,
        orient="row",
    )
    split, time = split_at(ordered(events), 0.8)
    assert all(at < time for at in split.history["at"])
    expected = {}
    for identity, user, _, at in sorted(events.rows(), key=lambda row: (row[3], row[0])):
        if at >= time and user in set(split.history["user"]):
            expected.setdefault(user, identity)
    assert dict(split.targets.select("user", "event_id").iter_rows()) == expected


def test_a_core_is_what_is_left_when_removing_no_longer_removes() -> None:
    events = events_of({"ann": "abz", "bob": "ab", "eve": "az"})
    # z has two events; with k = 3 only item a has three, then no user has three: nothing is left.
    assert k_core(events, 3).is_empty()
    assert k_core(events, 2).height == 7
    assert k_core(events_of({"ann": "ab", "bob": "ab", "eve": "c"}), 2)["user"].unique().sort().to_list() == [
        "ann",
        "bob",
    ]


def test_sequences_are_rows_of_the_vocabulary_one_user_after_another() -> None:
    known = sequences(ordered(events_of({"bob": "cab", "ann": "b?c"})), "abc")
    assert known.users == ("ann", "bob")
    assert [history.tolist() for history in known.histories()] == [[1, 2], [2, 0, 1]]
    assert [history.tolist() for history in known.histories(2)] == [[1, 2], [0, 1]]
    assert known.numbers().tolist() == [0, 0, 1, 1, 1]
    assert known.followers().tolist() == [1, 0, 2, 1, 0]
