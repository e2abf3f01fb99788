"""An encoder with the index of its items, and the three parts that a bundle keeps of them."""

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save
from toy_frames import events_of, marching
from toy_sequences import CPU, marched, tiny

from features.errors import BundleRefused
from features.events import ItemId, UserId
from models.bundle import Bundle, load_bundle, save_bundle, train_counts
from models.catalogue import Catalogue
from models.encoders.frozen import FrozenEncoder
from models.encoders.retriever import PARTS, EncoderRetriever
from models.encoders.store import EncoderStore
from models.encoders.train import train
from models.fusion import Fusion
from models.recommender import Pipeline, Query

ITEMS, ENCODER, INDEX = PARTS


def retriever_of(kind: str = "sasrec", seed: int = 0) -> EncoderRetriever:
    data = marched()
    return EncoderRetriever.of(FrozenEncoder.of(train(data, tiny(kind), seed=seed, epochs=2, device=CPU), data))


@pytest.fixture(scope="module")
def retriever() -> EncoderRetriever:
    return retriever_of()


@pytest.fixture(scope="module")
def parts(retriever: EncoderRetriever) -> Mapping[str, bytes]:
    return retriever.parts("a map")


def said_of(content: bytes) -> dict[str, str]:
    header: dict[str, dict[str, str]] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header["__metadata__"]


def test_every_item_is_retrieved_with_how_far_it_is_above_the_last(retriever: EncoderRetriever) -> None:
    vectors_BD = retriever.vectors([[3, 4], [7]])
    rows_BR, values_BR = retriever.retrieve(vectors_BD)
    scores_BN = vectors_BD @ retriever.encoder.vectors_ND.T
    for rows_R, values_R, scores_N in zip(rows_BR, values_BR, scores_BN, strict=True):
        assert sorted(rows_R.tolist()) == list(range(20))
        np.testing.assert_allclose(values_R, scores_N[rows_R] - scores_N.min(), atol=1e-5)
        assert values_R[-1] == 0


def test_an_empty_history_points_at_nothing(retriever: EncoderRetriever) -> None:
    _, values_BR = retriever.retrieve(retriever.vectors([[]]))
    assert not values_BR.any()


@pytest.mark.parametrize("kind", ["sasrec", "gru4rec", "mean"])
def test_the_same_retriever_comes_back_from_its_parts(kind: str) -> None:
    made = retriever_of(kind)
    content = made.parts("a map")
    again = EncoderRetriever.from_parts(content, "a map", 20)
    assert again.encoder.config == made.encoder.config
    assert again.parts("a map") == content
    for one, other in zip(made.retrieve(made.vectors([[1, 2]])), again.retrieve(again.vectors([[1, 2]])), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_another_item_map_are_refused(parts: Mapping[str, bytes], name: str) -> None:
    other = retriever_of().parts("another map")
    with pytest.raises(BundleRefused, match="was made with another vocabulary than this bundle's; train again"):
        EncoderRetriever.from_parts({**parts, name: other[name]}, "a map", 20)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (ITEMS, "encoder.safetensors: was made with another items"),
        (ENCODER, "encoder.safetensors: was made with another items"),
        (INDEX, "index.safetensors: was made with another items"),
    ],
)
def test_a_part_of_another_training_is_refused_with_what_does_not_fit(
    parts: Mapping[str, bytes], name: str, said: str
) -> None:
    other = retriever_of(seed=1).parts("a map")
    with pytest.raises(BundleRefused, match=said):
        EncoderRetriever.from_parts({**parts, name: other[name]}, "a map", 20)


def test_an_index_of_another_encoder_of_the_same_items_is_refused(parts: Mapping[str, bytes]) -> None:
    arrays = {name: array * 2 for name, array in load(parts[ENCODER]).items()}
    altered = save(arrays, said_of(parts[ENCODER]))
    with pytest.raises(BundleRefused, match=r"index.safetensors: was made with another encoder"):
        EncoderRetriever.from_parts({**parts, ENCODER: altered}, "a map", 20)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("kept", [0, 7, 40, -8])
def test_a_truncated_part_is_refused_by_name(parts: Mapping[str, bytes], name: str, kept: int) -> None:
    with pytest.raises(BundleRefused, match=f"{name}: missing or damaged"):
        EncoderRetriever.from_parts({**parts, name: parts[name][:kept]}, "a map", 20)


@pytest.mark.parametrize("name", PARTS)
def test_a_missing_part_is_refused_by_name(parts: Mapping[str, bytes], name: str) -> None:
    with pytest.raises(BundleRefused, match=f"{name}: missing"):
        EncoderRetriever.from_parts({one: content for one, content in parts.items() if one != name}, "a map", 20)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_without_its_arrays_or_its_say_is_refused(parts: Mapping[str, bytes], name: str) -> None:
    nothing = save({"nothing": np.zeros(1, np.float32)}, said_of(parts[name]))
    with pytest.raises(BundleRefused):
        EncoderRetriever.from_parts({**parts, name: nothing}, "a map", 20)
    silent = save(load(parts[name]))
    with pytest.raises(BundleRefused, match=f"{name}: missing or damaged"):
        EncoderRetriever.from_parts({**parts, name: silent}, "a map", 20)


@pytest.mark.parametrize("config", ["[]", "{", '{"kind": "bert"}', '{"layers": 3}', None])
def test_an_encoder_of_an_unknown_configuration_is_refused(parts: Mapping[str, bytes], config: str | None) -> None:
    said = json.loads(said_of(parts[ENCODER])["said"])
    del said["config"]
    if config is not None:
        said["config"] = config
    altered = save(load(parts[ENCODER]), {"said": json.dumps(said)})
    with pytest.raises(BundleRefused, match=r"encoder.safetensors: incomplete"):
        EncoderRetriever.from_parts({**parts, ENCODER: altered}, "a map", 20)


def test_values_that_are_not_finite_are_refused_in_items_and_in_layers(parts: Mapping[str, bytes]) -> None:
    items_ND = load(parts[ITEMS])["items"].copy()
    items_ND[2, 1] = np.nan
    poisoned = save({"items": items_ND}, said_of(parts[ITEMS]))
    with pytest.raises(BundleRefused):
        EncoderRetriever.from_parts({**parts, ITEMS: poisoned}, "a map", 20)
    layers = {name: array.copy() for name, array in load(parts[ENCODER]).items()}
    layers["layers.norm.weight"][0] = np.inf
    poisoned = save(layers, said_of(parts[ENCODER]))
    with pytest.raises(BundleRefused, match=r"layers.norm.weight has values that are not finite"):
        EncoderRetriever.from_parts({**parts, ENCODER: poisoned}, "a map", 20)


def test_as_many_vectors_as_items_are_asked_for(parts: Mapping[str, bytes]) -> None:
    with pytest.raises(BundleRefused, match="20 vectors for 21 items; train again"):
        EncoderRetriever.from_parts(parts, "a map", 21)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    store = EncoderStore(tmp_path_factory.mktemp("encoders"), may_train=True)
    return train_counts(*marching(60, 20, 6), fingerprint="toy", encoders=store, encoder_config=tiny(epochs=3))


def test_the_encoder_is_the_reason_only_where_no_item_of_the_history_is(bundle: Bundle) -> None:
    pipeline = Pipeline(bundle, Catalogue(), diversity=0.0)
    weights_F = np.zeros_like(bundle.fusion.weights_F)
    weights_F[len(bundle.tables)] = 1.0
    of_encoder = Fusion(list(bundle.tables.values()), bundle.popularity, weights_F, bundle.retriever)
    alone = Pipeline(replace(bundle, fusion=of_encoder), Catalogue(), diversity=0.0)
    asked = Query(UserId("ann"), (ItemId("i3"), ItemId("i4")), k=18)
    for candidate in pipeline.recommend([asked])[0].items:
        assert (candidate.source == "counts") == (candidate.because is not None)
    answer = alone.recommend([asked])[0].items
    *spoken, last = [candidate.source for candidate in answer]
    assert set(spoken) <= {"encoder"}
    assert last in ("encoder", "popular", "trending")  # the last one retrieved is above nothing
    assert answer[0].reason == "goes with what you watched lately"


def test_for_nobody_and_for_the_unknown_the_encoder_says_nothing(bundle: Bundle) -> None:
    pipeline = Pipeline(bundle, Catalogue())
    nobody, stranger = (
        pipeline.recommend([Query(UserId("ann"), history)])[0] for history in ((), (ItemId("never heard of"),))
    )
    assert nobody.items == stranger.items
    assert {candidate.source for candidate in nobody.items} <= {"popular", "trending"}


def test_a_user_of_one_event_is_served_and_no_trouble_to_training(tmp_path_factory: pytest.TempPathFactory) -> None:
    events, items = marching(60, 20, 6)
    more = events.vstack(events_of({"one": ["i3"]}).with_columns(event_id=events["event_id"][:1] + "x"))
    store = EncoderStore(tmp_path_factory.mktemp("encoders"), may_train=True)
    made = train_counts(more, items, fingerprint="toy", encoders=store, encoder_config=tiny(epochs=2))
    answer = Pipeline(made, Catalogue(), diversity=0.0).recommend([Query(UserId("one"), (ItemId("i3"),), k=3)])[0]
    assert len(answer.items) == 3


def test_a_bundle_of_another_format_is_refused(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    save_bundle(bundle, folder)
    for change in ({"format": 99}, {"kind": "spirit"}):
        (folder / "manifest.json").write_text(json.dumps({**bundle.manifest, **change}))
        with pytest.raises(BundleRefused, match="not a bundle of format 1, of counts or encoder"):
            load_bundle(folder)
    (folder / "manifest.json").write_text(json.dumps({**bundle.manifest, "kind": "counts"}))
    with pytest.raises(BundleRefused):
        load_bundle(folder)
