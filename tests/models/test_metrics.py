import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.metrics import bootstrap, ndcg, ranks, summary


def test_a_tie_counts_against_the_target() -> None:
    scores_UN = np.array([[3.0, 1.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]], np.float32)
    assert ranks(scores_UN, np.array([2, 1])).tolist() == [2, 4]


def test_a_masked_target_is_last() -> None:
    assert ranks(np.array([[-np.inf, 1.0, 2.0]], np.float32), np.array([0])).tolist() == [3]


@given(st.lists(st.integers(0, 3), min_size=2, max_size=30), st.data())
def test_rank_and_ndcg_are_those_of_sorting(scores: list[int], data: st.DataObject) -> None:
    target = data.draw(st.integers(0, len(scores) - 1))
    # The slow way: sort the items, the target behind all its equals, and look where it stands.
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], item == target))
    place = order.index(target) + 1
    rank = ranks(np.array([scores], np.float32), np.array([target]))
    assert rank.tolist() == [place]
    gains = [1.0 if item == target else 0.0 for item in order[:10]]
    discounted = sum(gain / math.log2(position + 2) for position, gain in enumerate(gains))
    assert ndcg(rank, 10)[0] == pytest.approx(discounted)


def test_a_summary_is_the_mean_over_users() -> None:
    measures = summary(np.array([1, 3, 7, 100]))
    assert measures["hr@5"] == 0.5
    assert measures["hr@10"] == 0.75
    assert measures["ndcg@5"] == pytest.approx((1 + 0.5) / 4)
    assert measures["ndcg@10"] == pytest.approx((1 + 0.5 + 1 / 3) / 4)


def test_a_bootstrap_holds_the_mean_and_narrows_with_the_square_root_of_users() -> None:
    values = np.random.default_rng(1).normal(5.0, 1.0, 400)
    few, many = bootstrap(values, 500, seed=0), bootstrap(np.tile(values, 16), 500, seed=0)
    assert few.low < few.value < few.high
    assert few.value == pytest.approx(values.mean())
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(4, rel=0.25)
    assert bootstrap(values, 500, seed=0) == few
