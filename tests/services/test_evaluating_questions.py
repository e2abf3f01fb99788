"""Questions about a toy shop's users, put to a language model of random weights in the pulled one's place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_choosers import choosers, dataset
from toy_llama import toy_llama

from features.datasets import write
from features.errors import InvalidInput, ModelMissing, UnknownName
from models.language.weights import SMOLLM2
from models.soft_prompt.tasks import Asking
from services.jobs.evaluating_questions import evaluate_questions_and_report
from services.settings import Settings

pytestmark = pytest.mark.usefixtures("tables_of_mlflow")

ARMS = ["popularity", "text-10+lora", "constant/linear-1", "mean/linear-1", "mean/linear-1 of another user"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("data") / "shop"
    write(dataset(*choosers(users=90, length=24, items=60)), folder)
    return str(folder)


@pytest.fixture
def settings(own_home: Path) -> Settings:
    toy_llama(own_home / "weights" / SMOLLM2, reads=2048)
    return Settings(home=own_home)


def asked(settings: Settings, shop: str, **more: Any) -> None:
    given: dict[str, Any] = {
        "encoders": ["mean"],
        "adapters": ["linear-1"],
        "only": ARMS,
        "minutes": 0.005,
        "each": 8,
        "scaling_minutes": None,
        "asking": Asking(recent=6, last=4, each=2, moments=2, train=0.6, validation=0.2),
        "seed": 0,
        "bootstrap": 20,
        "may_train": True,
        "json": True,
    }
    evaluate_questions_and_report(settings, shop, **{**given, **more})


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    monkeypatch.setenv("COLUMNS", "200")  # room for a table
    return lambda: capsys.readouterr().out


def test_arms_are_trained_one_by_one_and_then_reported_of(
    settings: Settings, shop: str, said: Callable[[], str]
) -> None:
    with pytest.raises(UnknownName, match="evaluate questions --train"):
        asked(settings, shop, may_train=False)
    asked(settings, shop, only=["mean/linear-1"], json=False)
    told = said()
    assert all(word in told for word in ("mean/linear-1", "understanding", "prediction", "interest"))
    with pytest.raises(UnknownName, match=r"--arms 'text-10\+lora' --train"):
        asked(settings, shop, may_train=False)
    asked(settings, shop)
    report = json.loads(said())
    assert report["evaluate"] == "questions"
    assert [*report["arms"]] == ARMS
    assert set(report["arms"]["mean/linear-1"]) == {
        *("accuracy", "dimensions", "tasks", "tokens", "history_tokens", "latency_ms", "trained", "history")
    }
    others = ["popularity", "constant/linear-1", "mean/linear-1 of another user", "text-10+lora"]
    assert [*report["differences"]][:-1] == [f"mean/linear-1 - {other}" for other in others]
    asked(settings, shop, may_train=False, json=False)
    told = said()
    assert all(word in told for word in ("text-10+lora", "of its history tokens", "holds", "does not hold"))

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{settings.home}/mlflow.sqlite")
    [experiment] = [one for one in client.search_experiments() if one.name == "evaluate questions"]
    runs = client.search_runs([experiment.experiment_id])
    parent = next(run for run in runs if run.info.run_name == ",".join(ARMS))
    children = {run.info.run_name: run for run in _children(runs, parent)}
    assert set(children) == set(ARMS)
    figures = report["arms"]["mean/linear-1"]
    assert children["mean/linear-1"].data.metrics["accuracy"] == figures["accuracy"]["value"]
    curve = client.get_metric_history(children["mean/linear-1"].info.run_id, "loss")
    assert [point.value for point in curve] == figures["trained"]["curves"]["loss"]
    assert {"accuracy-by-tokens.png", "report.json"} <= {one.path for one in client.list_artifacts(parent.info.run_id)}


def _children(runs: list[Any], parent: Any) -> list[Any]:
    return [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


def test_what_cannot_be_evaluated_is_refused(own_home: Path, settings: Settings, shop: str) -> None:
    with pytest.raises(InvalidInput, match="encoders"):
        asked(settings, shop, encoders=["oracle"])
    with pytest.raises(InvalidInput, match="arms"):
        asked(settings, shop, only=["oracle"])
    with pytest.raises(ModelMissing, match="weights pull"):
        asked(settings.model_copy(update={"home": own_home / "empty"}), shop)
