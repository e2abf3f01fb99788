import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_p5 import tastes
from toy_p5_checkpoint import t5_folder
from toy_p5_model import tiny

from features.errors import BundleRefused, UnknownName
from features.frames import hold_out_last, ordered
from models.counts.fitting import Texts, texts_of
from models.encoders.store import Cut
from models.p5.store import P5Store
from models.vocabulary import Vocabulary

CUT = Cut("fingerprint", "leave-one-out")
CONFIG = tiny(epochs=1)


def given() -> tuple[Any, Vocabulary, Texts]:
    """(history, vocabulary, texts) of random tastes, without each user's last event."""
    events, items = tastes(users=40)
    vocabulary = Vocabulary.of([*items["item"], *events["item"]])
    return hold_out_last(ordered(events)).history, vocabulary, texts_of(items, vocabulary)


def test_a_model_is_trained_once_and_loaded_for_the_same_question(tmp_path: Path) -> None:
    told: list[Any] = []
    store = P5Store(tmp_path, may_train=True, trained=told.append)
    first = store.get(*given(), CUT, CONFIG, 0)
    again = P5Store(tmp_path).get(*given(), CUT, CONFIG, 0)
    assert [one["seed"] for one in told] == [0]
    assert told[0]["families"] == ["rating", "sequential", "explanation", "review", "direct"]
    assert again.parts("x") == first.parts("x")
    assert again.described()["curves"] == told[0]["curves"]
    assert not list((tmp_path / "unfinished").iterdir())


@pytest.mark.parametrize(
    "other",
    [
        {"cut": replace(CUT, split="serve")},
        {"cut": replace(CUT, fingerprint="of other data")},
        {"cut": replace(CUT, tie_seed=1)},
        {"seed": 1},
        {"config": tiny(epochs=2)},
    ],
)
def test_a_model_of_another_question_is_not_taken(tmp_path: Path, other: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"cut": CUT, "config": CONFIG, "seed": 0}
    P5Store(tmp_path, may_train=True).get(*given(), **asked)
    with pytest.raises(UnknownName, match="no P5 was trained for this data with this configuration"):
        P5Store(tmp_path).get(*given(), **asked | other)


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    P5Store(tmp_path, may_train=True).get(*given(), CUT, CONFIG, 0)
    [folder] = tmp_path.glob("p5-*")
    weights = folder / "p5.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"\1")
    with pytest.raises(BundleRefused, match="sha256"):
        P5Store(tmp_path).get(*given(), CUT, CONFIG, 0)
    weights.write_bytes(whole)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"seed": 5}))
    with pytest.raises(BundleRefused, match="something else"):
        P5Store(tmp_path).get(*given(), CUT, CONFIG, 0)


def test_a_model_of_a_checkpoint_that_has_other_weights_since_is_not_taken(tmp_path: Path) -> None:
    config = tiny(checkpoint=str(t5_folder(tmp_path / "t5")), epochs=1)
    first = P5Store(tmp_path, may_train=True).get(*given(), CUT, config, 0)
    assert P5Store(tmp_path).get(*given(), CUT, config, 0).parts("x") == first.parts("x")
    t5_folder(tmp_path / "t5", seed=2)
    with pytest.raises(UnknownName, match="no P5 was trained"):
        P5Store(tmp_path).get(*given(), CUT, config, 0)
