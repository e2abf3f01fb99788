import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.p5.measures import auc, bleu, distinct, resampled, rmse, rmse_difference, rouge


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30))
def test_auc_counts_pairs_of_a_true_and_a_false_one(marked: list[tuple[int, bool]]) -> None:
    won, pairs = 0.0, 0
    for value, is_true in marked:
        for other, is_other_true in marked:
            if is_true and not is_other_true:
                pairs += 1
                won += 1.0 if value > other else 0.5 if value == other else 0.0
    found = auc(np.array([value for value, _ in marked], np.float64), np.array([is_true for _, is_true in marked]))
    assert found == (pytest.approx(won / pairs) if pairs else None)


def test_rmse_of_templates_is_the_mean_of_their_roots() -> None:
    assert rmse(np.array([3.0, -4.0])) == pytest.approx(math.sqrt(12.5))
    assert rmse(np.array([[1.0, -1.0], [3.0, 3.0]])) == pytest.approx(2.0)


def test_a_difference_is_paired_by_user() -> None:
    errors_U = np.random.default_rng(0).normal(size=50)
    same = rmse_difference(np.stack([errors_U, -errors_U]), errors_U, resamples=30, seed=0)
    assert (same.value, same.low, same.high) == pytest.approx((0, 0, 0))
    twice = rmse_difference(2 * errors_U[None], errors_U, resamples=200, seed=0)
    assert 0 < twice.low < twice.value < twice.high
    assert twice.value == pytest.approx(rmse(errors_U))


def test_the_same_seed_resamples_the_same_users() -> None:
    found = [resampled(lambda users: float(users.mean()), 20, resamples=10, seed=3) for _ in range(2)]
    assert found[0] == found[1]
    assert resampled(lambda users: float(users.mean()), 20, resamples=0, seed=3).low == 9.5


def test_texts_that_are_the_reference_are_perfect_and_others_are_not() -> None:
    texts = ["You rated Alien high and this is Horror too."] * 3
    assert bleu(texts, texts) == pytest.approx(1)
    assert [values_X.tolist() for values_X in rouge(texts, texts).values()] == [[1.0] * 3] * 3
    assert bleu(["one two three four"], ["five six seven eight"]) == 0
    assert bleu(["", ""], texts[:2]) == 0
    assert all(not values_X.any() for values_X in rouge(["", "five"], ["a b", "six"]).values())


def test_rouge_is_as_one_counts_by_hand() -> None:
    found = rouge(["the cat sat"], ["the dog sat down"])
    # two of three and of four words; none of the pairs; "the ... sat" in this order
    assert found["rouge-1"][0] == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert found["rouge-2"][0] == 0
    assert found["rouge-l"][0] == found["rouge-1"][0]


def test_distinct_texts_are_counted_once() -> None:
    assert distinct(["a", "b", "a", "a"]) == 0.5
