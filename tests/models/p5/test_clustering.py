from collections import Counter
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from toy_p5 import by_hand
from toy_shelves import SIZE, renumbered, shelf_of, shelves

from models.p5.clustering import CLUSTERS, clustered
from models.p5.contents import HashedTexts
from models.p5.data import P5Data
from models.p5.numbering import canonical_order


def paths_of(data: P5Data, vectors_ND: NDArray[np.float32] | None = None) -> NDArray[np.int32]:
    order_N = canonical_order(data.by_appearance(), data.titles, data.categories)
    if vectors_ND is None:
        vectors_ND = np.zeros((data.n_items, 2), np.float32)
    tokens, codes_NP = clustered(data.items_E, data.starts_V, order_N, vectors_ND)
    assert len(tokens) == codes_NP.max() + 1
    return codes_NP


def leaves_of(codes_NP: NDArray[np.int32]) -> Counter[tuple[int, ...]]:
    return Counter(map(tuple, codes_NP.tolist()))


def silent(histories: list[list[int]], n_items: int) -> P5Data:
    return by_hand(histories, titles=[""] * n_items, categories=[()] * n_items)


def test_items_of_one_leaf_are_chosen_by_the_same_users() -> None:
    data = shelves()
    codes_NP = paths_of(data)
    chosen = sorted(set(data.items_E.tolist()))
    for leaf in set(map(tuple, codes_NP[chosen].tolist())):
        assert len({shelf_of(row) for row in chosen if tuple(codes_NP[row]) == leaf}) == 1


def test_no_leaf_is_larger_than_it_may_be() -> None:
    assert max(leaves_of(paths_of(shelves())).values()) <= CLUSTERS
    generator = np.random.default_rng(0)
    alike = silent([generator.permutation(500)[:20].tolist() for _ in range(300)], 500)  # nothing to cut by
    assert max(leaves_of(paths_of(alike)).values()) <= 500 // CLUSTERS


def test_a_token_is_one_part_and_every_path_ends_in_a_leaf() -> None:
    codes_NP = paths_of(shelves())
    parent_of: dict[int, int] = {}
    for path in codes_NP.tolist():
        walked = [-1, *(token for token in path if token >= 0)]
        for parent, token in pairwise(walked):
            assert parent_of.setdefault(token, parent) == parent
    assert not set(parent_of.values()) & {max(path) for path in codes_NP.tolist()}


def test_an_item_that_nobody_chose_goes_with_the_likest() -> None:
    data = shelves()
    vectors_ND = HashedTexts.fit(data.titles, data.categories).vectors(data.titles, data.categories)
    codes_NP = paths_of(data, vectors_ND)
    never = np.setdiff1d(np.arange(data.n_items), data.items_E).tolist()
    assert len(never) == 8
    for row in never:
        company = {shelf_of(other) for other in range(data.n_items) if (codes_NP[other] == codes_NP[row]).all()}
        assert company == {shelf_of(row)}


def test_few_items_are_one_leaf() -> None:
    assert paths_of(silent([[0, 1], [2, 0]], 3)).tolist() == [[0], [0], [0]]


def test_items_without_any_company_are_cut_in_their_order() -> None:
    codes_NP = paths_of(silent([[row] for row in range(50)], 50))
    assert sorted(leaves_of(codes_NP).values()) == [16, 17, 17]
    assert codes_NP[:17].tolist() == [codes_NP[0].tolist()] * 17


def test_there_need_be_no_events() -> None:
    assert max(leaves_of(paths_of(silent([], 2 * SIZE))).values()) <= CLUSTERS


def test_pieces_that_nothing_joins_are_kept_whole() -> None:
    ring = [[piece * 15 + (place + step) % 15 for step in range(5)] for piece in range(6) for place in range(15)]
    codes_NP = paths_of(silent(ring, 90))
    for leaf in leaves_of(codes_NP):
        assert len({row // 15 for row in range(90) if tuple(codes_NP[row]) == leaf}) == 1


def test_parts_too_large_for_all_their_eigenvectors_are_cut_alike() -> None:
    generator = np.random.default_rng(0)
    histories = [(group * 100 + generator.permutation(100)[:10]).tolist() for group in range(8) for _ in range(150)]
    data = silent(histories, 800)
    codes_NP = paths_of(data)
    new_N = generator.permutation(800)
    assert (paths_of(renumbered(data, new_N))[new_N] == codes_NP).all()
    for leaf in leaves_of(codes_NP):
        assert len({row // 100 for row in range(800) if tuple(codes_NP[row]) == leaf}) == 1
