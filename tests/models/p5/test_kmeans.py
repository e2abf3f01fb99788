import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.p5.kmeans import kmeans, nearest


def test_heaps_that_lie_apart_are_found() -> None:
    generator = np.random.default_rng(0)
    middles_KD = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    vectors_ND = (middles_KD[:, None] + generator.normal(scale=0.1, size=(4, 25, 2))).reshape(-1, 2)
    found = sorted(np.round(kmeans(vectors_ND, 4, seed=1)).tolist())
    assert found == sorted(middles_KD.tolist())


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 1000))
def test_every_centroid_is_the_mean_of_the_vectors_nearest_to_it(n: int, k: int, seed: int) -> None:
    vectors_ND = np.random.default_rng(seed).normal(size=(n, 3))
    centroids_KD = kmeans(vectors_ND, k, seed)
    assert len(centroids_KD) == min(n, k)
    labels_N = [int(np.argmin(((centroids_KD - vector) ** 2).sum(axis=1))) for vector in vectors_ND]
    for label, centroid in enumerate(centroids_KD):
        mine = [vector for vector, other in zip(vectors_ND, labels_N, strict=True) if other == label]
        assert mine
        assert np.mean(mine, axis=0) == pytest.approx(centroid)


def test_there_are_no_more_centroids_than_distinct_vectors() -> None:
    vectors_ND = np.array([[1.0], [2.0], [1.0], [2.0], [1.0]])
    assert sorted(kmeans(vectors_ND, 4, seed=0).ravel().tolist()) == [1.0, 2.0]


def test_the_same_vectors_give_the_same_bytes() -> None:
    vectors_ND = np.random.default_rng(0).normal(size=(200, 5))
    assert kmeans(vectors_ND, 9, 3).tobytes() == kmeans(vectors_ND.copy(), 9, 3).tobytes()


def test_the_nearest_of_many_is_the_one_that_a_search_finds() -> None:
    generator = np.random.default_rng(0)
    vectors_ND, centroids_KD = generator.normal(size=(9000, 2)), generator.normal(size=(7, 2))
    labels_N, distances_N = nearest(vectors_ND, centroids_KD)
    for place in range(0, 9000, 500):
        away_K = [float(sum((a - b) ** 2)) for a, b in ((vectors_ND[place], centroid) for centroid in centroids_KD)]
        assert away_K[labels_N[place]] == min(away_K)
        assert distances_N[place] == pytest.approx(min(away_K))
