from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_sequences import UNKNOWN, by_hand, marched

from features.errors import InvalidInput
from models.encoders.data import GAPS, EncoderData, check, gap_buckets, load_data, rating_places, save_data, windows


def cut(sizes: list[int], length: int, seed: int) -> tuple[EncoderData, list[tuple[int, int]]]:
    data = by_hand([list(range(size)) for size in sizes], 60)
    begins, ends = windows(data, length, np.random.default_rng(seed))
    return data, list(zip(begins.tolist(), ends.tolist(), strict=True))


SIZES = st.lists(st.integers(0, 50), max_size=8)


@given(SIZES, st.integers(1, 12), st.integers(0, 100))
def test_stretches_hold_every_step_of_every_user_and_cross_no_users(sizes: list[int], length: int, seed: int) -> None:
    data, stretches = cut(sizes, length, seed)
    times_met = np.zeros(sum(sizes), int)
    user_E = np.repeat(np.arange(len(sizes)), sizes)
    for begin, end in stretches:
        assert 2 <= end - begin <= length + 1
        assert len(set(user_E[begin:end].tolist())) == 1
        times_met[begin : end - 1] += 1
    for begin, end in zip(data.starts_V[:-1].tolist(), data.starts_V[1:].tolist(), strict=True):
        met = times_met[begin:end].tolist()
        assert met[-1:] in ([], [0])  # no step leads on from the last event
        first_of_last = max(0, len(met) - 1 - length)
        assert met[:first_of_last] == [1] * first_of_last
        assert set(met[first_of_last:-1]) <= {1, 2}  # the last stretch is filled up with steps of the one before


@given(SIZES, st.integers(50, 60))
def test_a_user_who_is_not_too_long_is_one_stretch(sizes: list[int], length: int) -> None:
    data, stretches = cut(sizes, length, 0)
    whole = zip(data.starts_V[:-1].tolist(), data.starts_V[1:].tolist(), strict=True)
    assert stretches == [(begin, end) for begin, end in whole if end - begin >= 2]


def test_every_length_of_context_is_met_over_the_epochs() -> None:
    met: dict[int, set[int]] = {step: set() for step in range(1, 20)}
    for epoch in range(100):
        for begin, end in cut([20], 5, epoch)[1]:
            for step in range(begin + 1, end):
                met[step].add(step - begin)
    assert all(met[step] == {1, 2, 3, 4, 5} for step in range(5, 16))


def test_the_same_draws_cut_the_same_stretches() -> None:
    assert cut([40, 50], 6, 3)[1] == cut([40, 50], 6, 3)[1] != cut([40, 50], 6, 4)[1]


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    data = by_hand(
        [[0, 1], [], [2]], 3, targets=[2, -1, 0], values=[[5.0, UNKNOWN], [], [1.0]], words=[[0, 1], [], [1]]
    )
    save_data(data, tmp_path / "data.safetensors")
    loaded = load_data(tmp_path / "data.safetensors")
    for one in fields(EncoderData):
        first, again = getattr(data, one.name), getattr(loaded, one.name)
        assert first.dtype == again.dtype
        np.testing.assert_array_equal(first, again)
    assert (loaded.n_items, loaded.n_users) == (3, 3)


def test_gaps_stand_on_a_scale_of_powers_of_four_seconds() -> None:
    gaps = [0, 1, 3, 4, 15, 16, 3600, 86_400, 4**12 - 1, 4**12, 10**9]
    at_L = np.cumsum([100.0, *gaps])
    assert gap_buckets(at_L).tolist() == [0, 1, 1, 1, 2, 2, 3, 6, 9, 12, 13, 13]
    assert GAPS == 14


def test_time_that_goes_back_counts_as_none_between() -> None:
    assert gap_buckets(np.array([50.0, 10.0])).tolist() == [0, 1]


def test_one_event_and_none_have_no_gap() -> None:
    assert gap_buckets(np.array([50.0])).tolist() == [0]
    assert gap_buckets(np.array([])).tolist() == []


def test_ratings_have_a_place_each_and_one_for_none() -> None:
    values_E = np.array([UNKNOWN, 0, 0.4, 1, 2.6, 5, 9, -1], np.float32)
    assert rating_places(values_E).tolist() == [0, 1, 1, 2, 4, 6, 6, 1]


def test_too_little_to_learn_from_is_refused_with_what_there_is() -> None:
    few = by_hand([[0, 1, 2]] * 49, 3, targets=[0] * 49)
    with pytest.raises(InvalidInput, match=r"3 items and 98 steps .* too few .* at least 100 steps: use counting"):
        check(few, is_fixed=False)
    with pytest.raises(InvalidInput, match="1 items and 200 steps"):
        check(by_hand([[0, 0, 0]] * 100, 1, targets=[0] * 100), is_fixed=False)
    with pytest.raises(InvalidInput, match="0 steps"):
        check(by_hand([], 3), is_fixed=False)
    check(by_hand([[0, 1, 2]] * 50, 3, targets=[0] * 50), is_fixed=False)


def test_without_a_target_there_is_nothing_to_stop_by_but_a_number_of_epochs() -> None:
    data = by_hand([[0, 1, 2]] * 50, 3)
    with pytest.raises(InvalidInput, match="no user has a target"):
        check(data, is_fixed=False)
    check(data, is_fixed=True)


@pytest.mark.parametrize("item", [-1, 3])
def test_an_event_of_no_item_is_refused(item: int) -> None:
    with pytest.raises(InvalidInput, match="no row"):
        check(by_hand([[0, 1, item]] * 50, 3, targets=[0] * 50), is_fixed=False)


def test_words_and_categories_of_one_item_alone_are_left_out() -> None:
    data = marched(items=20)
    assert data.word_starts_M[-1] == len(data.words_W) == 20  # "the" of every title; each item's name is its own
    assert set(data.words_W.tolist()) == {0}
    assert np.bincount(data.categories_G).tolist() == [10, 10]
