"""Runs and registered bundles on a real MLflow server, with its tables in SQLite, started as the deployment does."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from toy_frames import marching

from features.errors import RegistryUnavailable
from models.bundle import load_bundle, save_bundle, train_counts
from models.registry import Registry
from services.settings import load_settings, restrain_mlflow
from services.wiring import open_registry

COMPOSE = Path(__file__).parents[2] / "infra" / "compose.yaml"
START_SECONDS = 300.0  # never reached unless something is wrong: it imports for ten


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def uri(folder: Path) -> Iterator[str]:
    """Where a server answers that was started with the options and the environment of compose.yaml."""
    service = yaml.safe_load(COMPOSE.read_text())["services"]["mlflow"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [option for option in service["command"][1:] if not option.startswith("--allowed-hosts")]
    own = ["--host=127.0.0.1", f"--port={port}", "--workers=1", f"--artifacts-destination={folder}/artifacts"]
    assert {option.partition("=")[0] for option in options} == {option.partition("=")[0] for option in own}
    environment = service["environment"] | {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.sqlite"}
    command = [Path(sys.executable).with_name("mlflow"), service["command"][0], *own]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=os.environ | environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"http://127.0.0.1:{port}/health"):
            said = (folder / "server.log").read_text()
            assert server.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1.0).is_success
    except httpx.TransportError:
        return False


def test_a_bundle_goes_to_the_server_and_comes_back_through_it(uri: str, folder: Path, tmp_path: Path) -> None:
    restrain_mlflow()
    registry = open_registry(load_settings(home=tmp_path / "home", mlflow_uri=uri))
    bundle = train_counts(*marching(users=30, items=10, length=5), fingerprint="toy", data_name="ring")
    save_bundle(bundle, tmp_path / bundle.name)
    with registry.run("train toys", "first", {"seed": 3}) as run:
        run.metrics({"ndcg@10": 0.25})
        run.report("report", {"a": [1, 2]})
        version = run.register(tmp_path / bundle.name, "# a card", {"ndcg@10": 0.25})
    assert registry.set_served(bundle.name) == version
    assert [(one.name, one.metrics) for one in registry.versions()] == [(bundle.name, {"ndcg@10": 0.25})]
    registry.fetch(bundle.name, tmp_path / "fetched")
    assert load_bundle(tmp_path / "fetched").name == bundle.name
    kept = {path.name for path in (folder / "artifacts").rglob("*") if path.is_file()}
    assert {"report.json", "manifest.json", "vocabulary.json"} <= kept
    assert not (tmp_path / "home" / "mlflow-artifacts").exists()  # the server has them, and nobody else


def test_a_server_that_refuses_is_one_error_of_ours(uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    elsewhere = Registry(f"{uri}/not/there", tmp_path.as_uri())
    with pytest.raises(RegistryUnavailable):
        elsewhere.versions()
