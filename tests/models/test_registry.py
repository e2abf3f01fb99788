"""Runs and registered bundles in a real MLflow store on SQLite."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from matplotlib.figure import Figure
from toy_frames import marching

from features.errors import RegistryUnavailable, UnknownName
from models.bundle import Bundle, load_bundle, save_bundle, train_counts
from models.card import card, sizes_of
from models.plots import ranking
from models.promotion import Figures
from models.registry import MODEL, Registry
from services.settings import restrain_mlflow

if TYPE_CHECKING:
    from mlflow import MlflowClient


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def registry(home: Path) -> Registry:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ALLOW_PICKLE_DESERIALIZATION", "DISABLE_TELEMETRY", "ENABLE_ARTIFACTS_PROGRESS_BAR"):
            patch.delenv(f"MLFLOW_{name}", raising=False)
        restrain_mlflow()
        opened = Registry(f"sqlite:///{home}/mlflow.sqlite", (home / "artifacts").as_uri())
        opened.open()
    return opened


@pytest.fixture(scope="module")
def client(home: Path, registry: Registry) -> "MlflowClient":
    """The store as mlflow itself sees it."""
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{home}/mlflow.sqlite", f"sqlite:///{home}/mlflow.sqlite")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    trained = train_counts(*marching(users=30, items=10, length=5), fingerprint="toy", data_name="ring")
    folder = tmp_path_factory.mktemp("models") / trained.name
    save_bundle(trained, folder)
    return trained, folder


def test_names_that_mlflow_does_not_take_are_spelled_out(registry: Registry, client: "MlflowClient") -> None:
    with registry.run("spelled", "one", {}) as run:
        run.metrics({"summary+1/hr@10": 0.5})
    assert client.get_run(run.id).data.metrics == {"summary with 1/hr_at_10": 0.5}


def test_a_run_keeps_its_parameters_metrics_curves_and_artifacts(
    registry: Registry, client: "MlflowClient", home: Path
) -> None:
    parameters = {"seed": 3, "config": {"layers": 2, "rates": {"first": 0.1}}}
    with registry.run("train toys", "first", parameters, {"colour": "red"}) as run:
        run.metrics({"ndcg@10": 0.25})
        run.curve("loss", [3.0, 2.0, 1.5])
        run.metrics({"loss": 1.25}, step=3)
        run.report("report", {"a": [1, 2]})
        run.figure("figure", ranking({"models": {"one": {"ndcg@10": 0.1}, "two": {"ndcg@10": 0.2}}}))
    found = client.get_run(run.id)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "first")
    assert found.data.params == {"seed": "3", "config.layers": "2", "config.rates.first": "0.1"}
    assert found.data.tags["colour"] == "red"
    assert found.data.metrics == {"ndcg_at_10": 0.25, "loss": 1.25}
    curve = [(point.step, point.value) for point in client.get_metric_history(run.id, "loss")]
    assert curve == [(0, 3.0), (1, 2.0), (2, 1.5), (3, 1.25)]
    kept = home / "artifacts" / run.id / "artifacts"
    assert json.loads((kept / "report.json").read_text()) == {"a": [1, 2]}
    assert (kept / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_within_another_is_of_its_experiment_and_names_it(registry: Registry, client: "MlflowClient") -> None:
    with registry.run("train toys", "parent", {}) as parent, parent.child("arm", {"seed": 3}) as child:
        child.metrics({"accuracy": 0.5})
    within, around = client.get_run(child.id), client.get_run(parent.id)
    assert within.data.tags["mlflow.parentRunId"] == parent.id
    assert within.info.experiment_id == around.info.experiment_id
    assert (within.info.status, within.info.run_name, within.data.params) == ("FINISHED", "arm", {"seed": "3"})
    assert within.data.metrics == {"accuracy": 0.5}
    with (
        pytest.raises(ValueError, match="on purpose"),
        registry.run("train toys", "parent", {}) as parent,
        parent.child("arm", {}) as child,
    ):
        raise ValueError("on purpose")
    assert {client.get_run(one.id).info.status for one in (parent, child)} == {"FAILED"}


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_whose_block_raises_has_not_finished(
    registry: Registry, client: "MlflowClient", error: type[BaseException], status: str
) -> None:
    with pytest.raises(error), registry.run("train toys", "second", {}) as run:
        raise error
    assert client.get_run(run.id).info.status == status


def test_more_parameters_and_longer_values_than_a_batch_takes_are_kept(
    registry: Registry, client: "MlflowClient"
) -> None:
    with registry.run("train toys", "many", {f"p{number}": "x" * 9000 for number in range(230)}) as run:
        run.curve("long", [float(number) for number in range(2100)])
    assert len(client.get_run(run.id).data.params) == 230
    assert len(client.get_metric_history(run.id, "long")) == 2100


def test_a_bundle_is_a_version_with_its_card_once(
    registry: Registry, client: "MlflowClient", bundle: tuple[Bundle, Path], tmp_path: Path
) -> None:
    trained, folder = bundle
    told = card(trained.manifest, sizes_of(folder), Figures(0.5, 0.75, 30))
    with registry.run("train toys", "third", {}) as run:
        version = run.register(folder, told, {"ndcg@10": 0.5})
    with registry.run("train toys", "fourth", {}) as again:
        assert again.register(folder, told, {"ndcg@10": 0.5}) == version
    [found] = [one for one in registry.versions() if one.name == trained.name]
    assert (found.version, found.run, found.metrics) == (version, run.id, {"ndcg@10": 0.5})
    assert found.tags == {"kind": "counts", "fit": "serve", "data": "ring", "fingerprint": "toy"}
    described = client.get_model_version(MODEL, str(version)).description
    assert described == told
    assert described.startswith(f"# {trained.name}\n")
    for fact in ("ring", "`toy`", "NDCG@10 0.5000, HR@10 0.7500", "pctm.safetensors", "## Limits"):
        assert fact in described

    registry.fetch(trained.name, tmp_path / "fetched")
    assert load_bundle(tmp_path / "fetched").name == trained.name
    assert [path.name for path in tmp_path.iterdir()] == ["fetched"]

    assert registry.set_served(trained.name) == version
    assert client.get_model_version_by_alias(MODEL, "served").version == version


@pytest.mark.parametrize("name", ["counts-gone", "it's", ""])
def test_a_bundle_that_is_not_registered_is_unknown(registry: Registry, tmp_path: Path, name: str) -> None:
    assert registry.set_served(name) is None
    with pytest.raises(UnknownName):
        registry.fetch(name, tmp_path / "fetched")
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_used_is_one_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.sqlite"
    broken.write_text("this is no database, however long one looks at it")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for uri in (f"sqlite:///{broken}", "http://127.0.0.1:9"):
        with pytest.raises(RegistryUnavailable):
            Registry(uri, (tmp_path / "artifacts").as_uri()).versions()


def test_a_picture_has_a_line_a_model_the_best_on_top() -> None:
    figure = ranking(
        {
            "models": {
                "good": {"ndcg@10": 0.2, "ndcg@10_low": 0.1, "ndcg@10_high": 0.3},
                "bad": {"ndcg@10": 0.1},
            }
        }
    )
    assert isinstance(figure, Figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["bad", "good"]


def test_what_was_chosen_is_kept_in_versions_and_the_alias_stands_for_the_newest(registry: Registry) -> None:
    assert registry.kept("toys", "blue") is None
    for number in (1, 2):
        with registry.run("choose toys", "toy", {}) as run:
            assert run.keep("toys", "blue", {"number": number}, {"size": "small"}) == number
    assert registry.kept("toys", "blue") == {"number": 2}
    assert registry.kept("toys", "red") is None
