"""Answering batches of asks: in order, from one read of the store, and more simply when something fails."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from features.errors import BundleRefused
from features.events import Event, EventId, ItemId, UserId, user_digest
from features.items import Item
from features.profile import Position
from features.profiles import ProfileStore, UserBatch, connect_for_serving
from models.catalogue import Catalogue
from models.recommender import Candidate, Pipeline, Query, Recommendation
from services.experiments import Experiment, assign
from services.impressions import ImpressionWriter
from services.recommending import ANONYMOUS, Ask, Recommender
from services.variants import Variants
from streaming.log import Stream
from streaming.sqlite_log import SqliteLog
from tests.services.conftest import NOW

CATALOGUE = Catalogue(Item(ItemId(item), item.title()) for item in ("alien", "brazil", "casablanca"))
COUNTS = {ItemId("alien"): 3.0, ItemId("brazil"): 2.0, ItemId("casablanca"): 1.0}
POPULAR = Pipeline.popular(CATALOGUE, COUNTS, COUNTS)
ANN, BOB = UserId("ann"), UserId("bob")


class Broken(Pipeline):
    """A pipeline whose model cannot be used: what is asked of it raises."""

    encoder_model = generator_model = None

    def __init__(self) -> None:
        self.asked = 0

    def recommend(self, queries: Sequence[Query]) -> list[Recommendation]:
        self.asked += 1
        raise BundleRefused("the model cannot be used")

    def rank(self, queries: Sequence[Query], items: Sequence[Sequence[ItemId]]) -> list[list[Candidate]]:
        raise BundleRefused("the model cannot be used")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with closing(SqliteLog(tmp_path / "log.sqlite", partitions=1)) as log:
        yield log


@pytest.fixture
def degraded() -> list[None]:
    """An element for each answer that did without something."""
    return []


@pytest.fixture
def recommender(log: SqliteLog, store: ProfileStore, degraded: list[None]) -> Iterator[Callable[..., Recommender]]:
    with closing(ImpressionWriter(log, lambda: NOW)) as writer:

        def make(
            pipeline: Pipeline = POPULAR, store: ProfileStore = store, variants: Variants | None = None
        ) -> Recommender:
            return Recommender(
                store, CATALOGUE, pipeline, POPULAR, writer, lambda: NOW, 6, lambda: degraded.append(None), variants
            )

        yield make


@pytest.fixture
def dead_store(tmp_path: Path) -> Iterator[ProfileStore]:
    with closing(ProfileStore(connect_for_serving(f"unix://{tmp_path}/nobody-listens.sock"))) as store:
        yield store


def chose(store: ProfileStore, user: UserId, *items: str) -> None:
    events = [
        Event(EventId(f"e{place}"), user, ItemId(item), "view", None, NOW + place) for place, item in enumerate(items)
    ]
    store.apply([UserBatch(user_digest(user), Position("log", 0, len(items)), events)])


def answers(recommender: Recommender, *asks: Ask) -> list[dict[str, object]]:
    return [orjson.loads(answer) for answer in recommender.answer(asks)]


def names(answer: dict[str, object]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_each_ask_of_a_batch_gets_its_own_answer_in_order(
    recommender: Callable[..., Recommender], store: ProfileStore, degraded: list[None]
) -> None:
    chose(store, ANN, "alien")
    chose(store, BOB, "brazil", "casablanca")
    inline = [Event(EventId("1"), ANONYMOUS, ItemId("casablanca"), "view", None, NOW)]
    found = answers(
        recommender(),
        Ask(BOB),
        Ask(ANONYMOUS, events=inline),
        Ask(ANN, rank=(ItemId("casablanca"), ItemId("alien"))),
        Ask(ANN),
        Ask(UserId("nobody"), k=1),
        Ask(BOB, exclude=frozenset({ItemId("alien")})),
    )
    assert [names(answer) for answer in found] == [
        ["alien"],
        ["alien", "brazil"],
        ["alien", "casablanca"],
        ["brazil", "casablanca"],
        ["alien"],
        [],
    ]
    assert [answer["as_of"] for answer in found] == ["log:0:2", None, "log:0:1", "log:0:1", None, "log:0:2"]
    assert len({answer["recommendation_id"] for answer in found}) == 6
    assert all(answer["degraded"] == [] for answer in found)
    assert degraded == []


def test_an_empty_batch_has_no_answers(recommender: Callable[..., Recommender]) -> None:
    assert recommender().answer([]) == []


def test_when_the_pipeline_fails_popularity_answers_and_says_so(
    recommender: Callable[..., Recommender], store: ProfileStore, degraded: list[None], caplog: pytest.LogCaptureFixture
) -> None:
    chose(store, ANN, "alien")
    listed, ranked = answers(recommender(Broken()), Ask(ANN), Ask(ANN, rank=(ItemId("brazil"), ItemId("alien"))))
    assert names(listed) == ["brazil", "casablanca"]  # what she has seen is still left out
    assert names(ranked) == ["alien", "brazil"]
    for answer in (listed, ranked):
        assert answer["degraded"] == ["answered by popularity: BundleRefused"]
        assert answer["model_version"] == "popularity"
        assert answer["as_of"] == "log:0:1"
    assert len(degraded) == 2
    assert "the model cannot be used" in caplog.text  # the reason is for the operator


def test_a_variant_whose_pipeline_fails_takes_nothing_from_the_others(
    recommender: Callable[..., Recommender], degraded: list[None]
) -> None:
    variants = {"sound": {"bundle": "current", "share": 0.5}, "broken": {"bundle": "broken", "share": 0.5}}
    experiment = Experiment.model_validate({"name": "toy", "variants": variants})
    users = [UserId(f"user-{number}") for number in range(20)]
    one = recommender(variants=Variants(experiment, lambda _: Broken()))
    fails = {user: assign(user, experiment) == "broken" for user in users}
    for user, answer in zip(users, answers(one, *map(Ask, users)), strict=True):
        assert names(answer) == ["alien", "brazil", "casablanca"]
        assert (answer["degraded"] == ["answered by popularity: BundleRefused"]) is fails[user]
    assert len(degraded) == sum(fails.values()) > 0


def test_when_one_of_two_interleaved_pipelines_fails_popularity_answers(
    recommender: Callable[..., Recommender], degraded: list[None]
) -> None:
    variants = {"sound": {"bundle": "current"}, "broken": {"bundle": "broken"}}
    experiment = Experiment.model_validate({"name": "toy", "kind": "interleave", "variants": variants})
    [answer] = answers(recommender(variants=Variants(experiment, lambda _: Broken())), Ask(ANN))
    assert names(answer) == ["alien", "brazil", "casablanca"]
    assert answer["degraded"] == ["answered by popularity: BundleRefused"]
    assert answer["model_version"] == "popularity"


def test_when_the_store_fails_too_the_answer_says_both(
    recommender: Callable[..., Recommender], dead_store: ProfileStore, degraded: list[None]
) -> None:
    [answer] = answers(recommender(Broken(), dead_store), Ask(ANN))
    assert names(answer) == ["alien", "brazil", "casablanca"]
    store_problem, pipeline_problem = answer["degraded"]
    assert store_problem.startswith("answered without the user's history: the profile store does not answer")
    assert pipeline_problem == "answered by popularity: BundleRefused"
    assert len(degraded) == 1


def test_a_dead_store_is_asked_once_and_then_left_alone_for_a_moment(
    recommender: Callable[..., Recommender], dead_store: ProfileStore
) -> None:
    one = recommender(POPULAR, dead_store)
    [first], [second] = answers(one, Ask(ANN)), answers(one, Ask(BOB))
    assert "does not answer" in first["degraded"][0]
    assert "asked again within a second" in second["degraded"][0]


def test_without_a_store_somebody_unknown_misses_nothing(
    recommender: Callable[..., Recommender], dead_store: ProfileStore, degraded: list[None]
) -> None:
    inline = [Event(EventId("1"), ANONYMOUS, ItemId("alien"), "view", None, NOW)]
    unknown, known = answers(recommender(POPULAR, dead_store), Ask(ANONYMOUS, events=inline), Ask(ANN))
    assert (names(unknown), unknown["degraded"]) == (["brazil", "casablanca"], [])
    assert len(known["degraded"]) == 1
    assert len(degraded) == 1


def test_a_pipeline_can_be_swapped_between_two_batches(recommender: Callable[..., Recommender]) -> None:
    one = recommender()
    assert names(answers(one, Ask(ANN, k=1))[0]) == ["alien"]
    other = {ItemId("casablanca"): 1.0}
    one.pipeline = Pipeline.popular(CATALOGUE, other, other)
    assert names(answers(one, Ask(ANN, k=1))[0]) == ["casablanca"]


def test_what_is_shown_becomes_an_impression_and_what_is_ranked_does_not(
    recommender: Callable[..., Recommender], log: SqliteLog, tmp_path: Path, store: ProfileStore
) -> None:
    with closing(ImpressionWriter(log, lambda: NOW)) as writer:
        one = Recommender(store, CATALOGUE, POPULAR, POPULAR, writer, lambda: NOW, 6, lambda: None)
        [shown, _] = answers(one, Ask(ANN, k=2), Ask(ANN, rank=(ItemId("alien"),)))
    with closing(log.consumer(Stream.IMPRESSIONS, None)) as consumer:
        [record] = consumer.read(10, 0.0)
    impression = orjson.loads(record.value)
    assert impression["recommendation_id"] == shown["recommendation_id"]
    assert impression["items"] == names(shown) == ["alien", "brazil"]
