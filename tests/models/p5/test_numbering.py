import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.p5.numbering import BASE, canonical_order, independent, random, sequential


def test_items_stand_by_first_appearance_and_then_by_what_is_said_of_them() -> None:
    titles = ["a", "zebra", "c", "ant", "e"]
    categories = [(), (), (), (), ()]
    assert canonical_order(np.array([4, 0, 2]), titles, categories).tolist() == [4, 0, 2, 3, 1]


def test_without_events_items_stand_by_title_then_categories_then_row() -> None:
    order = canonical_order(np.array([], np.int64), ["b", "b", "a", "b"], [("x",), ("w",), ("z",), ("w",)])
    assert order.tolist() == [2, 1, 3, 0]


def test_sequential_numbers_are_digits_in_the_order_given() -> None:
    tokens, codes_NC = sequential(np.arange(BASE + 2)[::-1].copy())
    assert tokens[:2] == ("<n0>", "<n1>")
    assert len(tokens) == BASE
    assert codes_NC[-1].tolist() == [0, 0]
    assert codes_NC[-2].tolist() == [0, 1]
    assert codes_NC[0].tolist() == [1, 1]  # the last of 66 items is number 65


def test_few_items_take_one_digit_and_no_more_tokens_than_items() -> None:
    tokens, codes_NC = sequential(np.array([1, 2, 0]))
    assert tokens == ("<n0>", "<n1>", "<n2>")
    assert codes_NC.tolist() == [[2], [0], [1]]


@given(st.integers(1, 300), st.integers(0, 5))
def test_random_numbers_are_the_same_numbers_shuffled(n_items: int, seed: int) -> None:
    order_N = np.random.default_rng(1).permutation(n_items)
    tokens, codes_NC = random(order_N, seed)
    plain_tokens, plain_NC = sequential(order_N)
    assert tokens == plain_tokens
    assert sorted(codes_NC.tolist()) == sorted(plain_NC.tolist())


def test_random_numbers_come_from_the_seed_and_the_order_alone() -> None:
    order_N = np.random.default_rng(0).permutation(500)
    renumbered_N = np.random.default_rng(1).permutation(500)
    codes_NC = random(order_N, 3)[1]
    assert (random(renumbered_N[order_N], 3)[1][renumbered_N] == codes_NC).all()
    assert (random(order_N, 4)[1] != codes_NC).any()


def test_an_independent_id_is_a_token_of_its_own() -> None:
    tokens, codes_NC = independent(np.array([2, 0, 1]))
    assert tokens == ("<#0>", "<#1>", "<#2>")
    assert codes_NC.tolist() == [[1], [2], [0]]
