"""Trained encoders on disk, and what bundles and evaluations take of them; users march round a ring of 20 items."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load, save
from toy_frames import marching
from toy_sequences import tiny

from features.errors import BundleRefused, UnknownName
from features.events import ItemId, UserId
from features.frames import at_least, hold_out_last, ordered
from models.bundle import Bundle, load_bundle, save_bundle, train_counts
from models.catalogue import Catalogue
from models.counts.fitting import texts_of
from models.encoders.config import EncoderConfig
from models.encoders.retriever import PARTS
from models.encoders.store import Cut, EncoderPair, EncoderStore
from models.evaluation import evaluate_ranking, train_for_evaluation
from models.recommender import Pipeline, Query
from models.vocabulary import Vocabulary

CONFIG = tiny(epochs=6)
CUT = Cut("toy", "leave-one-out")
EVENTS, ITEMS = marching(users=60, items=20, length=6)


def pair_of(
    folder: Path,
    events: pl.DataFrame = EVENTS,
    cut: Cut = CUT,
    config: EncoderConfig = CONFIG,
    seed: int = 0,
    *,
    fit: str = "refit",
    may_train: bool = False,
) -> EncoderPair:
    history = hold_out_last(at_least(ordered(events), 3)).history
    vocabulary = Vocabulary.of(ITEMS["item"])
    store = EncoderStore(folder, may_train=may_train)
    return store.pair(history, vocabulary, texts_of(ITEMS, vocabulary), cut, config, seed, fit=fit)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders")
    pair_of(folder, may_train=True)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    store = EncoderStore(tmp_path_factory.mktemp("serving"), may_train=True)
    return train_counts(EVENTS, ITEMS, fingerprint="toy", encoders=store, encoder_config=CONFIG)


def test_what_was_trained_is_loaded_and_answers_the_same(trained: Path, tmp_path: Path) -> None:
    made, again = pair_of(tmp_path, may_train=True), pair_of(trained)
    for one, other in ((made.tuned, again.tuned), (made.kept, again.kept)):
        assert one.manifest["epoch"] == other.manifest["epoch"]
        np.testing.assert_array_equal(one.retriever.vectors([[1, 2, 3]]), other.retriever.vectors([[1, 2, 3]]))
    assert again.kept.manifest["epochs"] == again.tuned.manifest["epoch"]


def test_without_refitting_the_tuned_encoder_is_kept(trained: Path) -> None:
    pair = pair_of(trained, fit="train")
    assert pair.kept is pair.tuned


@pytest.mark.parametrize(
    "asked",
    [
        {"seed": 1},
        {"cut": replace(CUT, tie_seed=1)},
        {"cut": replace(CUT, fingerprint="other")},
        {"cut": replace(CUT, split="global")},
        {"config": replace(CONFIG, dropout=0.1)},
    ],
)
def test_an_encoder_for_anything_else_is_asked_for(trained: Path, asked: dict[str, object]) -> None:
    with pytest.raises(UnknownName, match="tasteprint train encoder"):
        pair_of(trained, **asked)  # type: ignore[arg-type]


def test_held_out_events_reach_no_encoder(tmp_path: Path) -> None:
    last = np.arange(EVENTS.height) % 6 == 5
    other = EVENTS.with_columns(item=np.where(last, "i0", EVENTS["item"].to_numpy().astype(object)))  # type: ignore[arg-type]
    first = pair_of(tmp_path / "first", may_train=True)
    second = pair_of(tmp_path / "second", other, may_train=True)
    for one, two in ((first.tuned, second.tuned), (first.kept, second.kept)):
        np.testing.assert_array_equal(one.retriever.encoder.items_ND, two.retriever.encoder.items_ND)


def test_the_last_but_one_events_reach_the_kept_encoder_alone(tmp_path: Path) -> None:
    """They are what training stops by, so the number of epochs is held."""
    last_but_one = np.arange(EVENTS.height) % 6 == 4
    other = EVENTS.with_columns(item=np.where(last_but_one, "i0", EVENTS["item"].to_numpy().astype(object)))  # type: ignore[arg-type]
    once = replace(CONFIG, epochs=1)
    first = pair_of(tmp_path / "first", config=once, may_train=True)
    second = pair_of(tmp_path / "second", other, config=once, may_train=True)
    for kind, is_same in (("tuned", True), ("kept", False)):
        one, two = (getattr(pair, kind).retriever.encoder.items_ND for pair in (first, second))
        assert np.array_equal(one, two) == is_same


def alter_the_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"seed": 7}))


def lose_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def truncate(folder: Path) -> None:
    (folder / PARTS[1]).write_bytes((folder / PARTS[1]).read_bytes()[:-8])


def lose_a_part(folder: Path) -> None:
    (folder / PARTS[2]).unlink()


def list_no_digests(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"parts": list(PARTS)}))


def write_another_kind_of_json(folder: Path) -> None:
    (folder / "manifest.json").write_text("[]")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (alter_the_manifest, "something else"),
        (lose_the_manifest, "incomplete"),
        (truncate, "sha256"),
        (lose_a_part, "incomplete"),
        (list_no_digests, "incomplete"),
        (write_another_kind_of_json, "incomplete"),
    ],
)
def test_a_damaged_encoder_is_refused(tmp_path: Path, damage: Callable[[Path], None], said: str) -> None:
    pair_of(tmp_path, fit="train", may_train=True)
    [folder] = tmp_path.glob("sasrec-*")
    damage(folder)
    with pytest.raises(BundleRefused, match=said):
        pair_of(tmp_path, fit="train")


def test_a_bundle_with_an_encoder_answers_as_the_one_that_was_saved(bundle: Bundle, tmp_path: Path) -> None:
    assert bundle.name.startswith("encoder-")
    save_bundle(bundle, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.name == bundle.name
    asked = [Query(UserId("ann"), (ItemId("i3"), ItemId("i4"))), Query(UserId("bob"))]
    assert Pipeline(loaded, Catalogue()).recommend(asked) == Pipeline(bundle, Catalogue()).recommend(asked)


def test_a_bundle_says_what_its_encoder_was_trained_on(bundle: Bundle) -> None:
    assert bundle.manifest["encoder"]["cut"] == {"fingerprint": "toy", "split": "serve", "tie_seed": 0, "part": "refit"}
    assert len(bundle.manifest["weights"]) <= 9  # and the epoch: ten scalars are chosen on validation targets at most


def test_a_vector_that_a_query_brings_is_used(bundle: Bundle) -> None:
    pipeline = Pipeline(bundle, Catalogue(), diversity=0.0)
    marcher = Query(UserId("ann"), (ItemId("i3"), ItemId("i4")))
    elsewhere = Query(UserId("bob"), (ItemId("i12"), ItemId("i13")))
    vectors_BD = pipeline.vectors([marcher, elsewhere])
    own, others, none = pipeline.recommend(
        [replace(marcher, vector_D=vectors_BD[0]), replace(marcher, vector_D=vectors_BD[1]), marcher]
    )
    assert [found.item for found in own.items] == [found.item for found in none.items]
    assert [found.item for found in own.items] != [found.item for found in others.items]


def test_items_that_the_encoder_never_met_are_left_out_with_their_times(bundle: Bundle) -> None:
    pipeline = Pipeline(bundle, Catalogue())
    known = Query(UserId("ann"), (ItemId("i3"), ItemId("i4")), times_L=np.array([1.0, 2.0]))
    more = Query(UserId("ann"), (ItemId("i3"), ItemId("new"), ItemId("i4")), times_L=np.array([1.0, 1.5, 2.0]))
    np.testing.assert_array_equal(*pipeline.vectors([known, more])[:, None])


def test_a_pipeline_without_an_encoder_says_what_would_have_one() -> None:
    pipeline = Pipeline(train_counts(EVENTS, ITEMS, fingerprint="toy"), Catalogue())
    assert pipeline.encoder_model is None
    with pytest.raises(UnknownName, match="train encoder"):
        pipeline.vectors([Query(UserId("ann"))])


def publish(folder: Path, name: str, content: bytes) -> None:
    """Writes the file and its digest, as somebody would who knows the manifest."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["parts"][name] = sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", PARTS)
def test_a_part_of_another_bundle_is_refused(bundle: Bundle, tmp_path: Path, name: str) -> None:
    store = EncoderStore(tmp_path / "store", may_train=True)
    other = train_counts(EVENTS, ITEMS, fingerprint="toy", encoders=store, encoder_config=CONFIG, seed=1)
    for one, folder in ((bundle, "bundle"), (other, "other")):
        save_bundle(one, tmp_path / folder)
    publish(tmp_path / "bundle", name, (tmp_path / "other" / name).read_bytes())
    with pytest.raises(BundleRefused, match="was made with another"):
        load_bundle(tmp_path / "bundle")


def test_layers_that_are_not_finite_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "bundle")
    name = PARTS[1]
    content = (tmp_path / "bundle" / name).read_bytes()
    said = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    arrays = {key: array.copy() for key, array in load(content).items()}
    next(iter(arrays.values())).flat[0] = np.nan
    publish(tmp_path / "bundle", name, save(arrays, said))
    with pytest.raises(BundleRefused, match=r"not finite"):
        load_bundle(tmp_path / "bundle")


def test_an_evaluation_loads_what_was_trained_for_it_and_trains_nothing(tmp_path: Path) -> None:
    store = EncoderStore(tmp_path, may_train=True)
    made = train_for_evaluation(
        EVENTS, ITEMS, fingerprint="toy", configs=[CONFIG], encoders=store, fit="train", seeds=2
    )
    assert [(one["kind"], one["seed"]) for one in made] == [("sasrec", 0), ("sasrec", 1)]
    report = evaluate_ranking(
        EVENTS,
        ITEMS,
        fingerprint="toy",
        models=["popularity", "sasrec", "pipeline-counts", "pipeline"],
        fit="train",
        seeds=2,
        bootstrap=20,
        encoders=EncoderStore(tmp_path),
        encoder_configs={"sasrec": CONFIG},
    )
    measured = report["models"]
    assert len(measured["sasrec"]["ndcg@10_runs"]) == len(measured["pipeline"]["ndcg@10_runs"]) == 2
    assert measured["sasrec"]["ndcg@10"] > measured["popularity"]["ndcg@10"] + 0.2
    assert {"encoder", "popularity", "encoder x activity", "popularity x activity"} < set(report["weights"])
    assert set(report["comparisons"]) == {f"pipeline - {name}" for name in ("popularity", "sasrec", "pipeline-counts")}
    assert sum(third["users"] for third in report["by_activity"]) == 60
    json.dumps(report, allow_nan=False)


def test_a_server_whose_bundle_counts_waits_for_neither_torch_nor_faiss_nor_mlflow(tmp_path: Path) -> None:
    save_bundle(train_counts(EVENTS, ITEMS, fingerprint="toy"), tmp_path / "bundle")
    program = (
        "import sys; from pathlib import Path; import services.api.app; from models.bundle import load_bundle; "
        f"from models.catalogue import Catalogue; from models.recommender import Pipeline; "
        f"Pipeline(load_bundle(Path({str(tmp_path / 'bundle')!r})), Catalogue()); "
        "print([name for name in ('torch', 'faiss', 'mlflow', 'transformers') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
