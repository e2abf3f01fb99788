import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save
from toy_p5 import by_hand
from toy_shelves import SHELVES, SIZE, renumbered, shelf_of, shelves

from features.errors import BundleRefused, InvalidInput
from models.p5.contents import embedded
from models.p5.item_index import INDEXINGS, PARTS, ItemIndex, build_index, from_parts, to_parts

DATA = shelves()


def index_of(*codes: list[int], tokens: str = "abcd") -> ItemIndex:
    return ItemIndex(tuple(tokens), np.array(codes, np.int32))


def named(index: ItemIndex, row: int) -> list[str]:
    return [index.tokens[token] for token in index.codes_NC[row] if token >= 0]


def test_an_index_knows_how_long_its_ids_are() -> None:
    index = index_of([0, 1, -1], [0, 1, 2], [3, -1, -1])
    assert index.n_items == 3
    assert index.lengths_N.tolist() == [2, 3, 1]


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


@pytest.mark.parametrize("indexing", INDEXINGS)
def test_items_renumbered_keep_their_ids(indexing: str) -> None:
    index = build_index(indexing, DATA, seed=1)
    for seed in range(3):
        new_N = np.random.default_rng(seed).permutation(DATA.n_items)
        again = build_index(indexing, renumbered(DATA, new_N), seed=1)
        assert again.tokens == index.tokens
        assert (again.codes_NC[new_N] == index.codes_NC).all()


@pytest.mark.parametrize("indexing", INDEXINGS)
def test_the_same_data_and_seed_give_the_same_bytes_and_are_loaded_as_saved(indexing: str) -> None:
    index = build_index(indexing, DATA, seed=2)
    parts = to_parts(index)
    assert to_parts(build_index(indexing, DATA, seed=2)) == parts
    again = from_parts(parts)
    assert again.tokens == index.tokens
    assert (again.codes_NC == index.codes_NC).all()
    assert to_parts(again) == parts


@pytest.mark.parametrize("indexing", INDEXINGS)
def test_every_index_token_is_of_some_item_or_settles_collisions(indexing: str) -> None:
    index = build_index(indexing, DATA, seed=0)
    used = {name for row in range(index.n_items) for name in named(index, row)}
    assert {name for name in index.tokens if name not in used} <= {"<d1>", "<d2>", "<d3>"}


@pytest.mark.parametrize("indexing", ["independent", "collaborative-independent", "semantic-independent"])
def test_an_independent_last_token_is_the_items_own(indexing: str) -> None:
    index = build_index(indexing, DATA, seed=0)
    last = [named(index, row)[-1] for row in range(index.n_items)]
    assert sorted(last) == sorted(f"<#{place}>" for place in range(index.n_items))
    assert last[DATA.items_E[0]] == "<#0>"


@pytest.mark.parametrize("kind", ["collaborative", "semantic"])
def test_with_and_without_a_token_of_its_own_an_item_has_one_path(kind: str) -> None:
    plain, own = build_index(kind, DATA, seed=0), build_index(f"{kind}-independent", DATA, seed=0)
    for row in range(DATA.n_items):
        assert named(plain, row)[:-1] == named(own, row)[:-1]


def test_items_of_one_content_are_told_apart_by_their_last_token() -> None:
    titles = ["Tea", "Boots", "Tea", "Tea"]
    index = build_index("semantic", by_hand([[3, 1]], titles=titles, categories=[()] * 4), seed=0)
    paths = [named(index, row)[:-1] for row in range(4)]
    assert paths[0] == paths[2] == paths[3] != paths[1]
    assert [named(index, row)[-1] for row in range(4)] == ["<d1>", "<d0>", "<d2>", "<d0>"]  # row 3 was chosen first


def test_a_new_item_gets_an_id_after_save_and_load_without_another_token() -> None:
    saved = from_parts(to_parts(build_index("semantic", DATA, seed=0)))
    titles = ["Green tea", DATA.titles[40], "", "Unheard of"]
    grown = saved.grown(titles, [("Tea",), DATA.categories[40], (), ("Nothing",)])
    assert grown.tokens == saved.tokens
    assert (grown.codes_NC[: DATA.n_items] == saved.codes_NC).all()
    assert grown.n_items == DATA.n_items + 4
    first = int(grown.codes_NC[DATA.n_items, 0])
    assert {shelf_of(row) for row in np.flatnonzero(saved.codes_NC[:, 0] == first).tolist()} == {SHELVES.index("tea")}
    twin = DATA.n_items + 1
    assert named(grown, twin)[:-1] == named(grown, 40)[:-1]
    assert named(grown, twin) != named(grown, 40)
    once_more = from_parts(to_parts(grown)).grown(titles[:1], [("Tea",)])
    assert once_more.n_items == DATA.n_items + 5


def test_an_index_of_embeddings_takes_embeddings_of_new_items() -> None:
    class Shelf:
        digest = "shelf"

        def vectors(self, texts: list[str]) -> np.ndarray:
            return np.array(
                [[float(f" {s}," in text) for s in SHELVES] + [len(text) / 99] for text in texts], np.float32
            )

    vectors_ND = embedded(DATA.titles, DATA.categories, Shelf())
    index = from_parts(to_parts(build_index("semantic", DATA, seed=0, embeddings_ND=vectors_ND)))
    grown = index.grown(["new"], [()], vectors_ND[SIZE : SIZE + 1])
    assert named(grown, DATA.n_items)[:-1] == named(grown, SIZE)[:-1]
    with pytest.raises(InvalidInput, match="one for each of the 1 new items"):
        index.grown(["new"], [()])
    with pytest.raises(InvalidInput, match="2 dimensions were given, not 5"):
        index.grown(["new"], [()], np.ones((1, 2), np.float32))


@pytest.mark.parametrize("indexing", [one for one in INDEXINGS if one != "semantic"])
def test_only_a_semantic_index_has_ids_for_new_items(indexing: str) -> None:
    with pytest.raises(InvalidInput, match="only a semantic index"):
        build_index(indexing, DATA, seed=0).grown(["Green tea"], [("Tea",)])


def test_what_cannot_be_indexed_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'sematic' was given; it is one of random, "):
        build_index("sematic", DATA, seed=0)
    with pytest.raises(InvalidInput, match="none to index"):
        build_index("random", by_hand([], categories=[]), seed=0)
    with pytest.raises(InvalidInput, match="3 were given for 120 items"):
        build_index("semantic", DATA, seed=0, embeddings_ND=np.ones((3, 2), np.float32))
    with pytest.raises(InvalidInput, match="use another indexing"):
        build_index("semantic", by_hand([[0, 1]], titles=["", ""], categories=[(), ()]), seed=0)


def test_a_damaged_index_is_refused() -> None:
    parts = to_parts(build_index("semantic", DATA, seed=0))
    names, arrays = json.loads(parts[PARTS[0]]), load(parts[PARTS[1]])
    codes_NC = arrays["codes"].copy()
    codes_NC[7] = codes_NC[3]
    swapped_NC = arrays["codes"][:, [1, 0, 2, 3]].copy()
    broken = [
        {PARTS[0]: parts[PARTS[0]]},
        {PARTS[1]: parts[PARTS[1]]},
        {**parts, PARTS[0]: b"[]"},
        {**parts, PARTS[0]: b"{"},
        {**parts, PARTS[0]: json.dumps({"tokens": names["tokens"][:-4]}).encode()},
        {**parts, PARTS[1]: parts[PARTS[1]][:-9]},
        {**parts, PARTS[1]: save({**arrays, "codes": codes_NC})},
        {**parts, PARTS[1]: save({**arrays, "codes": swapped_NC})},
        {**parts, PARTS[1]: save({**arrays, "mean": arrays["mean"][:-1].copy()})},
        {**parts, PARTS[1]: save({**arrays, "book.1": np.full_like(arrays["book.1"], np.nan)})},
        {**parts, PARTS[1]: save({name: array for name, array in arrays.items() if name != "book.2"})},
        {**parts, PARTS[1]: save({**arrays, "texts.directions": arrays["texts.directions"][:, 1:].copy()})},
    ]
    for one in broken:
        with pytest.raises(BundleRefused, match="train again"):
            from_parts(one)


def test_texts_without_a_quantiser_are_refused() -> None:
    index = build_index("semantic", DATA, seed=0)
    with pytest.raises(InvalidInput, match="no vectors that the quantiser takes"):
        replace(index, quantiser=None)
