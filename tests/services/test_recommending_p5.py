"""Recommendations by a pipeline with a generator: with lists as they are at hand, and no beam search on the way."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from features.events import Event, EventId, ItemId, UserId, user_digest
from features.items import Item
from features.profile import Position
from features.profiles import ProfileStore, UserBatch
from models.catalogue import Catalogue
from models.queries import NOT_GENERATED, Generated
from models.recommender import Candidate, Pipeline, Query, Recommendation
from services.experiments import Experiment
from services.impressions import ImpressionWriter
from services.recommending import ANONYMOUS, Ask, Recommender
from services.tasking import List
from services.variants import Variants
from streaming.sqlite_log import SqliteLog

NOW = 1_800_000_000.0
CATALOGUE = Catalogue([Item(ItemId(item), item.title()) for item in ("alien", "brazil")])
COUNTS = {ItemId("alien"): 2.0, ItemId("brazil"): 1.0}
ANN, BOB = UserId("ann"), UserId("bob")
LIST = Generated((ItemId("brazil"),), (1.0,))


class Generating(Pipeline):
    """Answers by popularity, for a model that has a generator; remembers what it was asked."""

    generator_model = "m2"
    asked: Sequence[Query] = ()

    def recommend(self, queries: Sequence[Query]) -> list[Recommendation]:
        self.asked = queries
        return super().recommend(queries)

    def rank(self, queries: Sequence[Query], items: Sequence[Sequence[ItemId]]) -> list[list[Candidate]]:
        self.asked = queries
        return super().rank(queries, items)

    def generate(self, queries: Sequence[Query]) -> list[Generated]:
        raise AssertionError("a beam search on the way of a request")


@pytest.fixture
def at_hand() -> dict[tuple[str, UserId], List]:
    """The lists of users by model; none to make for the others."""
    return {}


@pytest.fixture
def degraded() -> list[None]:
    return []


@pytest.fixture
def make(
    tmp_path: Path, store: ProfileStore, at_hand: dict[tuple[str, UserId], List], degraded: list[None]
) -> Iterator[Callable[..., Recommender]]:
    popular = Pipeline.popular(CATALOGUE, COUNTS, COUNTS)

    def lists(model: str, queries: Sequence[Query]) -> list[List]:
        return [at_hand.get((model, query.user), List(NOT_GENERATED)) for query in queries]

    with (
        closing(SqliteLog(tmp_path / "log.sqlite", partitions=1)) as log,
        closing(ImpressionWriter(log, lambda: NOW)) as writer,
    ):

        def made(variants: Variants | None = None, **more: object) -> Recommender:
            pipeline = Generating.popular(CATALOGUE, COUNTS, COUNTS)
            given = {"lists": lists, **more}
            parts = (store, CATALOGUE, pipeline, popular, writer, lambda: NOW, 6, lambda: degraded.append(None))
            return Recommender(*parts, variants, **given)

        yield made


def chose(store: ProfileStore, user: UserId, item: str) -> None:
    event = Event(EventId(f"{user}-{item}"), user, ItemId(item), "view", None, NOW)
    store.apply([UserBatch(user_digest(user), Position("log", 0, 3), [event])])


def answers(recommender: Recommender, *asks: Ask) -> list[dict[str, object]]:
    return [orjson.loads(answer) for answer in recommender.answer(asks)]


def test_each_user_gets_the_list_that_is_at_hand_and_is_told_when_it_is_not_fresh(
    make: Callable[..., Recommender],
    store: ProfileStore,
    at_hand: dict[tuple[str, UserId], List],
    degraded: list[None],
) -> None:
    chose(store, ANN, "alien")
    at_hand |= {("m2", ANN): List(LIST, "fresh"), ("m2", BOB): List(NOT_GENERATED, "missing", "answered without P5")}
    recommender = make()
    found = answers(recommender, Ask(ANN), Ask(BOB), Ask(ANONYMOUS), Ask(ANN, rank=(ItemId("alien"),)))
    assert [answer["degraded"] for answer in found] == [[], ["answered without P5"], [], []]
    assert len(degraded) == 1
    assert [query.generated for query in recommender.pipeline.asked] == [LIST]  # the ranking came last
    recommender.answer([Ask(BOB), Ask(ANN)])
    asked = recommender.pipeline.asked
    assert [query.generated for query in asked] == [NOT_GENERATED, LIST]
    assert [query.as_of for query in asked] == [None, Position("log", 0, 3)]


def test_a_query_says_how_old_the_history_is_as_long_as_nothing_has_fallen_out_of_it(
    make: Callable[..., Recommender], store: ProfileStore
) -> None:
    recommender = make()  # whose histories hold six events
    seen = []
    for count in range(1, 7):
        event = Event(EventId(f"e{count}"), ANN, ItemId("alien"), "view", None, NOW + count)
        store.apply([UserBatch(user_digest(ANN), Position("log", 0, count), [event])])
        recommender.answer([Ask(ANN)])
        seen += [query.oldest for query in recommender.pipeline.asked]
    assert seen == [NOW + 1] * 5 + [None]


def test_where_nothing_makes_lists_the_answer_does_without_and_says_so(make: Callable[..., Recommender]) -> None:
    default = Recommender.__init__.__defaults__[-1]
    recommender = make(lists=default)
    [answer] = answers(recommender, Ask(ANN))
    assert answer["degraded"] == ["answered without P5, which makes no lists here"]
    assert recommender.pipeline.asked[0].generated == NOT_GENERATED


def test_each_variant_gets_the_lists_of_its_own_model(
    make: Callable[..., Recommender], at_hand: dict[tuple[str, UserId], List]
) -> None:
    named = Generating.popular(CATALOGUE, COUNTS, COUNTS)
    named.generator_model = "m3"
    variants = {"a": {"bundle": "current"}, "b": {"bundle": "named"}}
    experiment = Experiment(name="x", kind="interleave", variants=variants)
    with_both = Variants(experiment, lambda name: named)
    with_both._live = {"named": named}
    recommender = make(with_both)
    at_hand |= {
        ("m2", ANN): List(LIST, "stale", "of m2: old"),
        ("m3", ANN): List(NOT_GENERATED, "missing", "of m3: none"),
    }
    [answer] = answers(recommender, Ask(ANN))
    assert answer["degraded"] == ["of m2: old", "of m3: none"]
    assert recommender.pipeline.asked[0].generated == LIST
    assert named.asked[0].generated == NOT_GENERATED
