from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save
from toy_tastes import SPACE, ToyEmbedder, tastes

from features.errors import BundleRefused, UnknownName
from features.events import ItemId, UserId
from features.items import Item
from models.bundle import Bundle, load_bundle, save_bundle, train_counts
from models.catalogue import Catalogue
from models.counts.fitting import Texts
from models.encoders.cold import FEWEST, RIDGES, ColdVectors, directions, fit_cold, told
from models.encoders.config import EncoderConfig
from models.encoders.retriever import COLD, SIDES, EncoderRetriever
from models.encoders.sides import SideVectors
from models.encoders.store import EncoderStore
from models.recommender import Pipeline, Query

CONFIG = EncoderConfig(dimensions=16, dropout=0.0, batch=8, epochs=8, patience=8)


def trained(folder: Path, embedder: ToyEmbedder | None, seed: int = 0, config: EncoderConfig = CONFIG) -> Bundle:
    store = EncoderStore(folder, may_train=True)
    return train_counts(
        *tastes(), fingerprint="toy", encoders=store, encoder_config=config, seed=seed, embedder=embedder
    )


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoders")


@pytest.fixture(scope="module")
def mapped(encoders: Path) -> Bundle:
    """Its encoder leaves words alone, so that only the embedder knows what a title is about."""
    return trained(encoders, ToyEmbedder(), config=replace(CONFIG, words=False))


@pytest.fixture(scope="module")
def both(encoders: Path) -> Bundle:
    """With words and a map."""
    return trained(encoders, ToyEmbedder())


@pytest.fixture(scope="module")
def worded(encoders: Path) -> Bundle:
    """With words and without a map."""
    return trained(encoders, None)


def retriever_of(bundle: Bundle) -> EncoderRetriever:
    assert bundle.retriever is not None
    return bundle.retriever


def test_a_map_that_is_there_is_found() -> None:
    generator = np.random.default_rng(0)
    features_NX = generator.normal(size=(200, 12)).astype(np.float32)
    truth_XD, bias_D = generator.normal(size=(12, 5)), np.array([1.0, -2.0, 0.0, 3.0, 0.5])
    vectors_ND = (features_NX @ truth_XD + bias_D).astype(np.float32)
    cold = fit_cold(features_NX[:150], vectors_ND[:150], np.full(150, 9), "toy")
    assert cold is not None
    assert (cold.items, cold.ridge) == (150, RIDGES[0])
    assert cold.error < 1e-3
    found = cold.vectors(features_NX[150:])
    np.testing.assert_allclose((found * directions(vectors_ND[150:])).sum(axis=1), 1.0, atol=1e-4)


def test_features_that_tell_nothing_are_shrunk_to_nothing() -> None:
    generator = np.random.default_rng(0)
    features_NX = generator.normal(size=(200, 50)).astype(np.float32)
    cold = fit_cold(features_NX, generator.normal(size=(200, 5)).astype(np.float32), np.full(200, 9), "toy")
    assert cold is not None
    assert cold.ridge >= 1000
    assert cold.error > 0.95
    assert np.abs(cold.map_XD).max() < 0.1


def test_items_of_few_events_teach_nothing() -> None:
    generator = np.random.default_rng(0)
    features_NX = generator.normal(size=(100, 4)).astype(np.float32)
    vectors_ND = features_NX.copy()
    counts_N = np.where(np.arange(100) < 60, 5, 4)
    vectors_ND[60:] = 1e6
    cold = fit_cold(features_NX, vectors_ND, counts_N, "toy")
    assert cold is not None
    assert cold.items == 60
    np.testing.assert_allclose(cold.map_XD, np.eye(4), atol=0.01)
    assert fit_cold(features_NX, vectors_ND, np.where(np.arange(100) < FEWEST - 1, 5, 4), "toy") is None


def test_what_is_embedded_is_the_title_and_the_categories() -> None:
    assert told("Alien", ("horror", "space")) == "Alien. horror, space"
    assert told("Alien", ()) == "Alien"
    assert told("", ("horror",)) == "horror"
    assert told("", ()) == ""


def test_words_and_categories_are_added_as_means_and_unknown_ones_left_out() -> None:
    sides = SideVectors(
        {
            "words": (("space", "love"), np.array([[1, 0], [3, 0]], np.float32)),
            "categories": (("film",), np.array([[0, 5]], np.float32)),
        },
        2,
    )
    texts = Texts(("Space LOVE space", "Love & something", "", "nothing known"), (("film",), (), ("film", "x"), ()))
    np.testing.assert_array_equal(sides.vectors(texts), [[2, 5], [3, 0], [0, 5], [0, 0]])


def test_an_encoders_items_are_their_rows_and_their_sides(worded: Bundle) -> None:
    retriever = retriever_of(worded)
    assert retriever.sides is not None
    [vector_D] = retriever.cold_vectors(Texts(("the",), ((),)))  # in several titles
    assert np.linalg.norm(vector_D) == pytest.approx(1.0)
    assert not retriever.cold_vectors(Texts(("unheard",), ((),))).any()


def test_new_items_go_to_those_who_like_the_like(mapped: Bundle) -> None:
    retriever = retriever_of(mapped)
    assert retriever.cold is not None
    assert mapped.manifest["encoder"]["cold"]["embedder"] == "toy"
    new = Texts(("all of space", "all of food"), ((), ()))
    vectors_FD = retriever.cold_vectors(new, ToyEmbedder().vectors(new.titles))
    catalogue = Catalogue([Item(ItemId("space"), "all of space"), Item(ItemId("food"), "all of food")])
    cold = ColdVectors(mapped.name, [ItemId("space"), ItemId("food")], vectors_FD - retriever.mean_direction())
    before = Pipeline(mapped, catalogue)
    pipeline = before.with_cold(cold).with_live({}, {})
    asked = [Query(UserId(user), tuple(ItemId(f"{kind}{n}") for n in (1, 2, 3))) for user, kind in ("as", "bf")]
    assert all(one.source != "new" for answer in before.recommend(asked) for one in answer.items)
    watcher, reader = (answer.items[-1] for answer in pipeline.recommend(asked))
    assert (watcher.item, watcher.source) == ("space", "new")
    assert (reader.item, reader.source) == ("food", "new")
    assert watcher.reason == "new, and goes with what you watched lately"
    newcomer = pipeline.recommend([Query(UserId("new"))])[0]
    assert all(one.source != "new" for one in newcomer.items)  # who has no history has no vector


def test_an_item_without_a_vector_keeps_its_turn(mapped: Bundle) -> None:
    """Half of the new items have no vector: about half of the users try one of those, and each is tried by some."""
    retriever = retriever_of(mapped)
    names = [ItemId(f"n{n}") for n in range(8)]
    vectors_FD = retriever.cold_vectors(Texts(("space",) * 4, ((),) * 4), ToyEmbedder().vectors(["space"] * 4))
    catalogue = Catalogue([Item(ItemId("s1"), categories=("film",)), *(Item(n, categories=("film",)) for n in names)])
    pipeline = Pipeline(mapped, catalogue).with_cold(ColdVectors(mapped.name, names[:4], vectors_FD))
    answers = pipeline.recommend([Query(UserId(f"user {n}"), (ItemId("s1"),)) for n in range(200)])
    counts = {name: sum(answer.items[-1].item == name for answer in answers) for name in names}
    assert min(counts.values()) > 0
    assert 70 <= sum(counts[name] for name in names[:4]) <= 130
    reasons = {answer.items[-1].item in names[:4]: answer.items[-1].reason for answer in answers}
    assert reasons == {True: "new, and goes with what you watched lately", False: "new in film"}


def test_vectors_of_another_bundle_are_refused(mapped: Bundle, worded: Bundle) -> None:
    cold = ColdVectors(worded.name, [], np.zeros((0, 16), np.float32))
    with pytest.raises(UnknownName, match=worded.name):
        Pipeline(mapped, Catalogue()).with_cold(cold)


def test_a_bundle_keeps_its_map_and_its_words(both: Bundle, tmp_path: Path) -> None:
    save_bundle(both, tmp_path / "bundle")
    assert {path.name for path in (tmp_path / "bundle").iterdir()} >= {COLD, SIDES}
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.name == both.name
    texts = Texts(("the last space flight", "food"), ((), ("book",)))
    embeddings_IE = ToyEmbedder().vectors(texts.titles)
    for given in (None, embeddings_IE):
        np.testing.assert_array_equal(
            retriever_of(loaded).cold_vectors(texts, given), retriever_of(both).cold_vectors(texts, given)
        )


def test_what_says_nothing_of_titles_makes_no_difference_to_the_encoder(both: Bundle, worded: Bundle) -> None:
    assert both.name != worded.name
    assert worded.manifest["encoder"]["cold"] is None
    np.testing.assert_array_equal(retriever_of(both).encoder.vectors_ND, retriever_of(worded).encoder.vectors_ND)


Parts = dict[str, bytes]


def halved(part: str) -> Callable[[Parts, Parts], None]:
    def damage(ours: Parts, theirs: Parts) -> None:
        ours[part] = ours[part][: len(ours[part]) // 2]

    return damage


def anothers(part: str) -> Callable[[Parts, Parts], None]:
    def damage(ours: Parts, theirs: Parts) -> None:
        ours[part] = theirs[part]

    return damage


def altered(part: str, array: str, value: float) -> Callable[[Parts, Parts], None]:
    def damage(ours: Parts, theirs: Parts) -> None:
        content = ours[part]
        size = int.from_bytes(content[:8], "little")
        arrays = load(content)
        arrays[array] = np.full_like(arrays[array], value)
        ours[part] = content[: 8 + size] + save(arrays)[8 + int.from_bytes(save(arrays)[:8], "little") :]

    return damage


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (halved(SIDES), f"{SIDES}: missing or damaged"),
        (halved(COLD), f"{COLD}: missing or damaged"),
        (anothers(SIDES), f"{SIDES}: was made with another"),
        (anothers(COLD), f"{COLD}: was made with another"),
        (altered(COLD, "map", np.nan), "not finite"),
        (altered(COLD, "bias", np.inf), "not finite"),
        (altered(SIDES, "words", np.nan), "not finite"),
        (altered(SIDES, "words", 0.5), f"{COLD}: was made with another sides"),
    ],
)
def test_parts_that_are_damaged_or_of_another_bundle_are_refused(
    encoders: Path, both: Bundle, damage: Callable[[Parts, Parts], None], reason: str
) -> None:
    ours = retriever_of(both).parts(both.vocabulary.digest)
    theirs = retriever_of(trained(encoders, ToyEmbedder(), seed=1)).parts(both.vocabulary.digest)
    EncoderRetriever.from_parts(ours, both.vocabulary.digest, len(both.vocabulary))
    damage(ours, theirs)
    with pytest.raises(BundleRefused, match=reason):
        EncoderRetriever.from_parts(ours, both.vocabulary.digest, len(both.vocabulary))


def test_an_encoder_without_its_words_still_gets_a_map(both: Bundle) -> None:
    parts = retriever_of(both).parts(both.vocabulary.digest)
    del parts[SIDES], parts[COLD]
    bare = EncoderRetriever.from_parts(parts, both.vocabulary.digest, len(both.vocabulary))
    assert not bare.cold_vectors(Texts(("space",), ((),))).any()
    titles = tuple(SPACE + ["food"] * 12)
    mapped = bare.with_cold(Texts(titles, ((),) * 24), np.full(24, 9), ToyEmbedder())
    assert mapped.cold is not None
    assert mapped.cold.map_XD.shape == (3, 16)
