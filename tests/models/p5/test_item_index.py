import numpy as np
import pytest

from features.errors import InvalidInput
from models.p5.item_index import ItemIndex


def index_of(*codes: list[int], tokens: str = "abcd") -> ItemIndex:
    return ItemIndex(tuple(tokens), np.array(codes, np.int32))


def test_an_id_leads_back_to_its_item() -> None:
    index = index_of([0, 1, -1], [0, 1, 2], [3, -1, -1])
    assert index.n_items == 3
    assert index.lengths_N.tolist() == [2, 3, 1]
    assert [index.row_of(code) for code in ([0, 1], [0, 1, 2], [3])] == [0, 1, 2]
    assert [index.row_of(code) for code in ([], [0], [3, -1], [3, 0], [0, 1, 2, 3])] == [-1] * 5


@pytest.mark.parametrize(
    ("codes", "problem"),
    [
        ([[0, 1], [2, 3], [0, 1]], "items 0 and 2 have one id, ab"),
        ([[0, 4]], "no place among the 4 index tokens"),
        ([[0, -2]], "no place among the 4 index tokens"),
        ([[-1, -1]], "empty or goes on"),
        ([[0, -1, 1]], "empty or goes on"),
        ([[]], "int32"),
    ],
)
def test_ids_that_are_none_are_refused(codes: list[list[int]], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        index_of(*codes)


def test_a_token_name_stands_for_one_token() -> None:
    with pytest.raises(InvalidInput, match="two index tokens"):
        index_of([0], tokens="abca")
