"""Arms that are trained, kept, interrupted, and asked; a language model of random weights reads them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_favourites import favourites, logged, quick
from toy_llama import toy_llama
from toy_sequences import CPU

from features.errors import BundleRefused, UnknownName
from models.soft_prompt import arm_store
from models.soft_prompt.aligning import align
from models.soft_prompt.arm_store import ArmStore
from models.soft_prompt.arms import Arm
from models.soft_prompt.reading import pasts_of, pasts_of_strangers
from models.soft_prompt.scored import Scored
from models.soft_prompt.tasks import Task
from models.soft_prompt.trained import Aligned

pytestmark = pytest.mark.usefixtures("one_thread")

DATA = favourites(users=40, kind="sasrec")
LOG = logged(DATA)
ENCODER = DATA.encoder.config
QUESTIONS = [replace(one, task=[*Task][number % 2]) for number, one in enumerate(DATA.validation)]

SOFT = Arm("mean/query-2", ENCODER, quick(kind="query", tokens=2, steps=6), "mean/query-2")
STRANGER = replace(SOFT, name="mean/query-2 of another user", is_stranger=True)
TUNED = Arm("text-2+lora", ENCODER, quick(kind="none", tokens=0, lora=2), "text-2+lora", told=2)
LONGER = replace(TUNED, name="text-3+lora", told=3)
FROZEN = replace(TUNED, name="text-2", learnt="")


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_llama(tmp_path_factory.mktemp("llm") / "toy", reads=512)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("arms")


def store(folder: Path, language: Path, **more: Any) -> ArmStore:
    given = {"data": DATA, "fingerprint": "toy", "seed": 0, "may_train": True, "device": CPU, **more}
    data = given.pop("data")
    return ArmStore(folder, language, LOG, data, lambda _: data.encoder, **given)


def same(one: Scored, other: Scored) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("scores_QC", "tokens_Q", "history_Q")
    )


def test_an_arm_is_trained_once_and_what_it_answered_is_kept(folder: Path, language: Path) -> None:
    first = store(folder, language).scored(SOFT, SOFT, QUESTIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arm_store, "align", None)
        patch.setattr(arm_store, "Language", None)
        patch.setattr(Aligned, "load", None)
        again = store(folder, language, may_train=False).scored(SOFT, SOFT, QUESTIONS)
    assert same(first, again)
    assert np.array_equal(first.seconds_S, again.seconds_S)


@pytest.mark.parametrize(("arm", "learner"), [(SOFT, SOFT), (STRANGER, SOFT), (FROZEN, None), (TUNED, TUNED)])
def test_kept_scores_are_those_that_are_made_anew(
    folder: Path, language: Path, tmp_path: Path, arm: Arm, learner: Arm | None
) -> None:
    kept = store(folder, language)
    kept.scored(arm, learner, QUESTIONS)
    fresh = store(tmp_path, language)
    if learner is not None:
        trained = kept.learnt(learner)[0]
        trained.rename(tmp_path / trained.name)
    made = fresh.scored(arm, learner, QUESTIONS)
    if learner is not None:
        (tmp_path / trained.name).rename(trained)
    assert same(made, kept.scored(arm, learner, QUESTIONS))


def test_scores_are_those_of_the_arm_in_the_order_of_the_questions(folder: Path, language: Path) -> None:
    arms = store(folder, language)
    aligned = Aligned.load(arms.learnt(SOFT)[0], DATA.encoder, language, CPU)
    for arm, pasts in (
        (SOFT, pasts_of(DATA.events, QUESTIONS)),
        (STRANGER, pasts_of_strangers(DATA.events, QUESTIONS, 0)),
    ):
        scored = arms.scored(arm, SOFT, QUESTIONS)
        np.testing.assert_allclose(scored.scores_QC, aligned.scores(QUESTIONS, pasts), rtol=1e-3, atol=1e-3)
        assert set(scored.history_Q) == {2}
        assert scored.tokens_Q.tolist() == [2 + len(aligned.asked(one)[0]) for one in QUESTIONS]


def test_more_that_is_told_takes_more_tokens_and_another_model_may_have_learnt_it(folder: Path, language: Path) -> None:
    arms = store(folder, language)
    frozen, longer = arms.scored(FROZEN, None, QUESTIONS), arms.scored(LONGER, TUNED, QUESTIONS)
    is_more_Q = [question.cut > 2 for question in QUESTIONS]
    assert (longer.history_Q > frozen.history_Q).tolist() == is_more_Q
    assert len(set(is_more_Q)) == 2
    assert (longer.tokens_Q - longer.history_Q).tolist() == (frozen.tokens_Q - frozen.history_Q).tolist()
    assert arms.learnt(TUNED)[1]["curves"]["questions"] == [16, 16]  # two rounds of two steps with eight


def test_what_is_missing_is_asked_for_by_the_command_that_trains_it(tmp_path: Path, language: Path) -> None:
    with pytest.raises(UnknownName, match=r"--arms 'mean/query-2' --train"):
        store(tmp_path, language, may_train=False).scored(STRANGER, SOFT, QUESTIONS)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"fingerprint": "other"},
        {"data": replace(DATA, questions=DATA.questions[1:])},
        {"data": replace(DATA, encoder=favourites(users=40, seed=1, kind="mean").encoder)},
    ],
)
def test_what_was_trained_for_something_else_is_not_taken(folder: Path, language: Path, other: dict[str, Any]) -> None:
    store(folder, language).learnt(SOFT)
    with pytest.raises(UnknownName):
        store(folder, language, may_train=False, **other).learnt(SOFT)


def test_other_minutes_another_telling_or_another_language_model_are_another_training(
    folder: Path, language: Path, tmp_path: Path
) -> None:
    arms = store(folder, language)
    arms.learnt(TUNED)
    known = store(folder, language, may_train=False)
    for other in (replace(TUNED, told=3), replace(TUNED, config=replace(TUNED.config, minutes=1.0))):
        with pytest.raises(UnknownName):
            known.learnt(other)
    with pytest.raises(UnknownName):
        store(folder, toy_llama(tmp_path / "other", reads=512, seed=1), may_train=False).learnt(TUNED)


def test_a_training_that_is_interrupted_goes_on_to_the_same_arm(folder: Path, language: Path, tmp_path: Path) -> None:
    rounds: list[int] = []

    def stop(done: int, total: int, said: str) -> None:
        rounds.append(done)
        if done == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        store(tmp_path, language, progress=stop).learnt(SOFT)
    assert len([*(tmp_path / "unfinished").iterdir()]) == 1
    resumed = store(tmp_path, language, progress=lambda done, *_: rounds.append(done)).learnt(SOFT)
    assert rounds == [2, 4, 6]
    assert not [*(tmp_path / "unfinished").iterdir()]
    whole = store(folder, language).learnt(SOFT)
    assert resumed[1]["parts"] == whole[1]["parts"]


def test_scores_that_were_interrupted_are_asked_for_from_the_next_task_on(
    folder: Path, language: Path, tmp_path: Path
) -> None:
    def stop(done: int, total: int, said: str) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        store(tmp_path, language, progress=stop).scored(FROZEN, None, QUESTIONS)
    [kept] = (tmp_path / "scores").iterdir()
    assert kept.name.startswith("text-2-direct-feature-")
    written = (kept / "manifest.json").stat().st_mtime_ns
    whole = store(tmp_path, language).scored(FROZEN, None, QUESTIONS)
    assert (kept / "manifest.json").stat().st_mtime_ns == written
    assert same(whole, store(folder, language).scored(FROZEN, None, QUESTIONS))


def test_a_damaged_arm_and_damaged_scores_are_refused(language: Path, tmp_path: Path) -> None:
    arms = store(tmp_path, language)
    arms.scored(SOFT, SOFT, QUESTIONS)
    for path in (tmp_path / "scores").glob("*/scores.safetensors"):
        path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BundleRefused, match="sha256"):
        arms.scored(SOFT, SOFT, QUESTIONS)
    (arms.learnt(SOFT)[0] / "soft-prompt.safetensors").unlink()
    with pytest.raises(BundleRefused):
        arms.learnt(SOFT)


def test_what_reads_no_encoder_is_the_same_beside_any(folder: Path, language: Path) -> None:
    constant = replace(SOFT, name="constant/query-2", config=replace(SOFT.config, source="constant"))
    other = replace(DATA, encoder=favourites(users=40, kind="mean").encoder)
    for arm in (TUNED, constant):
        store(folder, language).learnt(arm)
        store(folder, language, data=other, may_train=False).learnt(arm)
    assert not store(folder, language).encoder(TUNED).items_ND.any()


def test_what_is_told_is_trained_on(folder: Path, language: Path) -> None:
    """The arm is what training on questions with the history before them comes to."""
    arms = store(folder, language)
    telling = arms.telling(TUNED)
    assert telling is not None
    asked = [
        [telling.before(*one) for one in zip(some, pasts_of(DATA.events, some), strict=True)]
        for some in (DATA.questions, DATA.validation)
    ]
    assert "[" in asked[0][0].text
    by_hand = align(replace(DATA, questions=asked[0], validation=asked[1]), language, TUNED.config, device=CPU)
    assert by_hand.said["curves"] == arms.learnt(TUNED)[1]["curves"]
