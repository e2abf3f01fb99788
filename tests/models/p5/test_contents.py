import numpy as np
import pytest
from toy_shelves import SIZE, shelves
from toy_tastes import ToyEmbedder

from features.errors import InvalidInput
from models.p5.contents import DIMENSIONS, PLACES, HashedTexts, embedded

DATA = shelves()
TEXTS = HashedTexts.fit(DATA.titles, DATA.categories)
VECTORS_ND = TEXTS.vectors(DATA.titles, DATA.categories)


def test_items_of_one_shelf_are_nearer_than_those_of_another() -> None:
    similar_NN = VECTORS_ND @ VECTORS_ND.T
    assert similar_NN[:SIZE, :SIZE].mean() > similar_NN[:SIZE, SIZE:].mean() + 0.2


def test_vectors_are_those_of_a_singular_value_decomposition() -> None:
    words = [[*title.lower().replace(",", "").split(), f"category {name}"]
             for title, (name,) in zip(DATA.titles, DATA.categories, strict=True)]  # fmt: skip
    names = sorted({word for bag in words for word in bag})
    table_NW = np.array([[float(name in bag) for name in names] for bag in words])
    table_NW *= np.log((1 + len(words)) / (1 + table_NW.sum(axis=0)))
    table_NW /= np.linalg.norm(table_NW, axis=1, keepdims=True)
    left_NR, strengths_R, _ = np.linalg.svd(table_NW, full_matrices=False)
    assert (strengths_R > 1e-6).sum() < DIMENSIONS  # nothing is cut off, and similarities are those of the whole
    expected_NR = left_NR * strengths_R
    assert pytest.approx(expected_NR @ expected_NR.T, abs=1e-5) == VECTORS_ND @ VECTORS_ND.T


def test_the_order_of_the_items_does_not_enter() -> None:
    order = np.random.default_rng(0).permutation(DATA.n_items).tolist()
    titles, categories = [DATA.titles[row] for row in order], [DATA.categories[row] for row in order]
    again = HashedTexts.fit(titles, categories)
    assert again.directions_HD.tobytes() == TEXTS.directions_HD.tobytes()
    assert again.vectors(titles, categories).tobytes() == VECTORS_ND[order].tobytes()


def test_an_item_of_which_nothing_is_known_has_no_direction() -> None:
    vectors_ID = TEXTS.vectors(["", "unheard of"], [(), ("Nothing",)])
    assert not vectors_ID.any()
    assert not HashedTexts.fit(["", ""], [(), ()]).vectors(["", "tea"], [(), ()]).any()


def test_a_later_item_of_the_same_words_has_the_same_vector() -> None:
    assert TEXTS.vectors(["tea0 RED tea"], [("Tea",)]).tolist() != VECTORS_ND[3:4].tolist()
    assert TEXTS.vectors(["tea0: BLACK tea"], [("Tea",)]).tolist() == VECTORS_ND[3:4].tolist()


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidInput, match="places"):
        HashedTexts(np.ones(3, np.float32), np.ones((3, 2), np.float32))
    with pytest.raises(InvalidInput, match="finite"):
        HashedTexts(np.full(PLACES, np.nan, np.float32), np.ones((PLACES, 2), np.float32))


def test_an_embedder_is_given_each_text_once_in_the_order_of_texts() -> None:
    embedder = ToyEmbedder()
    vectors_ND = embedded(["b", "a", "b"], [("x",), (), ("x",)], embedder)
    assert embedder.seen == ["a", "b. x"]
    assert vectors_ND[0].tolist() == vectors_ND[2].tolist() != vectors_ND[1].tolist()
