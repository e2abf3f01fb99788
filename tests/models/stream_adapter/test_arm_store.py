"""Adapters that are trained for an evaluation, kept, interrupted, and found again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_adaptation import ADAPTING, DRAWN, quick_adapter, toy_arms, toy_store

from features.errors import BundleRefused, UnknownName
from models.stream_adapter.arm_store import trained_for
from models.stream_adapter.arms import AdapterArm, Arm

pytestmark = pytest.mark.usefixtures("one_thread")

ARMS = toy_arms()
ARM = ARMS["stream-adapter"]
STRANGER = ARMS["stream-adapter of another user"]


def manifest(arm: Arm, home: Path, **more: object) -> object:
    return toy_store(home, ARMS, **more).learnt(arm)


def test_an_adapter_is_trained_once_for_what_it_is_asked(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="evaluate adaptation --arms 'stream-adapter' --train"):
        manifest(STRANGER, tmp_path, may_train=False)
    made = manifest(ARM, tmp_path)
    assert manifest(STRANGER, tmp_path, may_train=False) == made
    assert isinstance(ARM, AdapterArm)
    for other in (replace(ARM, config=quick_adapter(rank=1)), ARMS["constant/stream-adapter"]):
        with pytest.raises(UnknownName):
            manifest(other, tmp_path, may_train=False)
    with pytest.raises(UnknownName):
        manifest(ARM, tmp_path, may_train=False, seed=1)
    given = (ADAPTING, tmp_path / "toy", ARM.config)
    found = trained_for(tmp_path / "adapted", *given, seed=0)
    assert found is not None
    assert trained_for(tmp_path / "adapted", *given, seed=1) is None
    (found / "stream-adapter.safetensors").unlink()
    with pytest.raises(BundleRefused):
        trained_for(tmp_path / "adapted", *given, seed=0)


def test_a_training_that_is_interrupted_goes_on_to_the_same_adapter(tmp_path: Path) -> None:
    def stop(done: int, total: int, said: str) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        manifest(ARM, tmp_path / "a", progress=stop)
    assert len([*(tmp_path / "a" / "adapted" / "unfinished").iterdir()]) == 1
    resumed = toy_store(tmp_path / "a", ARMS).learnt(ARM)
    whole = toy_store(tmp_path / "b", ARMS).learnt(ARM)
    assert resumed is not None
    assert whole is not None
    assert resumed["parts"] == whole["parts"]
    assert not [*(tmp_path / "a" / "adapted" / "unfinished").iterdir()]


def test_another_users_past_is_another_answer_and_each_is_kept(tmp_path: Path) -> None:
    questions = DRAWN[:8]
    own, other = (toy_store(tmp_path, ARMS).scored(arm, questions) for arm in (ARM, STRANGER))
    assert not np.allclose(own.scores_QC, other.scores_QC)
    kept = toy_store(tmp_path, ARMS, may_train=False).scored(STRANGER, questions)
    assert np.array_equal(kept.scores_QC, other.scores_QC)
    assert np.array_equal(kept.seconds_S, other.seconds_S)
