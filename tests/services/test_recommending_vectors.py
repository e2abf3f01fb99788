"""Which vectors the pipeline gets with its queries: stored ones that are as fresh as the history, and no others."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import orjson
import pytest

from features.errors import BundleRefused
from features.events import Event, EventId, ItemId, UserId, user_digest
from features.items import Item
from features.profile import Position, UserVector
from features.profiles import ProfileStore, UserBatch, connect_for_serving
from models.catalogue import Catalogue
from models.recommender import Candidate, Pipeline, Query, Recommendation
from services.impressions import ImpressionWriter
from services.recommending import ANONYMOUS, Ask, Recommender
from streaming.sqlite_log import SqliteLog

NOW = 1_800_000_000.0
CATALOGUE = Catalogue([Item(ItemId("alien"), "Alien")])
COUNTS = {ItemId("alien"): 1.0}
ANN, BOB, NOBODY = UserId("ann"), UserId("bob"), UserId("nobody")


class Encoding(Pipeline):
    """Answers by popularity, for a model whose vectors are stored; remembers what it was asked."""

    encoder_model = "m2"
    asked: Sequence[Query] = ()

    def recommend(self, queries: Sequence[Query]) -> list[Recommendation]:
        self.asked = queries
        return super().recommend(queries)

    def rank(self, queries: Sequence[Query], items: Sequence[Sequence[ItemId]]) -> list[list[Candidate]]:
        self.asked = queries
        return super().rank(queries, items)

    def given(self) -> list[list[float] | None]:
        return [None if query.vector_D is None else query.vector_D.tolist() for query in self.asked]


class Plain(Encoding):
    """The same without an encoder, by which it answers in place of others."""

    encoder_model = None


class Broken(Encoding):
    def recommend(self, queries: Sequence[Query]) -> list[Recommendation]:
        raise BundleRefused("the model cannot be used")


@pytest.fixture
def told() -> list[tuple[int, int]]:
    """(stored, computed) of each batch."""
    return []


@pytest.fixture
def popular() -> Plain:
    return Plain.popular(CATALOGUE, COUNTS, COUNTS)


@pytest.fixture
def over(
    tmp_path: Path, told: list[tuple[int, int]], popular: Plain
) -> Iterator[Callable[[ProfileStore], Recommender]]:
    """Makes a recommender over a store."""
    pipeline = Encoding.popular(CATALOGUE, COUNTS, COUNTS)

    def tell(stored: int, computed: int) -> None:
        told.append((stored, computed))

    with (
        closing(SqliteLog(tmp_path / "log.sqlite", partitions=1)) as log,
        closing(ImpressionWriter(log, lambda: NOW)) as writer,
    ):
        yield lambda store: Recommender(
            store, CATALOGUE, pipeline, popular, writer, lambda: NOW, 6, lambda: None, on_vectors=tell
        )


@pytest.fixture
def recommender(over: Callable[[ProfileStore], Recommender], store: ProfileStore) -> Recommender:
    return over(store)


def chose(store: ProfileStore, user: UserId, item: str, offset: int, value: float | None = None) -> Position:
    event = Event(EventId(f"e{offset}"), user, ItemId(item), "view", value, NOW + offset)
    position = Position("log", 0, offset)
    store.apply([UserBatch(user_digest(user), position, [event])])
    return position


def encoded(store: ProfileStore, user: UserId, as_of: Position, *values: float, model: str = "m2") -> None:
    assert store.write_vectors([(user, UserVector(np.array(values, np.float32), model, as_of))]) == 1


def asked(recommender: Recommender, *asks: Ask) -> Encoding:
    recommender.answer(asks)
    assert isinstance(recommender.pipeline, Encoding)
    return recommender.pipeline


def test_a_stored_vector_as_fresh_as_its_history_is_used(
    recommender: Recommender, store: ProfileStore, told: list[tuple[int, int]]
) -> None:
    encoded(store, ANN, chose(store, ANN, "alien", 3), 1.0, 2.0)
    chose(store, BOB, "alien", 4)
    assert asked(recommender, Ask(BOB), Ask(ANN), Ask(NOBODY)).given() == [None, [1.0, 2.0], None]
    assert told == [(1, 1)]
    assert asked(recommender, Ask(ANN, rank=(ItemId("alien"),))).given() == [[1.0, 2.0]]


def test_a_stale_vector_is_not_used(recommender: Recommender, store: ProfileStore, told: list[tuple[int, int]]) -> None:
    encoded(store, ANN, chose(store, ANN, "alien", 3), 1.0, 2.0)
    chose(store, ANN, "brazil", 4)
    assert asked(recommender, Ask(ANN)).given() == [None]
    assert told == [(0, 1)]


def test_a_vector_of_another_model_is_not_used(recommender: Recommender, store: ProfileStore) -> None:
    as_of = chose(store, ANN, "alien", 3)
    encoded(store, ANN, as_of, 1.0, 2.0, model="m1")
    assert asked(recommender, Ask(ANN)).given() == [None]
    encoded(store, ANN, as_of, 3.0, 4.0)
    encoded(store, ANN, as_of, 1.0, 2.0, model="m1")
    assert asked(recommender, Ask(ANN)).given() == [[3.0, 4.0]]


def test_the_answer_is_as_of_the_history(recommender: Recommender, store: ProfileStore) -> None:
    encoded(store, ANN, chose(store, ANN, "alien", 3), 1.0, 2.0)
    chose(store, ANN, "brazil", 4)
    [answer] = recommender.answer([Ask(ANN)])
    assert orjson.loads(answer)["as_of"] == "log:0:4"


def test_an_encoder_is_told_when_and_how_much(recommender: Recommender, store: ProfileStore) -> None:
    chose(store, ANN, "alien", 3, 4.5)
    inline = [Event(EventId("1"), ANONYMOUS, ItemId("brazil"), "view", 2.5, NOW)]
    queries = asked(recommender, Ask(ANN), Ask(ANONYMOUS, events=inline), Ask(NOBODY)).asked
    assert [query.history for query in queries] == [("alien",), ("brazil",), ()]
    assert [query.times_L is not None and query.times_L.tolist() for query in queries] == [[NOW + 3], [NOW], []]
    assert [query.values_L is not None and query.values_L.tolist() for query in queries] == [[4.5], [2.5], []]


def test_a_pipeline_without_an_encoder_has_no_vectors_read(
    recommender: Recommender, store: ProfileStore, told: list[tuple[int, int]], popular: Plain
) -> None:
    encoded(store, ANN, chose(store, ANN, "alien", 3), 1.0, 2.0)
    recommender.pipeline = popular
    assert asked(recommender, Ask(ANN)).given() == [None]
    assert told == []


def test_a_pipeline_that_answers_for_a_broken_one_does_not_get_its_vectors(
    recommender: Recommender, store: ProfileStore, popular: Plain
) -> None:
    encoded(store, ANN, chose(store, ANN, "alien", 3), 1.0, 2.0)
    recommender.pipeline = Broken.popular(CATALOGUE, COUNTS, COUNTS)
    recommender.answer([Ask(ANN)])
    assert popular.given() == [None]
    assert popular.asked[0].history == ("alien",)


def test_without_the_store_there_are_no_vectors_and_the_answer_says_what_is_missing(
    over: Callable[[ProfileStore], Recommender], tmp_path: Path, told: list[tuple[int, int]]
) -> None:
    with closing(ProfileStore(connect_for_serving(f"unix://{tmp_path}/nobody-listens.sock"))) as dead:
        [answer] = over(dead).answer([Ask(ANN)])
    assert len(orjson.loads(answer)["degraded"]) == 1
    assert told == [(0, 0)]
