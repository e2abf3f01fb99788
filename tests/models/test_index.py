from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.errors import BundleRefused, InvalidInput
from models.index import FLAT_NUMBERS, ItemIndex, Kind, build, gpus, kind_for, on_gpu
from models.inner_products import Vectors
from models.owned_index import OwnedIndex

KINDS = list(Kind)
on_kinds = pytest.mark.parametrize("kind", KINDS)
needs_gpu = pytest.mark.skipif(
    not gpus(), reason="no GPU for faiss; on a CUDA host: make EXTRA=gpu check && .venv/bin/pytest -m gpu"
)


def trained(count: int, seed: int, width: int = 16) -> Vectors:
    """Vectors as encoders make them: forty directions with noise, and norms that differ tenfold."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(0).standard_normal((40, width))
    vectors = directions[rng.integers(0, 40, count)] + 0.3 * rng.standard_normal((count, width))
    return np.asarray(vectors * rng.uniform(0.2, 2.0, (count, 1)), np.float32)


ITEMS, USERS = trained(3000, 1), trained(400, 2)


@pytest.fixture(scope="module", params=KINDS)
def index(request: pytest.FixtureRequest) -> ItemIndex:
    return build(ITEMS, USERS[:200], request.param)


def by_numpy(items: Vectors, queries: Vectors, k: int) -> tuple[list[list[int]], list[list[float]]]:
    products = [[float(np.dot(query, item)) for item in items] for query in queries.astype(np.float64)]
    rows = [sorted(range(len(items)), key=lambda row: -line[row])[:k] for line in products]
    return rows, [[line[row] for row in best] for line, best in zip(products, rows, strict=True)]


def overlap(rows: np.ndarray, expected: list[list[int]]) -> float:
    return float(np.mean([len(set(found) & set(best)) / len(best) for found, best in zip(rows, expected, strict=True)]))


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.float32, st.tuples(st.integers(1, 30), st.just(3)), elements=st.integers(-8, 8).map(float)),
    arrays(np.float32, st.tuples(st.integers(1, 4), st.just(3)), elements=st.integers(-8, 8).map(float)),
    st.integers(1, 35),
    st.sampled_from(KINDS),
)
def test_whole_numbers_give_the_greatest_products_in_order_whatever_is_tied(
    items: Vectors, queries: Vectors, k: int, kind: Kind
) -> None:
    rows, scores = build(items, kind=kind).search(queries, k)
    _, expected = by_numpy(items, queries, k)
    assert rows.shape == scores.shape == (len(queries), k)
    found = min(k, len(items))
    np.testing.assert_allclose(scores[:, :found], expected, atol=1e-3)
    assert (rows[:, found:] == -1).all()
    assert (scores[:, found:] == -np.inf).all()
    for line, query, values in zip(rows, queries, scores, strict=True):
        assert len(set(line[:found])) == found
        np.testing.assert_allclose(items[line[:found]] @ query, values[:found], atol=1e-3)


def test_the_flat_kind_is_exact() -> None:
    rows, scores = build(ITEMS, kind=Kind.FLAT).search(USERS[:50], 10)
    expected_rows, expected_scores = by_numpy(ITEMS, USERS[:50], 10)
    assert rows.tolist() == expected_rows
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5)


def test_every_kind_finds_nearly_all_for_users_that_it_was_not_calibrated_on(index: ItemIndex) -> None:
    rows, scores = index.search(USERS[200:300], 10)
    assert rows.dtype == np.int64
    assert scores.dtype == np.float32
    assert (np.diff(scores) <= 0).all()
    assert overlap(rows, by_numpy(ITEMS, USERS[200:300], 10)[0]) >= 0.95


def test_the_length_of_a_query_scales_its_scores_and_nothing_else(index: ItemIndex) -> None:
    rows, scores = index.search(USERS[:20], 5)
    longer_rows, longer_scores = index.search(USERS[:20] * np.float32(1024), 5)
    assert longer_rows.tolist() == rows.tolist()
    np.testing.assert_allclose(longer_scores, scores * 1024, rtol=1e-4)


def test_a_query_of_zeros_is_answered_with_scores_of_zero(index: ItemIndex) -> None:
    rows, scores = index.search(np.zeros((1, 16), np.float32), 5)
    assert (rows >= 0).all()
    assert (scores == 0).all()


@on_kinds
def test_more_than_there_are_is_padded(kind: Kind) -> None:
    items = np.array([[1, 0], [0, 1], [2, 2]], np.float32)
    rows, scores = build(items, kind=kind).search(np.array([[1, 0.5]], np.float32), 5)
    assert rows.tolist() == [[2, 0, 1, -1, -1]]
    np.testing.assert_allclose(scores, [[3, 1, 0.5, -np.inf, -np.inf]], atol=1e-6)


@on_kinds
def test_one_item_and_none(kind: Kind) -> None:
    query = np.array([[1, 2]], np.float32)
    rows, scores = build(np.array([[3, 4]], np.float32), kind=kind).search(query, 2)
    assert (rows.tolist(), scores.tolist()) == ([[0, -1]], [[11.0, -np.inf]])
    empty = build(np.empty((0, 2), np.float32), kind=kind)
    rows, scores = empty.search(query, 2)
    assert (len(empty), rows.tolist(), scores.tolist()) == (0, [[-1, -1]], [[-np.inf, -np.inf]])


@on_kinds
def test_items_that_are_all_the_same_are_all_found(kind: Kind) -> None:
    rows, scores = build(np.ones((100, 4), np.float32), kind=kind).search(np.ones((1, 4), np.float32), 100)
    assert sorted(rows[0].tolist()) == list(range(100))
    np.testing.assert_allclose(scores, 4, rtol=1e-5)


def test_a_list_longer_than_what_a_search_reads_is_filled_all_the_same(index: ItemIndex) -> None:
    rows, scores = index.search(USERS[:3], 2048)
    assert [len(set(line)) for line in rows.tolist()] == [2048] * 3
    assert (np.diff(scores) <= 0).all()


def test_no_queries_get_no_answers(index: ItemIndex) -> None:
    rows, scores = index.search(np.empty((0, 16), np.float32), 7)
    assert rows.shape == scores.shape == (0, 7)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_not_finite_is_refused(index: ItemIndex, value: float) -> None:
    queries = USERS[:2].copy()
    queries[1, 3] = value
    with pytest.raises(InvalidInput, match="queries"):
        index.search(queries, 5)
    items = ITEMS[:20].copy()
    items[7, 0] = value
    with pytest.raises(InvalidInput, match="vectors"):
        build(items, kind=index.kind)


@pytest.mark.parametrize("shape", [(2, 15), (2, 17), (16,), (1, 2, 16)])
def test_another_width_is_refused(index: ItemIndex, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="rows of 16 will do"):
        index.search(np.ones(shape, np.float32), 5)


@pytest.mark.parametrize("k", [-1, 0, 2049])
def test_a_list_of_no_length_is_refused(index: ItemIndex, k: int) -> None:
    with pytest.raises(InvalidInput, match="1 to 2048 will do"):
        index.search(USERS[:1], k)


def test_searches_from_several_threads_give_what_one_gives(index: ItemIndex) -> None:
    alone = [index.search(USERS[place : place + 1], 10) for place in range(200)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda place: index.search(USERS[place : place + 1], 10), range(200)))
    for (rows, scores), (other_rows, other_scores) in zip(alone, together, strict=True):
        assert rows.tolist() == other_rows.tolist()
        assert scores.tolist() == other_scores.tolist()


def test_bytes_give_the_same_index_back(index: ItemIndex) -> None:
    content = index.to_bytes()
    again = ItemIndex.from_bytes(content, threads=2)
    assert (again.kind, again.width, len(again), again.parameters) == (index.kind, 16, 3000, index.parameters)
    for answer, expected in zip(again.search(USERS, 10), index.search(USERS, 10), strict=True):
        assert answer.tolist() == expected.tolist()
    assert again.to_bytes() == content


def test_the_same_vectors_give_the_same_bytes(index: ItemIndex) -> None:
    assert build(ITEMS, USERS[:200], index.kind).to_bytes() == index.to_bytes()


def test_an_item_costs_the_bytes_that_are_stated(index: ItemIndex) -> None:
    assert index.bytes_per_item == pytest.approx(len(index.to_bytes()) / len(index), rel=0.02)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_bytes_that_are_missing_or_altered_are_refused(data: st.DataObject) -> None:
    content = build(ITEMS[:50], kind=data.draw(st.sampled_from(KINDS))).to_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    altered = bytearray(content)
    altered[place] ^= data.draw(st.integers(1, 255))
    for wrong in (content[:place], bytes(altered)):
        try:
            found = ItemIndex.from_bytes(wrong)
        except BundleRefused:
            continue
        # A space of the header's padding: nothing that is read.
        assert found.to_bytes() == content


def test_the_kind_is_chosen_by_size() -> None:
    assert kind_for(1, 64) is Kind.FLAT
    assert kind_for(FLAT_NUMBERS // 64, 64) is Kind.FLAT
    assert kind_for(FLAT_NUMBERS // 64 + 1, 64) is Kind.IVF
    assert kind_for(FLAT_NUMBERS // 64, 384) is Kind.IVF
    assert build(ITEMS).kind is Kind.FLAT


def test_an_index_of_these_vectors_passes_the_check(index: ItemIndex) -> None:
    assert index.check(ITEMS, USERS[200:]) >= 0.95
    assert index.check(ITEMS) >= 0.95


def test_an_index_of_other_vectors_is_refused(index: ItemIndex) -> None:
    with pytest.raises(BundleRefused, match="other vectors"):
        index.check(trained(3000, 3), USERS)
    with pytest.raises(BundleRefused, match="another order"):
        index.check(np.roll(ITEMS, 1, axis=0), USERS)
    with pytest.raises(BundleRefused, match=r"holds 3000 vectors of 16, not \[2999, 16\]"):
        index.check(ITEMS[:-1])
    with pytest.raises(BundleRefused, match=r"not \[3000, 15\]"):
        index.check(ITEMS[:, :-1])


def test_an_index_that_finds_too_little_is_refused() -> None:
    # Every query of the sample lies in one direction, so that reading a few lists seems to be enough.
    items = np.random.default_rng(4).standard_normal((20_000, 64), np.float32)
    easy = build(items, np.repeat(items[:1], 10, axis=0), Kind.IVF)
    with pytest.raises(BundleRefused, match="of what exact search finds"):
        easy.check(items, np.random.default_rng(5).standard_normal((100, 64), np.float32))


@pytest.fixture(scope="module")
def owned(index: ItemIndex) -> Iterator[OwnedIndex]:
    with OwnedIndex(lambda: index) as owned:
        yield owned


def test_an_owned_index_gives_every_thread_what_it_asked_for(index: ItemIndex, owned: OwnedIndex) -> None:
    def ask(place: int) -> tuple[list[list[int]], int]:
        rows, scores = owned.search(USERS[place : place + 1 + place % 3], 1 + place % 7)
        return rows.tolist(), len(scores)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(200)))
    for place, (rows, count) in enumerate(answers):
        expected, _ = index.search(USERS[place : place + 1 + place % 3], 1 + place % 7)
        assert rows == expected.tolist()
        assert count == 1 + place % 3


def test_an_owned_index_refuses_at_once_what_would_fail_the_others(owned: OwnedIndex) -> None:
    with pytest.raises(InvalidInput, match="queries"):
        owned.ask(np.full((1, 16), np.nan, np.float32), 5)
    assert owned.search(USERS[:1], 5)[0].shape == (1, 5)


def test_a_closed_index_answers_what_waited_and_nothing_more(index: ItemIndex) -> None:
    owned = OwnedIndex(lambda: index, most=4)
    waiting = [owned.ask(USERS[place : place + 1], 5) for place in range(50)]
    owned.close()
    owned.close()
    assert [len(answer.result(0)[0]) for answer in waiting] == [1] * 50
    with pytest.raises(RuntimeError, match="closed"):
        owned.ask(USERS[:1], 5)


def test_what_cannot_be_made_is_raised_where_it_was_asked_for() -> None:
    with pytest.raises(BundleRefused):
        OwnedIndex(lambda: ItemIndex.from_bytes(b""))


@pytest.mark.skipif(gpus() > 0, reason="this host has a GPU; the test is of hosts without")
def test_a_host_without_a_gpu_says_what_would_do(index: ItemIndex) -> None:
    with pytest.raises(RuntimeError, match="extra `gpu`"):
        OwnedIndex.on_gpu(index)


@pytest.mark.gpu
@needs_gpu
def test_a_gpu_finds_what_the_cpu_finds(index: ItemIndex) -> None:
    expected_rows, expected_scores = index.search(USERS, 10)
    with OwnedIndex.on_gpu(index) as owned, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda place: owned.search(USERS[place : place + 1], 10), range(len(USERS))))
        filled, _ = owned.search(USERS[:1], 2048)
    rows, scores = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    assert overlap(rows, expected_rows.tolist()) >= 0.95
    np.testing.assert_allclose(scores[:, 0], expected_scores[:, 0], rtol=1e-3, atol=1e-3)
    assert (filled >= 0).all()


@pytest.mark.gpu
@needs_gpu
def test_a_gpu_takes_the_index_as_it_is() -> None:
    index = build(ITEMS, kind=Kind.FLAT)
    moved = on_gpu(index)
    assert (moved.kind, len(moved), moved.width) == (Kind.FLAT, 3000, 16)
