"""An evaluation of users with a favourite, which the weights that their streams have changed tell, and nothing else."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from toy_adaptation import DRAWN, quick_adapter, toy_arms, toy_store

from features.errors import InvalidInput
from models.plots import accuracies, latencies
from models.soft_prompt.comparing import AVERAGE
from models.stream_adapter.arm_store import Arms
from models.stream_adapter.arms import RECENT, AdapterArm
from models.stream_adapter.evaluation import LATE, _text, evaluate_adaptation

pytestmark = pytest.mark.usefixtures("one_thread")

ADAPTED = ("stream-adapter", "constant/stream-adapter", "stream-adapter of another user")
NAMES = ["chance", "popularity", "zero-shot", *RECENT, "lora-3", "mean/query-2", *ADAPTED]
POINTS = [AdapterArm(f"rank {rank}", quick_adapter(rank=rank), f"rank {rank}") for rank in (1, 2)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Arms:
    return toy_store(tmp_path_factory.mktemp("home"), toy_arms(steps=60))


@pytest.fixture(scope="module")
def report(store: Arms) -> dict[str, Any]:
    return evaluate_adaptation(store, DRAWN, NAMES, few=4, bootstrap=200, points=POINTS)


def test_a_favourite_is_told_by_the_weights_that_its_users_stream_has_changed(report: dict[str, Any]) -> None:
    accuracy = {name: found["accuracy"]["value"] for name, found in report["arms"].items()}
    assert accuracy["chance"] == accuracy["popularity"] == 0.25
    assert accuracy["stream-adapter"] >= 0.7
    assert max(value for name, value in accuracy.items() if name not in ("stream-adapter", "lora-3")) <= 0.55
    assert [goal["holds"] for goal in report["claims"]["stream-adapter"].values()] == [True] * 3


def test_every_arm_has_its_figures(report: dict[str, Any]) -> None:
    for name, found in report["arms"].items():
        assert found["accuracy"]["low"] <= found["accuracy"]["value"] <= found["accuracy"]["high"], name
        assert found["dimensions"]["interest-perception"] == found["accuracy"]
        if name not in ("chance", "popularity"):
            assert [*found["latency"]] == ["0", "256", "1024", "4096"]
            assert min(one["ms"] for one in found["latency"].values()) > 0
    assert report["arms"]["stream-adapter"]["tokens"] == report["arms"]["zero-shot"]["tokens"]
    assert report["arms"]["text-50+lora"]["history_tokens"] > report["arms"]["text-5+lora"]["history_tokens"] > 0
    assert report["arms"]["lora-3"]["questions"] == 4
    assert report["arms"]["zero-shot"]["trained"] is None
    assert report["arms"]["stream-adapter of another user"]["trained"]["as"] == "stream-adapter"
    assert report["arms"]["stream-adapter"]["trained"]["questions"] == 60 * 16


def test_an_update_has_its_price_and_leaves_others_alone(report: dict[str, Any]) -> None:
    for name, found in report["arms"].items():
        has_update = name in ("lora-3", "mean/query-2", *ADAPTED) and not name.startswith("constant")
        assert (found.get("update") is not None) == has_update
        if has_update:
            assert found["update"]["ms"] > 0
            assert found["update"]["bytes"] > 0
        has_drift = name in ("lora-3", *ADAPTED)
        assert (found.get("drift") is not None) == has_drift
        if has_drift:
            assert abs(found["drift"]["text"]) <= found["drift"]["text_most"] + 1e-5
            assert found["drift"]["text_most"] > 0
            assert found["drift"]["others"] == 0


def test_differences_are_of_the_same_questions(report: dict[str, Any]) -> None:
    text = report["claims"]["stream-adapter"]["text"]["arm"]
    assert text in RECENT
    others = ["zero-shot", "popularity", "constant/stream-adapter", "stream-adapter of another user", text]
    assert [*report["differences"]] == [
        *(f"stream-adapter - {other}" for other in (*others, "lora-3")),
        "stream-adapter of another user - constant/stream-adapter",
    ]
    for other in others:
        gap = report["differences"][f"stream-adapter - {other}"]
        values = [report["arms"][name]["accuracy"]["value"] for name in ("stream-adapter", other)]
        assert gap[AVERAGE]["value"] == pytest.approx(values[0] - values[1], abs=1e-3)


def test_the_ablation_has_its_points_and_figures_are_drawn(report: dict[str, Any]) -> None:
    assert [(point["arm"], point["rank"], point["chunk"]) for point in report["ablation"]] == [
        ("rank 1", 1, 8),
        ("rank 2", 2, 8),
    ]
    assert len(latencies(report).axes[0].lines) == len(NAMES) - 2
    assert latencies({"arms": {}}).axes
    assert accuracies(report).axes


def test_the_report_is_json_and_the_same_again_from_disk(store: Arms, report: dict[str, Any]) -> None:
    assert orjson.loads(orjson.dumps(report)) == report
    words = store.words
    again = toy_store(words.folder.parent, dict(store.arms), may_train=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.stream_adapter.arm_store.StreamAdapter", None)
        patch.setattr("models.soft_prompt.arm_store.Language", None)
        assert evaluate_adaptation(again, DRAWN, NAMES, few=4, bootstrap=200, points=POINTS) == report


def test_some_arms_alone_claim_what_they_can(store: Arms) -> None:
    some = evaluate_adaptation(store, DRAWN, ["popularity", "stream-adapter"], bootstrap=20)
    assert [*some["differences"]] == ["stream-adapter - popularity"]
    assert [goal["holds"] for goal in some["claims"]["stream-adapter"].values()] == [None] * 3
    assert some["ablation"] is None


def test_untuned_texts_tell_which_tuned_one_is_as_slow() -> None:
    def latencies(**ratios: float) -> dict[str, Any]:
        return {name.replace("_", "-"): {"latency": {LATE: {"ratio": one}}} for name, one in ratios.items()}

    assert _text("own", latencies(own=1.0, text_5=1.2, text_10=1.6)) == "text-10+lora"
    assert _text("own", latencies(own=1.0, text_10=1.6)) is None
    assert _text("own", latencies(text_5=1.6)) is None


def test_a_distilled_adapter_has_claims_and_controls_of_its_own(store: Arms) -> None:
    config = quick_adapter(distil=0.5, steps=2)
    distilled = AdapterArm("stream-adapter+distilled", config, "stream-adapter+distilled")
    constant = "constant/stream-adapter+distilled"
    more = {
        distilled.name: distilled,
        constant: AdapterArm(constant, replace(config, source="constant"), constant),
    }
    own = Arms(store.folder, store.words, store.data, {**store.arms, **more})
    some = evaluate_adaptation(own, DRAWN, ["zero-shot", *more], bootstrap=20)
    assert [*some["claims"]] == [distilled.name]
    assert [*some["differences"]] == [f"{distilled.name} - zero-shot", f"{distilled.name} - {constant}"]


def test_too_few_questions_to_be_even_are_refused(store: Arms) -> None:
    with pytest.raises(InvalidInput, match="too few"):
        evaluate_adaptation(store, DRAWN[:1], ["chance"])
