import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load, save
from toy_frames import marching

from features.errors import BundleRefused, InvalidInput
from features.events import ItemId, UserId
from features.frames import held_out_users
from models.bundle import Bundle, load_bundle, save_bundle, train_counts
from models.catalogue import Catalogue
from models.counts.fitting import CountsConfig
from models.encoders.config import EncoderConfig
from models.encoders.store import EncoderStore
from models.recommender import Pipeline, Query


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return train_counts(*marching(users=60, items=20, length=6), fingerprint="toy")


def test_a_loaded_bundle_answers_as_the_one_that_was_saved(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.name == bundle.name
    assert loaded.manifest == json.loads(json.dumps(bundle.manifest))
    asked = [Query(UserId("ann"), (ItemId("i3"), ItemId("i4"))), Query(UserId("bob"))]
    assert Pipeline(loaded, Catalogue()).recommend(asked) == Pipeline(bundle, Catalogue()).recommend(asked)


def test_a_bundle_with_an_encoder_is_the_same_bytes_each_time_and_loads(tmp_path: Path) -> None:
    config = EncoderConfig(dimensions=16, blocks=1, heads=1, epochs=1)
    encoders = EncoderStore(tmp_path / "encoders", may_train=True)
    events, items = marching(users=60, items=20, length=6)
    bundle = train_counts(events, items, fingerprint="toy", encoders=encoders, encoder_config=config)
    assert bundle.retriever is not None
    first = bundle.retriever.parts("vocabulary")
    assert all(bundle.retriever.parts("vocabulary") == first for _ in range(20))
    save_bundle(bundle, tmp_path / "bundle")
    assert load_bundle(tmp_path / "bundle").name == bundle.name


def test_the_same_data_makes_the_same_bundle_and_other_data_another(bundle: Bundle) -> None:
    events, items = marching(users=60, items=20, length=6)
    assert train_counts(events, items, fingerprint="toy").name == bundle.name
    assert train_counts(events[:-1], items, fingerprint="toy").name != bundle.name


def test_the_manifest_says_what_was_fitted(bundle: Bundle) -> None:
    assert bundle.manifest["data"] == {"name": "", "fingerprint": "toy", "users": 60, "items": 20, "events": 300}
    assert bundle.manifest["fit"] == "serve"
    assert set(bundle.manifest["weights"]) == {"pctm", "itemknn", "ease", "content", "popularity"}
    assert len(bundle.manifest["weights"]) <= 10


def test_a_large_catalogue_is_fitted_without_ease() -> None:
    config = CountsConfig(ease_most_items=19)
    assert "ease" not in train_counts(*marching(60, 20, 6), fingerprint="toy", config=config).tables


@pytest.mark.parametrize(("fit", "unseen"), [("refit", 1), ("train", 2)])
def test_held_out_events_do_not_reach_the_models(fit: str, unseen: int) -> None:
    events, items = marching(users=30, items=20, length=6)
    # Every user's last events become another item, the same for all: a model that saw one would change by it.
    last = np.arange(events.height) % 6 >= 6 - unseen
    other = events.with_columns(
        item=np.where(last, "i0", events["item"].to_numpy().astype(object))  # type: ignore[arg-type]
    )
    first, second = (train_counts(frame, items, fingerprint="toy", fit=fit) for frame in (events, other))
    for name, table in first.tables.items():
        np.testing.assert_array_equal(table.neighbours_NK, second.tables[name].neighbours_NK)
        np.testing.assert_array_equal(table.weights_NK, second.tables[name].weights_NK)
    np.testing.assert_array_equal(first.popularity.counts_N, second.popularity.counts_N)
    same = first.manifest["weights"] == second.manifest["weights"]
    assert same == (fit == "refit")  # "train" chooses its weights on the last but one event, and may see that one


def test_the_served_models_are_fitted_on_all_but_the_last_events_of_the_users_held_out() -> None:
    events, items = marching(users=30, items=20, length=6)
    held_out = set(held_out_users(events, most=2000))
    few = events.filter((pl.col("user") != "u3") | (pl.col("at") < 2))  # two events are too few to lose one
    last = (np.arange(events.height) % 6 == 5) & np.array([user in held_out for user in events["user"]])
    other = events.with_columns(item=np.where(last, "i0", events["item"].to_numpy().astype(object)))  # type: ignore[arg-type]
    first, second = (train_counts(frame, items, fingerprint="toy") for frame in (events, other))
    assert first.name == second.name
    assert first.manifest["data"]["events"] == 30 * 5
    assert train_counts(few, items, fingerprint="toy").manifest["data"]["events"] == 29 * 5 + 2


def test_the_last_event_reaches_neither_models_nor_weights_without_refitting() -> None:
    events, items = marching(users=30, items=20, length=6)
    last = np.arange(events.height) % 6 == 5
    other = events.with_columns(item=np.where(last, "i0", events["item"].to_numpy().astype(object)))  # type: ignore[arg-type]
    first, second = (train_counts(frame, items, fingerprint="toy", fit="train") for frame in (events, other))
    assert first.name == second.name


def test_an_unknown_fit_and_an_empty_data_set_are_refused() -> None:
    events, items = marching(users=3, items=5, length=4)
    with pytest.raises(InvalidInput, match="serve, refit, train"):
        train_counts(events, items, fingerprint="toy", fit="some")
    with pytest.raises(InvalidInput, match="no user"):
        train_counts(events.clear(), items, fingerprint="toy")


def test_one_event_a_user_is_enough_to_train() -> None:
    bundle = train_counts(*marching(users=5, items=5, length=1), fingerprint="toy")
    assert Pipeline(bundle, Catalogue()).recommend([Query(UserId("ann"), (ItemId("i1"),), k=3)])[0].items


def test_a_bundle_is_never_written_over_another(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "bundle")
    with pytest.raises(FileExistsError):
        save_bundle(bundle, tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def truncate(folder: Path) -> None:
    file = folder / "pctm.safetensors"
    file.write_bytes(file.read_bytes()[:-8])


def lose(folder: Path) -> None:
    (folder / "itemknn.safetensors").unlink()


def lose_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def swap_the_vocabulary(folder: Path) -> None:
    names = json.loads((folder / "vocabulary.json").read_bytes())
    rewrite(folder, "vocabulary.json", json.dumps(names[::-1], separators=(",", ":")).encode())


def poison(folder: Path) -> None:
    arrays = load((folder / "pctm.safetensors").read_bytes())
    arrays["weights"][0, 0] = np.nan
    rewrite(folder, "pctm.safetensors", save(arrays))


def point_nowhere(folder: Path) -> None:
    arrays = load((folder / "pctm.safetensors").read_bytes())
    arrays["neighbours"][0, 0] = 20
    rewrite(folder, "pctm.safetensors", save(arrays))


def shorten(folder: Path) -> None:
    arrays = load((folder / "itemknn.safetensors").read_bytes())
    rewrite(folder, "itemknn.safetensors", save({name: array[:-1].copy() for name, array in arrays.items()}))


def drop_an_array(folder: Path) -> None:
    arrays = load((folder / "itemknn.safetensors").read_bytes())
    rewrite(folder, "itemknn.safetensors", save({"weights": arrays["weights"]}))


def raise_a_weight(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["weights"]["pctm"] += 1
    (folder / "manifest.json").write_text(json.dumps(manifest))


def rewrite(folder: Path, name: str, content: bytes) -> None:
    """Writes the file and its digest, as somebody would who knows the manifest."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["parts"][name] = sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate, "sha256"),
        (lose, "cannot be read"),
        (lose_the_manifest, "manifest"),
        (swap_the_vocabulary, "vocabulary"),
        (poison, "not finite"),
        (point_nowhere, "no row"),
        (shorten, r"\[19"),
        (drop_an_array, "neighbours"),
        (raise_a_weight, "altered"),
    ],
)
def test_a_damaged_bundle_is_refused(bundle: Bundle, tmp_path: Path, damage: Callable[[Path], None], said: str) -> None:
    save_bundle(bundle, tmp_path / "bundle")
    damage(tmp_path / "bundle")
    with pytest.raises(BundleRefused, match=said):
        load_bundle(tmp_path / "bundle")
