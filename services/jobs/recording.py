"""Training and evaluation as runs: what they were given, and from which commit."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from features.datasets import Dataset
from models.plots import curves
from models.registry import Run
from services.console import err
from services.settings import Settings
from services.wiring import open_registry


@contextmanager
def recorded(
    settings: Settings, experiment: str, name: str, dataset: Dataset, fingerprint: str, parameters: Mapping[str, Any]
) -> Iterator[Run]:
    """A run in MLflow until the block ends, FAILED when it raises: the data, the commit and these parameters in it.

    Raises RegistryUnavailable.
    """
    commit = checkout()
    given = {"data": {"name": dataset.name, "fingerprint": fingerprint}, "commit": commit, **parameters}
    registry = open_registry(settings)
    with err.status("opening the record of runs"):  # a few seconds, for it imports mlflow and may have to make tables
        registry.open()
    with registry.run(experiment, name, given, {"mlflow.source.git.commit": commit}) as run:
        yield run


def record_trained(run: Run, manifest: Mapping[str, Any]) -> None:
    """How a model was trained by questions, from its manifest."""
    found = manifest["curves"]
    drawn = {"loss": found["loss"], "accuracy": found["validation accuracy"]}
    for curve, values in drawn.items():
        run.curve(curve, values)
    run.metrics({"seconds": manifest["seconds"]})
    run.figure("curves", curves(drawn))
    run.report("manifest", manifest)


def checkout() -> str:
    """The commit of the checkout that runs, with -dirty when files differ from it; "unknown" outside of one."""
    try:
        asked = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return "unknown"
    return asked.stdout.strip() or "unknown"
