import numpy as np

from models.counts.neighbours import Neighbours
from models.counts.popularity import Popularity
from models.fusion import Fusion, choose_weights

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
