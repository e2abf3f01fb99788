import numpy as np
from toy_raters import ITEMS, SMALL, raters

from models.summaries.downstream.cases import Task, log_of
from models.summaries.downstream.knowing import WINDOW, item_vectors, known_tokens
from models.summaries.downstream.tokens import Prompts, trained_on


def by_hand(histories: list[list[int]], n_items: int) -> np.ndarray:
    """The positive pointwise mutual information of a dense table."""
    counts = np.zeros((n_items, n_items))
    for rows in histories:
        for place, row in enumerate(rows):
            for step, other in enumerate(rows[place + 1 : place + 1 + WINDOW], start=1):
                counts[row, other] += 1 / step
                counts[other, row] += 1 / step
    sums = counts.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.maximum(np.log(counts * counts.sum() / np.outer(sums, sums)), 0), posinf=0, neginf=0)


def test_with_room_enough_the_vectors_factorise_the_information() -> None:
    generator = np.random.default_rng(0)
    histories = [generator.permutation(7)[:4].tolist() for _ in range(6)]
    table = by_hand(histories, 7)
    strengths = np.linalg.eigvalsh(table.astype(np.float64))
    assert strengths.min() < 0  # so that the vectors are those of its absolute value
    vectors = item_vectors([np.array(rows) for rows in histories], 7, 6)
    left, values, _ = np.linalg.svd(table)
    expected = left[:, :6] * np.sqrt(values[:6])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-6)


def test_items_that_are_had_together_are_near_and_others_are_not() -> None:
    generator = np.random.default_rng(0)
    histories = [first + generator.permutation(4) for first in (0, 4) for _ in range(20)]
    vectors = item_vectors(histories, 9, 2)
    near = vectors @ vectors.T
    np.testing.assert_allclose(near[:4, :4], 1, atol=0.05)
    np.testing.assert_allclose(near[4:8, 4:8], 1, atol=0.05)
    np.testing.assert_allclose(near[:4, 4:8], 0, atol=0.05)
    assert not vectors[8].any()  # nobody has had it


def test_nothing_is_known_of_items_that_nobody_has_after_another() -> None:
    assert not item_vectors([np.array([1]), np.array([2])], 5, 3).any()


def test_a_word_that_names_one_item_is_near_it_and_one_that_names_all_is_nowhere() -> None:
    log = log_of(raters(), ITEMS, SMALL)
    text = trained_on([entry.text for some in log.entries for entry in some], 200)
    prompts = Prompts(text, log, Task.CHOICE, 2048)
    pieces, items = known_tokens(log, prompts, 8)
    for item, row in log.vocabulary.row_of.items():
        [piece] = prompts.pieces(item.upper())
        near = pieces[piece] @ items[row] / np.linalg.norm(pieces[piece]) / np.linalg.norm(items[row])
        assert near > 0.99
    assert np.linalg.norm(items, axis=1).max() < 8**0.5 + 1e-5
    [bracket] = prompts.pieces("[")
    assert not pieces[bracket].any()
