"""Two bundles compared on users whose last events neither has seen."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from toy_frames import events_of, items_of, marching

from features.errors import PromotionRefused
from models.bundle import Bundle, train_counts
from models.metrics import Interval
from models.promotion import Comparison, Figures, compare, figures, held_out, ranks_of

EVENTS, ITEMS = marching(users=60, items=20, length=6)


@pytest.fixture(scope="module")
def good() -> Bundle:
    return train_counts(EVENTS, ITEMS, fingerprint="toy")


@pytest.fixture(scope="module")
def bad() -> Bundle:
    """Fitted on the same users' items in an order that means nothing."""
    items = EVENTS["item"].sample(fraction=1.0, shuffle=True, seed=3)
    return train_counts(EVENTS.with_columns(items), ITEMS, fingerprint="toy")


def test_each_user_is_fed_all_but_the_last_event_which_is_looked_for() -> None:
    events = events_of({"ann": "abc", "bob": "xy", "cem": "bcda"}).with_columns(
        value=pl.Series([5.0, None, 1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    )
    task = held_out(events, items_of({item: [] for item in "abcdxy"}))
    assert [(query.user, query.history, query.k) for query in task.queries_U] == [
        ("ann", ("a", "b"), 10),
        ("cem", ("b", "c", "d"), 10),
    ]
    assert list(task.targets_U) == ["c", "a"]
    first = task.queries_U[0]
    assert first.times_L is not None
    assert first.values_L is not None
    np.testing.assert_array_equal(first.times_L, [0.0, 1.0])
    np.testing.assert_array_equal(first.values_L, np.array([5.0, np.nan], np.float32))


def test_data_without_a_user_of_three_events_cannot_compare() -> None:
    with pytest.raises(PromotionRefused, match="three events"):
        held_out(events_of({"ann": "ab", "bob": "xy"}), items_of({}))


def test_a_bundle_that_ranks_worse_falls_and_one_that_ranks_better_or_the_same_does_not(
    good: Bundle, bad: Bundle
) -> None:
    task = held_out(EVENTS, ITEMS)
    worse, better, same = (
        compare(served, candidate, task) for served, candidate in ((good, bad), (bad, good), (good, good))
    )
    assert worse.falls
    assert not better.falls
    assert not same.falls
    assert same.difference == Interval(0.0, 0.0, 0.0)
    assert better.served == worse.candidate
    assert better.candidate.ndcg > 0.8 > better.served.ndcg
    assert worse.difference.value == pytest.approx(worse.candidate.ndcg - worse.served.ndcg)
    assert worse.candidate.users == 60


def test_within_the_interval_a_lower_mean_is_no_fall() -> None:
    reached = Figures(0.1, 0.2, 100)
    assert not Comparison(reached, reached, Interval(-0.01, -0.02, 0.0)).falls
    assert Comparison(reached, reached, Interval(-0.02, -0.03, -0.001)).falls


def test_what_a_bundle_does_not_know_is_a_miss(good: Bundle) -> None:
    # Everybody goes on to an item that the older bundle never heard of.
    rows = [(f"z-{user}", user, "i-new", 99.0) for user in EVENTS["user"].unique(maintain_order=True)]
    grown = pl.concat([EVENTS, pl.DataFrame(rows, EVENTS.schema, orient="row")])
    items = pl.concat([ITEMS, items_of({"i-new": ["odd"]})])
    knowing = train_counts(grown, items, fingerprint="grown")
    task = held_out(grown, items)
    assert set(task.targets_U) == {"i-new"}
    assert (ranks_of(good, task, explore=0.0) == 11).all()
    assert compare(good, knowing, task, explore=0.0).served.ndcg == 0


def test_the_figures_are_means_over_the_users() -> None:
    reached = figures(np.array([1, 3, 11]))
    assert (reached.users, reached.hit_rate) == (3, pytest.approx(2 / 3))
    assert reached.ndcg == pytest.approx((1 + 1 / math.log2(4)) / 3)


def test_a_bundle_that_was_fitted_on_what_is_held_out_cannot_be_compared(good: Bundle) -> None:
    everything = replace(good, manifest={**good.manifest, "fit": "all"})
    for pair in ((everything, good), (good, everything)):
        with pytest.raises(PromotionRefused, match="fitted on every event"):
            compare(*pair, held_out(EVENTS, ITEMS))
