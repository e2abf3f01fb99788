"""A generator in a pipeline: a source of candidates, a scorer of given items, and a part that can be missing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_frames import marching
from toy_generator import ToyGenerator
from toy_p5_bundle import toy_bundle

from features.errors import UnknownName
from features.events import ItemId, UserId
from features.frames import ordered
from models.bundle import Bundle, fit_bundle, load_bundle, save_bundle, train_counts
from models.catalogue import Catalogue
from models.counts.fitting import CountsConfig, texts_of
from models.fusion import Fusion
from models.p5.config import configured, preset
from models.p5.store import P5Store
from models.queries import NOT_GENERATED, Generated
from models.recommender import Pipeline, Query
from models.vocabulary import Vocabulary

ITEMS = 40
STEP = 7  # what the toy finds next, where its users take the next one on the ring


@pytest.fixture(scope="module")
def toy() -> ToyGenerator:
    vocabulary = Vocabulary.of(f"i{n}" for n in range(ITEMS))
    return ToyGenerator([vocabulary.row_of[ItemId(f"i{n * STEP % ITEMS}")] for n in range(ITEMS)])


@pytest.fixture(scope="module")
def bundle(toy: ToyGenerator) -> Bundle:
    events, items = marching(users=120, items=ITEMS, length=8)
    vocabulary = Vocabulary.of(items["item"])
    told = {"fingerprint": "toy", "fit": "serve", "config": CountsConfig(), "seed": 0}
    return fit_bundle(ordered(events), vocabulary, texts_of(items, vocabulary), p5=toy, **told)


@pytest.fixture
def pipeline(bundle: Bundle, toy: ToyGenerator) -> Pipeline:
    """One that listens to the generator, and to popularity a little."""
    weights_F = np.zeros(len(bundle.tables) + 2)
    weights_F[-2:] = 10.0, 0.001
    fusion = Fusion(list(bundle.tables.values()), bundle.popularity, weights_F, None, toy)
    return Pipeline(replace(bundle, fusion=fusion), Catalogue(), diversity=0)


def asked(*history: str, **more: object) -> Query:
    return Query(UserId("ann"), tuple(map(ItemId, history)), **more)  # type: ignore[arg-type]


def test_what_the_generator_finds_is_recommended_with_a_reason_of_its_own(pipeline: Pipeline) -> None:
    answer = pipeline.recommend([asked("i3")])[0]
    assert [candidate.item for candidate in answer.items[:3]] == ["i10", "i17", "i24"]
    assert answer.items[0].source == "p5"
    assert answer.items[0].reason == "likely next, after what you watched lately"
    assert answer.items[0].because is None
    assert {candidate.source for candidate in answer.items[3:]} <= {"popular", "trending"}


def test_given_items_are_ranked_by_the_generator_too(pipeline: Pipeline) -> None:
    [ranked] = pipeline.rank([asked("i3")], [list(map(ItemId, ["i17", "i11", "?", "i10"]))])
    assert [(candidate.item, candidate.source) for candidate in ranked[:2]] == [("i10", "p5"), ("i17", "p5")]
    assert ranked[-1].item == "?"


def test_where_a_table_speaks_the_reason_is_the_tables(bundle: Bundle) -> None:
    answer = Pipeline(bundle, Catalogue(), diversity=0).recommend([asked("i3", "i4", "i5")])[0]
    assert (answer.items[0].item, answer.items[0].source) == ("i6", "counts")


def test_what_a_query_brings_is_used_and_nothing_is_generated(pipeline: Pipeline, toy: ToyGenerator) -> None:
    before = len(toy.histories)
    brought = Generated((ItemId("i30"), ItemId("forgotten"), ItemId("i31")), (2.0, 1.0, 0.0))
    answer = pipeline.recommend([asked("i3", generated=brought)])[0]
    assert (answer.items[0].item, answer.items[0].source) == ("i30", "p5")
    assert [candidate.source for candidate in answer.items].count("p5") == 1
    assert len(toy.histories) == before


def test_a_query_that_does_without_is_answered_without(pipeline: Pipeline, toy: ToyGenerator) -> None:
    before = len(toy.histories)
    answer = pipeline.recommend([asked("i3", generated=NOT_GENERATED)])[0]
    assert "p5" not in {candidate.source for candidate in answer.items}
    assert len(toy.histories) == before


def test_who_has_no_list_is_answered_as_by_the_same_models_without_a_generator(bundle: Bundle) -> None:
    events, items = marching(users=120, items=ITEMS, length=8)
    vocabulary = Vocabulary.of(items["item"])
    told = {"fingerprint": "toy", "fit": "serve", "config": CountsConfig(), "seed": 0}
    plain = fit_bundle(ordered(events), vocabulary, texts_of(items, vocabulary), **told)
    assert bundle.manifest["weights_without_p5"] == plain.manifest["weights"]
    queries = [asked("i3", "i9", generated=NOT_GENERATED), asked("i7", generated=NOT_GENERATED), asked()]
    with_one, without = (Pipeline(one, Catalogue()).recommend(queries) for one in (bundle, plain))
    assert [answer.items for answer in with_one] == [answer.items for answer in without]


def test_queries_of_one_batch_keep_apart_what_they_bring_lack_and_do_without(pipeline: Pipeline) -> None:
    brought = Generated((ItemId("i30"),), (2.0,))
    queries = [asked("i3"), asked("i3", generated=brought), asked("i3", generated=NOT_GENERATED), asked()]
    together = pipeline.recommend(queries)
    assert [answer.items[0].item for answer in together[:2]] == ["i10", "i30"]
    for query, answer in zip(queries, together, strict=True):
        assert pipeline.recommend([query])[0].items == answer.items


def test_what_was_found_ahead_answers_as_what_is_found_on_the_way(pipeline: Pipeline) -> None:
    query = asked("i1", "i3")
    [ahead] = pipeline.generate([query])
    assert ahead == Generated(tuple(map(ItemId, ["i10", "i17", "i24", "i31"])), (3.0, 2.0, 1.0, 0.0))
    assert pipeline.recommend([replace(query, generated=ahead)])[0].items == pipeline.recommend([query])[0].items


def test_nothing_seen_is_generated_and_what_the_vocabulary_lacks_is_left_out(
    pipeline: Pipeline, toy: ToyGenerator
) -> None:
    values_L = np.array([5.0, 4.0, 1.0], np.float32)
    query = asked("i8", "forgotten", "i3", seen=frozenset(map(ItemId, ["i10", "i24", "gone"])), values_L=values_L)
    [found] = pipeline.generate([query])
    assert found.items == ("i17", "i31", "i38", "i5")
    assert [stars_L.tolist() for stars_L in toy.stars[-1]] == [[5.0, 1.0]]


def test_somebody_new_has_nothing_generated(pipeline: Pipeline) -> None:
    assert pipeline.generate([asked(), asked("forgotten")]) == [NOT_GENERATED, NOT_GENERATED]
    assert pipeline.recommend([asked()])[0].items[0].source in ("popular", "trending")


def test_only_a_pipeline_with_a_generator_says_whose_lists_it_takes(bundle: Bundle) -> None:
    assert Pipeline(bundle, Catalogue()).generator_model == bundle.name
    plain = Pipeline(train_counts(*marching(20, 20, 5), fingerprint="toy"), Catalogue())
    assert plain.generator_model is None
    with pytest.raises(UnknownName, match="train p5"):
        plain.generate([asked("i1")])
    brought = asked("i1", generated=Generated((ItemId("i9"),), (9.0,)))
    assert plain.recommend([brought])[0].items == plain.recommend([asked("i1")])[0].items


def test_a_bundle_says_what_its_generator_is_and_is_named_by_its_content(bundle: Bundle, tmp_path: Path) -> None:
    assert bundle.name.startswith("p5-")
    assert bundle.manifest["kind"] == "p5"
    assert bundle.manifest["p5"] == {"preset": "toy"}
    assert list(bundle.manifest["weights"])[-2:] == ["p5", "popularity"]
    assert "p5.safetensors" in bundle.manifest["parts"]
    save_bundle(bundle, tmp_path / "bundle")
    assert (tmp_path / "bundle" / "p5.safetensors").read_bytes() == bundle.p5.parts(bundle.vocabulary.digest)[
        "p5.safetensors"
    ]


def test_a_loaded_bundle_with_a_p5_answers_as_the_one_that_was_saved(tmp_path: Path) -> None:
    bundle = toy_bundle()
    save_bundle(bundle, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.name == bundle.name
    queries = [asked("i3", "i4"), asked("i9", seen=frozenset(map(ItemId, ["i10", "i11"]))), asked()]
    first, second = (Pipeline(one, Catalogue()) for one in (bundle, loaded))
    assert first.generate(queries) == second.generate(queries)
    assert first.recommend(queries) == second.recommend(queries)
    assert "p5" in bundle.manifest["weights"]


def test_a_p5_is_taken_from_where_training_has_left_it(tmp_path: Path) -> None:
    events, items = marching(users=60, items=20, length=6)
    store = P5Store(tmp_path, may_train=True)
    config = configured({"epochs": 1}, preset("tiny"))
    told = {"fingerprint": "toy", "p5s": store, "p5_config": config}
    bundle = train_counts(events, items, **told)
    assert bundle.manifest["kind"] == "p5"
    assert bundle.manifest["p5"]["epoch"] == 1
    assert train_counts(events, items, **told).name == bundle.name
    with pytest.raises(UnknownName, match="no P5 was trained"):
        train_counts(events, items, fingerprint="other", p5s=P5Store(tmp_path), p5_config=config)
