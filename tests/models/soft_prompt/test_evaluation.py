"""An evaluation of users with a favourite, which a soft prompt tells and nothing else does."""

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from toy_favourites import favourites, logged, quick
from toy_llama import toy_llama
from toy_sequences import CPU

from features.errors import InvalidInput
from models.plots import accuracies, scaling
from models.soft_prompt.arm_store import ArmStore
from models.soft_prompt.arms import Arm
from models.soft_prompt.comparing import AVERAGE
from models.soft_prompt.evaluation import evaluate_questions
from models.soft_prompt.reading import pasts_of

pytestmark = pytest.mark.usefixtures("one_thread")

DATA = favourites(users=240)
DATA = replace(DATA, validation=DATA.questions[:16])
DRAWN = favourites(users=240).validation
ENCODER = DATA.encoder.config
LEARNS = quick(kind="query", tokens=2, batch=16, steps=120, every=60)
TUNED = quick(kind="none", tokens=0, lora=2, steps=2)
SOFT = Arm("mean/query-2", ENCODER, LEARNS, "mean/query-2")
ARMS = {
    arm.name: arm
    for arm in (
        Arm("no-user", ENCODER, TUNED),
        Arm("text-1+lora", ENCODER, TUNED, "text-1+lora", told=1),
        Arm("text-8+lora", ENCODER, TUNED, "text-1+lora", told=8),
        Arm("constant/query-2", ENCODER, replace(LEARNS, source="constant"), "constant/query-2"),
        SOFT,
        replace(SOFT, name="mean/query-2 of another user", is_stranger=True),
    )
}
NAMES = ["chance", "popularity", *ARMS]
POINTS = [replace(SOFT, name=f"toy-{length}", learnt=f"toy-{length}", config=quick()) for length in (2, 8)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArmStore:
    home = tmp_path_factory.mktemp("home")
    language = toy_llama(home / "toy", words="likes what Answer war love space jazz", spread=0.2, reads=512)
    return ArmStore(
        home / "arms",
        language,
        logged(DATA),
        DATA,
        lambda _: DATA.encoder,
        fingerprint="toy",
        may_train=True,
        device=CPU,
    )


@pytest.fixture(scope="module")
def report(store: ArmStore) -> dict[str, Any]:
    return evaluate_questions(store, DRAWN, ARMS, NAMES, bootstrap=200, points=POINTS)


def test_a_favourite_is_told_by_its_users_soft_prompt_alone(report: dict[str, Any]) -> None:
    accuracy = {name: found["accuracy"]["value"] for name, found in report["arms"].items()}
    assert accuracy["chance"] == accuracy["popularity"] == 0.25
    assert accuracy["mean/query-2"] >= 0.7
    assert max(value for name, value in accuracy.items() if name != "mean/query-2") <= 0.55
    assert report["claims"]["mean/query-2"]["above"]["holds"]
    assert report["claims"]["mean/query-2"]["interest"]["holds"]
    assert report["claims"]["mean/query-2"]["text"]["holds"]


def test_every_arm_has_its_figures(report: dict[str, Any]) -> None:
    for name, found in report["arms"].items():
        assert found["accuracy"]["low"] <= found["accuracy"]["value"] <= found["accuracy"]["high"], name
        assert [*found["tasks"]] == ["long-term-interest"]
        assert found["dimensions"]["interest-perception"] == found["accuracy"]
        assert [*found["history"]] == ["short", "middle", "long"]
        assert found["tokens"] >= found["history_tokens"]
        assert (found["latency_ms"] > 0) == (name in ARMS)
    tokens = {name: found["history_tokens"] for name, found in report["arms"].items()}
    assert (tokens["no-user"], tokens["mean/query-2"]) == (0, 2)
    assert tokens["text-8+lora"] > tokens["text-1+lora"] > 2
    assert report["arms"]["mean/query-2"]["trained"]["questions"] == 120 * 16
    assert report["arms"]["text-8+lora"]["trained"]["as"] == "text-1+lora"
    assert report["arms"]["no-user"]["trained"] is None


def test_differences_are_of_the_same_questions(report: dict[str, Any]) -> None:
    text = report["text"]["arm"]
    assert [*report["text"]["validation"]] == ["text-1+lora", "text-8+lora"]
    assert report["text"]["validation"][text] == max(report["text"]["validation"].values())
    others = ["popularity", "constant/query-2", "mean/query-2 of another user", text]
    assert [*report["differences"]] == [
        *(f"mean/query-2 - {other}" for other in others),
        "mean/query-2 of another user - constant/query-2",
    ]
    for other in others:
        gap = report["differences"][f"mean/query-2 - {other}"]
        values = [report["arms"][name]["accuracy"]["value"] for name in ("mean/query-2", other)]
        assert gap[AVERAGE]["value"] == pytest.approx(values[0] - values[1], abs=1e-3)
        assert ("history_tokens" in gap) == (other == text)
    share = 2 / report["arms"][text]["history_tokens"]
    assert report["claims"]["mean/query-2"]["tokens"]["share"] == pytest.approx(share, abs=1e-3)


def test_guesses_are_told_of_all_drawn_questions_too(report: dict[str, Any]) -> None:
    drawn = report["arms"]["popularity"]["drawn"]
    assert drawn["questions"] == len(DRAWN) > report["questions"]["questions"]
    assert drawn["accuracy"]["value"] == pytest.approx(np.mean([one.truth == 0 for one in DRAWN]), abs=1e-4)


def test_the_scaling_study_has_its_points_and_figures_are_drawn(report: dict[str, Any]) -> None:
    assert [point["arm"] for point in report["scaling"]] == ["toy-2", "toy-8"]
    assert report["scaling"][0]["parameters"] > 20 * ENCODER.dimensions
    for figure in (accuracies(report), scaling(report["scaling"])):
        assert figure.axes[0].get_xscale() == "log"


def test_the_report_is_json_and_the_same_again_from_disk(store: ArmStore, report: dict[str, Any]) -> None:
    assert orjson.loads(orjson.dumps(report)) == report
    assert evaluate_questions(store, DRAWN, ARMS, NAMES, bootstrap=200, points=POINTS) == report


def test_some_arms_alone_claim_what_they_can(store: ArmStore) -> None:
    some = evaluate_questions(store, DRAWN, ARMS, ["popularity", "mean/query-2"], bootstrap=20)
    assert [*some["arms"]] == ["popularity", "mean/query-2"]
    assert [*some["differences"]] == ["mean/query-2 - popularity"]
    assert [goal["holds"] for goal in some["claims"]["mean/query-2"].values()] == [None] * 5
    assert some["scaling"] is None


def test_too_few_questions_to_be_even_are_refused(store: ArmStore) -> None:
    with pytest.raises(InvalidInput, match="too few"):
        evaluate_questions(store, DRAWN[:1], ARMS, ["chance"])


def test_the_users_of_the_test_are_not_those_of_the_training() -> None:
    assert {one.user for one in DRAWN}.isdisjoint(one.user for one in DATA.questions)
    assert len(pasts_of(DATA.events, DRAWN)) == len(DRAWN)
