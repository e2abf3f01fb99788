"""Questions about a toy shop's users, put to a language model of random weights that their streams have changed."""

import json
from pathlib import Path

import pytest
from toy_choosers import choosers, dataset
from toy_llama import toy_llama

from features.datasets import write
from models.language.weights import SMOLLM2
from tests.services.test_cli import Tasteprint, tasteprint

__all__ = ["tasteprint"]

pytestmark = pytest.mark.usefixtures("tables_of_mlflow")

ARMS = ["popularity", "zero-shot", "lora-3", "stream-adapter", "stream-adapter of another user"]
MINUTES = 0.005
ADAPTER = ("--set", "layers=", "--set", "chunk=16", "--set", "every=2", "--set", "batch=4", "--set", "validation=8")
ASKING = ("recent=6", "last=4", "each=2", "moments=2", "train=0.6", "validation=0.2")
QUICK = (
    *("--minutes", MINUTES, "--questions", 8, "--few", 4, "--bootstrap", 100, "--soft-prompt", "mean/linear-1"),
    *ADAPTER,
    *(part for one in ASKING for part in ("--asking-set", one)),
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("data") / "shop"
    write(dataset(*choosers(users=90, length=24, items=60)), folder)
    return str(folder)


def test_arms_are_trained_one_by_one_and_then_reported_of(
    tasteprint: Tasteprint, own_home: Path, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("evaluate", "adaptation", "--data", shop, *QUICK)
    assert "weights pull" in tasteprint(*command).err
    toy_llama(own_home / "weights" / SMOLLM2, reads=8192)
    missing = tasteprint(*command, "--arms", ",".join(ARMS))
    assert missing.status == 2
    assert "evaluate adaptation --arms 'stream-adapter' --train" in missing.err
    first = tasteprint(*command, "--arms", "stream-adapter", "--train", "--json").json()
    assert [*first["arms"]] == ["stream-adapter"]
    found = tasteprint(*command, "--arms", ",".join(ARMS), "--json")
    report = json.loads(found.out)
    assert report["evaluate"] == "adaptation"
    assert [*report["arms"]] == ARMS
    assert report["arms"]["stream-adapter"] == first["arms"]["stream-adapter"]
    assert tasteprint(*command, "--arms", ",".join(ARMS), "--json").json() == report
    monkeypatch.setenv("COLUMNS", "200")  # room for a table
    told = tasteprint(*command, "--arms", ",".join(ARMS)).out
    assert all(word in told for word in ("stream-adapter - zero-shot", "ms at 4096", "not known without its arms"))

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{own_home}/mlflow.sqlite")
    [experiment] = [one for one in client.search_experiments() if one.name == "evaluate adaptation"]
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    parent = next(run for run in runs if run.info.run_name == ",".join(ARMS))
    children = {run.info.run_name: run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert set(children) == set(ARMS)
    metrics = children["stream-adapter"].data.metrics
    assert metrics["accuracy"] == report["arms"]["stream-adapter"]["accuracy"]["value"]
    assert metrics["update_bytes"] == report["arms"]["stream-adapter"]["update"]["bytes"]
    pictures = {one.path for one in client.list_artifacts(parent.info.run_id)}
    assert {"accuracy-by-tokens.png", "latency-by-history.png", "report.json"} <= pictures


def test_what_an_evaluation_has_trained_is_not_trained_again(tasteprint: Tasteprint, own_home: Path, shop: str) -> None:
    toy_llama(own_home / "weights" / SMOLLM2, reads=8192)
    own = tuple(part for one in ("each=8", "recent=10") for part in ("--asking-set", one))  # as they are by default
    short = ("--minutes", MINUTES, "--questions", 8, "--bootstrap", 100, "--soft-prompt", "mean/linear-1", *ADAPTER)
    command = ("evaluate", "adaptation", "--data", shop, *short, *own, "--arms", "stream-adapter", "--train", "--json")
    evaluated = tasteprint(*command).json()["arms"]["stream-adapter"]["trained"]
    trained = tasteprint("train", "stream-adapter", "--data", shop, "--minutes", MINUTES, *ADAPTER, "--json").json()
    assert trained["loss"] == evaluated["curves"]["loss"][-1]


def test_what_cannot_be_evaluated_is_refused(tasteprint: Tasteprint, own_home: Path, shop: str) -> None:
    toy_llama(own_home / "weights" / SMOLLM2)
    for given, said in (
        (("--arms", "oracle"), "arms"),
        (("--soft-prompt", "sasrec"), "soft_prompt"),
        (("--soft-prompt", "sasrec/none-1"), "preset"),
        (("--set", "source=oracle"), "source"),
    ):
        refused = tasteprint("evaluate", "adaptation", "--data", shop, *given)
        assert refused.status == 2
        assert said in refused.err
