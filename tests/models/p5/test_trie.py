import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_t5 import ids_of

from features.errors import InvalidInput
from models.p5.trie import EOS, PAD, Trie

codes = st.lists(st.lists(st.integers(2, 5), min_size=1, max_size=4).map(tuple), min_size=1, max_size=30, unique=True)


def walked(trie: Trie) -> dict[int, tuple[int, ...]]:
    """Each item that walks from the root come to, with the tokens on the way."""
    found = {}
    ways: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    while ways:
        node, tokens = ways.pop()
        children, nexts = (one[0, 0].tolist() for one in trie.children(torch.tensor([[node]]), len(tokens)))
        assert PAD not in nexts
        for child, token in zip(children, nexts, strict=True):
            if token == EOS:
                assert bool(trie.decided(torch.tensor(child)))
                found[int(trie.rows_N[trie.firsts_M[child]])] = tokens
            else:
                ways.append((child, (*tokens, token)))
    return found


def test_a_trie_of_four_items() -> None:
    trie = Trie.of(ids_of([[5, 6], [8], [5, 6, 7], [5, 9]]))
    assert trie.codes_NC.tolist() == [[5, 6, EOS, PAD], [5, 6, 7, EOS], [5, 9, EOS, PAD], [8, EOS, PAD, PAD]]
    assert trie.rows_N.tolist() == [0, 2, 3, 1]
    assert trie.leaves_N.tolist() == [0, 3, 1, 2]
    # the root; 5, 8; 56, 59; 56 and its end, 567: the items 8 and 59 are decided before their ends
    assert trie.firsts_M.tolist() == [0, 0, 3, 0, 2, 0, 1]
    assert trie.lasts_M.tolist() == [4, 3, 4, 2, 3, 1, 2]
    children_BWC, tokens_BWC = trie.children(torch.tensor([[1, 2]]), 1)
    assert children_BWC[0, 0].tolist() == [3, 4]
    assert tokens_BWC.tolist() == [[[6, 9], [EOS, PAD]]]
    assert trie.tails(torch.tensor([[4, 6]]), 2).tolist() == [[[EOS, PAD], [7, EOS]]]


@given(codes)
def test_walks_from_the_root_come_to_every_item_by_its_id_and_to_nothing_else(
    given_codes: list[tuple[int, ...]],
) -> None:
    assert walked(Trie.of(ids_of(given_codes))) == dict(enumerate(given_codes))


@given(codes, st.randoms())
def test_items_in_another_order_are_the_same_leaves(
    given_codes: list[tuple[int, ...]], random: np.random.Generator
) -> None:
    order = list(range(len(given_codes)))
    random.shuffle(order)
    trie, other = Trie.of(ids_of(given_codes)), Trie.of(ids_of([given_codes[row] for row in order]))
    assert trie.codes_NC.tolist() == other.codes_NC.tolist()
    assert trie.rows_N.tolist() == [order[row] for row in other.rows_N.tolist()]


def test_rows_are_sorted_leaves_once_each_with_padding_behind() -> None:
    trie = Trie.of(ids_of([[9], [8], [7], [6]]))  # leaf 0 is row 3
    assert trie.leaves([np.array([0, 3, 3]), np.array([], int), np.array([1, 2, 0])], 99).tolist() == [
        [0, 3, 99],
        [99, 99, 99],
        [1, 2, 3],
    ]
    assert trie.leaves([np.array([], int)], 99).shape == (1, 0)
    for row in (-1, 4):
        with pytest.raises(InvalidInput, match=f"{row} was given; items are 0 to 3"):
            trie.leaves([np.array([0, row])], 99)


@pytest.mark.parametrize(
    ("codes_NC", "problem"),
    [
        (ids_of([[5, 6], [7], [5, 6]]), "items 0 and 2 have one id"),
        (np.array([[5, 6], [-1, -1]]), "item 1 has"),
        (np.array([[5, 6], [-1, 7]]), "item 1 has"),
        (np.array([[EOS]]), "item 0 has"),
        (np.array([[5, PAD]]), "item 0 has"),
        (np.zeros((0, 3)), "an item"),
        (np.zeros((3, 0)), "an item"),
    ],
)
def test_what_is_no_id_is_refused(codes_NC: np.ndarray, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        Trie.of(codes_NC.astype(np.int32))


def test_an_item_takes_less_than_a_hundred_bytes() -> None:
    codes_NC = np.unique(np.random.default_rng(0).integers(2, 258, (50_000, 4)), axis=0).astype(np.int32)
    assert Trie.of(codes_NC).nbytes < 100 * len(codes_NC)


def test_ids_may_do_without_ends_where_none_begins_with_another() -> None:
    trie = Trie.of(ids_of([[5, 6], [8], [5, 9, 7]]), ends=False)
    assert trie.codes_NC.tolist() == [[5, 6, PAD], [5, 9, 7], [8, PAD, PAD]]
    nodes = torch.tensor([1, 2, 3, 4])  # 5, 8, 56, 59
    assert trie.ended(nodes[1:2], 1).tolist() == [True]
    assert trie.ended(nodes[2:], 2).tolist() == [True, False]
    with pytest.raises(InvalidInput, match="the id of item 2 begins with that of item 0; ids need ends"):
        Trie.of(ids_of([[5, 6], [8], [5, 6, 7]]), ends=False)
