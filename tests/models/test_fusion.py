import numpy as np
import pytest
from toy_generator import ToyGenerator

from models.counts.neighbours import Neighbours
from models.counts.popularity import Popularity
from models.fusion import Fusion, activity, choose_weights, encoded, find, spread, terms_of

ITEMS = 30


def ring(step: int) -> Neighbours:
    """Each item leads to the one `step` further on a ring."""
    neighbours_NK = ((np.arange(ITEMS)[:, None] + step) % ITEMS).astype(np.int32)
    return Neighbours(neighbours_NK, np.ones((ITEMS, 1), np.float32), 0.5)


def flat() -> Popularity:
    return Popularity(np.ones(ITEMS, np.float32), np.ones(ITEMS, np.float32))


def histories() -> list[np.ndarray]:
    return [np.array([start, (start + 7) % ITEMS]) for start in range(ITEMS)]


def test_the_model_that_finds_the_targets_gets_the_weight() -> None:
    fed = histories()
    targets = [int(history[-1] + 3) % ITEMS for history in fed]
    weights_F = choose_weights([ring(1), ring(3), ring(5)], flat(), fed, fed, targets, seed=0)
    assert weights_F[1] > 0 > max(weights_F[0], weights_F[2])


def test_the_same_seed_chooses_the_same_weights() -> None:
    fed = histories() * 200  # more than are sampled
    targets = [int(history[-1] + 3 + (place % 4 == 0)) % ITEMS for place, history in enumerate(fed)]
    first, again = (choose_weights([ring(3), ring(4)], flat(), fed, fed, targets, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_without_lessons_every_model_counts_alike() -> None:
    weights_F = choose_weights([ring(1), ring(2)], flat(), [], [], [], seed=0)
    assert weights_F[0] == weights_F[1] > 0


def test_scaling_a_model_changes_nothing() -> None:
    tripled = ring(1)
    tripled = Neighbours(tripled.neighbours_NK, tripled.weights_NK * 3, tripled.decay)
    weights_F = np.array([1.0, 0.5, 0.0])
    plain = Fusion([ring(1), ring(2)], flat(), weights_F).score([[4, 9]])
    scaled = Fusion([tripled, ring(2)], flat(), weights_F).score([[4, 9]])
    np.testing.assert_allclose(plain.evidence_BN, scaled.evidence_BN)


def test_a_history_without_items_is_no_evidence() -> None:
    assert not Fusion([ring(1)], flat(), np.array([1.0, 1.0])).score([[]]).evidence_BN.any()


class Pointing:
    """A retriever whose vectors are rows: it points at the item one further, with a score of 2."""

    def vectors(self, histories: list[list[int]], *_: object) -> np.ndarray:
        return np.array([[history[-1] if len(history) else -1] for history in histories], np.float32)

    def retrieve(self, vectors_BD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        last_B1 = vectors_BD.astype(np.int64)
        return np.where(last_B1 < 0, -1, (last_B1 + 1) % ITEMS), np.where(last_B1 < 0, 0.0, 2.0).astype(np.float32)


def test_the_encoders_part_is_what_it_retrieves_and_nothing_for_a_history_without_items() -> None:
    part_BN = encoded(Pointing(), [[4, 9], []], None, ITEMS)
    assert {(row, column): part_BN[row, column] for row, column in np.argwhere(part_BN).tolist()} == {(0, 10): 2.0}


def test_activity_goes_from_minus_a_half_to_a_half() -> None:
    assert activity(0) == activity(1) == -0.5
    assert activity(50) == activity(500) == 0.5
    assert -0.5 < activity(7) < activity(8) < 0.5


def test_the_encoder_adds_its_weight_and_its_slope_times_activity() -> None:
    popularity = Popularity(np.arange(ITEMS, dtype=np.float32), np.ones(ITEMS, np.float32))
    weights_F = np.array([0.0, 3.0, 1.0, 2.0, 4.0])  # the table's, the encoder's, popularity's; the slopes of the two
    fused = Fusion([ring(2)], popularity, weights_F, Pointing()).score([[4]])
    assert fused.evidence_BN[0, 5] == 2.0 * (3.0 - 0.5 * 2.0)
    assert np.count_nonzero(fused.evidence_BN) == 1
    np.testing.assert_allclose(fused.popular[0], popularity.log_counts() * (1.0 - 0.5 * 4.0))


def test_the_encoder_that_finds_the_targets_gets_the_weight() -> None:
    fed = histories()
    targets = [int(history[-1] + 1) % ITEMS for history in fed]
    weights_F = choose_weights([ring(3)], flat(), fed, fed, targets, 0, Pointing())
    assert len(weights_F) == len(terms_of(["pctm"], encoder=True)) == 5
    table, encoder = weights_F[:2]
    assert encoder > 0 > table


def test_the_generator_adds_the_values_of_what_it_finds_and_nothing_to_a_history_without_items() -> None:
    weights_F = np.array([0.0, 2.0, 0.0])  # the table's, the generator's, popularity's
    fused = Fusion([ring(5)], flat(), weights_F, generator=ToyGenerator(range(ITEMS))).score([[3], []])
    np.testing.assert_array_equal(fused.evidence_BN[0, 4:8], [6.0, 4.0, 2.0, 0.0])
    assert np.count_nonzero(fused.evidence_BN) == 3
    np.testing.assert_array_equal(fused.p5_BN, fused.evidence_BN)


def test_what_was_found_before_is_not_found_again() -> None:
    generator = ToyGenerator(range(ITEMS))
    fusion = Fusion([ring(5)], flat(), np.array([0.0, 1.0, 0.0]), generator=generator)
    fused = fusion.score([[3]], None, (np.array([[9, -1]]), np.array([[7.0, 0.0]], np.float32)))
    assert fused.evidence_BN[0, 9] == 7.0
    assert np.count_nonzero(fused.evidence_BN) == 1
    assert generator.histories == []


def test_the_generator_and_the_encoder_add_up() -> None:
    weights_F = np.array([1.0, 2.0, 3.0, 0.5, 2.0, 1.0])
    terms = terms_of(["pctm"], encoder=True, p5=True)
    assert terms == ("pctm", "p5", "encoder", "popularity", "encoder x activity", "popularity x activity")
    generator = ToyGenerator(range(ITEMS))
    alone = Fusion([ring(2)], flat(), weights_F[[0, 2, 3, 4, 5]], Pointing()).score([[4, 9], [1]])
    both = Fusion([ring(2)], flat(), weights_F, Pointing(), generator).score([[4, 9], [1]])
    found_BN = spread(generator.generate([[4, 9], [1]]), ITEMS)
    np.testing.assert_allclose(both.evidence_BN, alone.evidence_BN + 2.0 * found_BN)
    np.testing.assert_array_equal(both.popular, alone.popular)
    np.testing.assert_array_equal(both.only(1).p5_BN, 2.0 * found_BN[1:])


def test_only_histories_that_have_items_are_asked_of_the_generator_with_what_is_told_of_each() -> None:
    generator = ToyGenerator(range(ITEMS))
    stars = [None, np.array([5.0], np.float32), np.array([1.0], np.float32)]
    rows_BR, values_BR = find(generator, [[], [3], [7]], stars, [[1], [3, 4], [7]])
    assert rows_BR.tolist() == [[-1] * 4, [5, 6, 7, 8], [8, 9, 10, 11]]
    assert values_BR.tolist() == [[0.0] * 4, [3.0, 2.0, 1.0, 0.0], [3.0, 2.0, 1.0, 0.0]]
    assert generator.stars == [stars[1:]]
    assert generator.seen == [[[3, 4], [7]]]
    rows_BR, values_BR = find(generator, [[], []])
    assert rows_BR.shape == values_BR.shape == (2, 0)


@pytest.mark.parametrize("retriever", [None, Pointing()])
def test_the_generator_that_finds_the_targets_gets_the_weight(retriever: Pointing | None) -> None:
    fed = histories()
    targets = [int(history[-1] + 2) % ITEMS for history in fed]
    generator = ToyGenerator(range(ITEMS))
    weights_F = choose_weights([ring(3)], flat(), fed, fed, targets, 0, retriever, None, generator)
    terms = terms_of(["pctm"], encoder=retriever is not None, p5=True)
    weights = dict(zip(terms, weights_F.tolist(), strict=True))
    assert weights["p5"] > 0 > weights["pctm"]
    assert [len(batch) for batch in generator.histories] == [ITEMS]


def test_what_the_generator_finds_joins_the_pool_when_nothing_else_ranks_it_high() -> None:
    many = 1000
    far = Neighbours(np.zeros((many, 1), np.int32), np.ones((many, 1), np.float32), 0.5)
    popularity = Popularity(np.arange(many, 0, -1, dtype=np.float32), np.ones(many, np.float32))
    fed = [np.array([start]) for start in range(500, 530)]
    targets = [start + 1 for start in range(500, 530)]  # rows that neither the table nor popularity ranks high
    without_F = choose_weights([far], popularity, fed, fed, targets, seed=0)
    assert without_F.tolist() == [1.0, 0.1]  # nobody taught anything
    generator = ToyGenerator(range(many))
    weights_F = choose_weights([far], popularity, fed, fed, targets, seed=0, generator=generator)
    assert weights_F[1] > 0


def test_without_lessons_the_generator_counts_like_a_model() -> None:
    weights_F = choose_weights([ring(1)], flat(), [], [], [], seed=0, generator=ToyGenerator(range(ITEMS)))
    assert weights_F.tolist() == [1.0, 1.0, 0.1]


@pytest.mark.parametrize("retriever", [None, Pointing()])
def test_a_history_for_which_nothing_was_found_has_the_weights_of_a_fusion_without_a_generator(
    retriever: Pointing | None,
) -> None:
    popularity = Popularity(np.arange(ITEMS, dtype=np.float32), np.ones(ITEMS, np.float32))
    with_F = np.array([1.0, 2.0, 3.0] if retriever is None else [1.0, 2.0, 3.0, 0.5, 2.0, 1.0])
    without_F = with_F[[0, *range(2, len(with_F))]] * 1.5
    generator = ToyGenerator(range(ITEMS))
    found = np.array([[9, 8], [-1, -1]]), np.array([[1.0, 0.0], [0.0, 0.0]], np.float32)
    both = Fusion([ring(2)], popularity, with_F, retriever, generator, without_F).score([[4], [4, 9]], None, found)
    plain = Fusion([ring(2)], popularity, without_F, retriever).score([[4], [4, 9]])
    given = Fusion([ring(2)], popularity, with_F, retriever, generator).score([[4], [4, 9]], None, found)
    np.testing.assert_array_equal(both.evidence_BN[1], plain.evidence_BN[1])
    np.testing.assert_array_equal(both.popular[1], np.broadcast_to(plain.popular, both.popular.shape)[1])
    np.testing.assert_array_equal(both.evidence_BN[0], given.evidence_BN[0])
    np.testing.assert_array_equal(both.popular[0], given.popular[0])
