from itertools import pairwise, product

import numpy as np
import pytest
from toy_shelves import SIZE, shelves

from features.errors import InvalidInput
from models.p5.contents import HashedTexts
from models.p5.quantising import LEVELS, Quantiser, book_size

DATA = shelves()
VECTORS_ND = HashedTexts.fit(DATA.titles, DATA.categories).vectors(DATA.titles, DATA.categories)
QUANTISER = Quantiser.fit(VECTORS_ND, seed=0)


def test_a_book_has_about_twice_as_many_codes_as_the_root_of_the_items() -> None:
    assert [book_size(n_items) for n_items in (1, 4, 1682, 12101, 10**6)] == [2, 4, 64, 256, 2048]


def test_items_of_one_first_code_are_of_one_shelf() -> None:
    _, codes_NL = QUANTISER.paths(VECTORS_ND)
    for code in set(codes_NL[:, 0].tolist()):
        assert len(set((np.flatnonzero(codes_NL[:, 0] == code) // SIZE).tolist())) == 1


def test_a_path_is_the_nearest_code_of_what_the_codes_before_leave() -> None:
    tokens, codes_NL = QUANTISER.paths(VECTORS_ND)
    for row in range(0, DATA.n_items, 7):
        left_A = (VECTORS_ND[row].astype(float) - QUANTISER.mean_D) @ QUANTISER.axes_DA
        for letter, book_KA, token in zip("abc", QUANTISER.books, codes_NL[row], strict=True):
            code = int(np.argmin([float(((left_A - one) ** 2).sum()) for one in book_KA.astype(float)]))
            assert tokens[token] == f"<{letter}{code}>"
            left_A = left_A - book_KA[code]


def test_codes_leave_less_and_less() -> None:
    left_NA = (VECTORS_ND.astype(float) - QUANTISER.mean_D) @ QUANTISER.axes_DA
    lengths = [np.square(left_NA).sum()]
    for level in range(LEVELS):
        codes_N = QUANTISER.paths(VECTORS_ND)[1][:, level] - QUANTISER.offsets[level]
        left_NA = left_NA - QUANTISER.books[level][codes_N]
        lengths.append(np.square(left_NA).sum())
    assert lengths[1] < 0.5 * lengths[0]
    assert lengths[3] < lengths[2] < lengths[1]


def test_the_order_of_the_items_does_not_enter() -> None:
    order = np.random.default_rng(0).permutation(len(VECTORS_ND))
    again = Quantiser.fit(VECTORS_ND[order], seed=0)
    assert [book.tobytes() for book in again.books] == [book.tobytes() for book in QUANTISER.books]
    assert (again.paths(VECTORS_ND[order])[1] == QUANTISER.paths(VECTORS_ND)[1][order]).all()


def tiny() -> Quantiser:
    """Books of 2, 1 and 1 codes on a line: two paths."""
    one = np.ones(1, np.float32)
    zero_KA = np.zeros((1, 1), np.float32)
    return Quantiser(0 * one, one[None], (np.array([[0.0], [10.0]], np.float32), zero_KA, zero_KA))


def test_a_new_item_takes_the_first_free_id_of_the_nearest_path_that_has_one() -> None:
    quantiser = tiny()  # tokens: 0 and 1, 2, 3, and 4 and 5 that settle
    taken_NC = np.array([[0, 2, 3, 4]], np.int32)
    vectors_ID = np.array([[1.0], [9.0], [2.0]], np.float32)
    codes_IC = quantiser.codes_for(vectors_ID, taken_NC, 6)
    assert codes_IC.tolist() == [[0, 2, 3, 5], [1, 2, 3, 4], [1, 2, 3, 5]]
    with pytest.raises(InvalidInput, match="no id is free"):
        quantiser.codes_for(vectors_ID[:1], np.concatenate([taken_NC, codes_IC]), 6)


def test_no_new_items_have_no_codes() -> None:
    assert tiny().codes_for(np.zeros((0, 1), np.float32), np.array([[0, 2, 3, 4]], np.int32), 6).shape == (0, 4)


def test_all_paths_are_tried_and_the_nearest_first() -> None:
    left_A = (VECTORS_ND[5].astype(float) - QUANTISER.mean_D) @ QUANTISER.axes_DA
    first = next(iter(QUANTISER._by_distance(left_A)))
    assert list(first) == QUANTISER.paths(VECTORS_ND)[1][5].tolist()
    offsets = QUANTISER.offsets
    assert set(QUANTISER._by_distance(left_A)) == set(product(*(range(*bounds) for bounds in pairwise(offsets))))


def test_items_that_are_all_alike_are_refused() -> None:
    with pytest.raises(InvalidInput, match="use another indexing"):
        Quantiser.fit(np.ones((5, 3), np.float32), seed=0)
    with pytest.raises(InvalidInput, match="use another indexing"):
        Quantiser.fit(np.zeros((5, 0), np.float32), seed=0)


def test_vectors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidInput, match="finite"):
        Quantiser.fit(np.array([[1.0], [np.nan]], np.float32), seed=0)
    with pytest.raises(InvalidInput, match=f"2 dimensions were given, not {VECTORS_ND.shape[1]}"):
        QUANTISER.paths(np.ones((1, 2), np.float32))
