"""Experiments and registered bundles in MLflow: its one home.

A run is one training or one evaluation: parameters, metrics, curves, and artifacts that are JSON, PNG or a bundle's
files, never a pickle. A registered bundle is a version of the model `tasteprint-ranking`: the bundle's folder as it is,
its name and figures as tags, its model card as description; the alias `served` is on the one in use. Small things that
were chosen, such as how summaries are written, are versions of models of their own, with an alias for each use.
mlflow is imported by the first call, in about two seconds. It has neither `@` nor `+` in names: `ndcg@10` is
`ndcg_at_10` there, and `summary+1` is `summary with 1`.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import TYPE_CHECKING, Any, Final

import orjson

from features.errors import RegistryUnavailable, TasteprintError, UnknownName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODEL: Final = "tasteprint-ranking"
SERVED: Final = "served"
_FILES: Final = "bundle"  # where a run keeps the bundle that it has registered
_LONGEST: Final = 5000  # characters of a parameter or a tag
_PARAMETERS: Final = 100  # at most in one batch; and of metrics
_METRICS: Final = 1000


@dataclass(frozen=True, slots=True)
class Version:
    """A registered bundle. registered: epoch seconds. tags: what it was fitted on, and its metrics by name."""

    version: int
    name: str
    registered: float
    run: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


class Run:
    """One run that is going on; what it is given is in the store when the call returns."""

    def __init__(self, client: Any, identity: str) -> None:
        self.id = identity
        self._client = client

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """One value each, at a step of its curve: `run.metrics({"loss": loss}, step=epoch)` draws one as it goes."""
        from mlflow.entities import Metric

        now = _milliseconds(time())
        self._log([Metric(_key(name), float(value), now, step) for name, value in values.items()])

    def curve(self, name: str, values: Sequence[float]) -> None:
        """A whole curve, its first value at step 0."""
        from mlflow.entities import Metric

        now = _milliseconds(time())
        self._log([Metric(_key(name), float(value), now, step) for step, value in enumerate(values)])

    def report(self, name: str, value: Any) -> None:
        """An artifact of JSON, `name`.json."""
        content = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode()
        with _translated():
            self._client.log_text(self.id, content, f"{name}.json")

    def figure(self, name: str, figure: "Figure") -> None:
        """An artifact that is a picture, `name`.png."""
        with _translated():
            self._client.log_figure(self.id, figure, f"{name}.png")

    def tag(self, name: str, value: str) -> None:
        with _translated():
            self._client.set_tag(self.id, _key(name), value[:_LONGEST])

    @contextmanager
    def child(self, name: str, parameters: Mapping[str, Any]) -> Iterator["Run"]:
        """A run within this one, of the same experiment, until the block ends; as `Registry.run`."""
        with _translated():
            experiment = str(self._client.get_run(self.id).info.experiment_id)
        with _running(self._client, experiment, name, parameters, {"mlflow.parentRunId": self.id}) as run:
            yield run

    def register(self, folder: Path, card: str, metrics: Mapping[str, float]) -> int:
        """The version under which the bundle of a folder is registered, by its name: once, however often it is trained.

        card: the model card, in Markdown.
        """
        manifest = orjson.loads((folder / "manifest.json").read_bytes())
        self.tag("bundle", manifest["name"])
        with _translated():
            found = _find(self._client, manifest["name"])
            if found is not None:
                return found.version
            self._client.log_artifacts(self.id, str(folder), _FILES)
            source = f"{self._client.get_run(self.id).info.artifact_uri}/{_FILES}"
            data = manifest["data"]
            described = {
                "bundle": manifest["name"],
                "kind": manifest["kind"],
                "fit": manifest["fit"],
                "data": data["name"],
                "fingerprint": data["fingerprint"],
                **{f"metric.{_key(name)}": repr(float(value)) for name, value in metrics.items()},
            }
            tags = {name: str(value)[:_LONGEST] for name, value in described.items()}
            made = self._client.create_model_version(MODEL, source, self.id, tags=tags, description=card)
            return int(made.version)

    def keep(self, model: str, alias: str, value: Any, tags: Mapping[str, str]) -> int:
        """The version under which a JSON value is registered as a model of its own, which the alias now stands for."""
        self.report(alias, value)
        with _translated():
            if not self._client.search_registered_models(f"name = '{model}'"):
                self._client.create_registered_model(model)
            source = f"{self._client.get_run(self.id).info.artifact_uri}/{alias}.json"
            short = {name: value[:_LONGEST] for name, value in tags.items()}
            made = self._client.create_model_version(model, source, self.id, tags=short)
            self._client.set_registered_model_alias(model, alias, str(made.version))
            return int(made.version)

    def _log(self, metrics: Sequence[Any]) -> None:
        with _translated():
            for start in range(0, len(metrics), _METRICS):
                self._client.log_batch(self.id, metrics=metrics[start : start + _METRICS])


class Registry:
    """The store at a tracking URI. artifacts: the URI of where to keep the files that only a server would keep itself.

    Every call raises RegistryUnavailable when the store does not answer.
    """

    def __init__(self, uri: str, artifacts: str) -> None:
        self._uri = uri
        self._artifacts = artifacts
        self._opened: Any = None

    def open(self) -> None:
        """Imports mlflow and opens the store, whose tables are made on the first use: seconds."""
        self._client()

    @contextmanager
    def run(
        self, experiment: str, name: str, parameters: Mapping[str, Any], tags: Mapping[str, str] | None = None
    ) -> Iterator[Run]:
        """A run of an experiment, until the block ends: FINISHED, FAILED when it raises, KILLED at an interrupt.

        parameters: values or mappings of them; {"a": {"b": 1}} is the parameter `a.b`.
        """
        client = self._client()
        with _translated():
            identity = self._experiment(experiment)
        with _running(client, identity, name, parameters, tags or {}) as run:
            yield run

    def versions(self) -> list[Version]:
        """Every registered bundle, oldest first."""
        client = self._client()
        with _translated():
            return sorted(_versions(client, f"name = '{MODEL}'"), key=lambda version: version.version)

    def set_served(self, name: str) -> int | None:
        """Puts the alias `served` on the bundle of this name; its version, None when it is not registered."""
        client = self._client()
        with _translated():
            found = _find(client, name)
            if found is None:
                return None
            client.set_registered_model_alias(MODEL, SERVED, str(found.version))
            return found.version

    def fetch(self, name: str, folder: Path) -> None:
        """Brings the files of a registered bundle to a new folder, unchecked. Raises UnknownName."""
        client = self._client()
        with _translated():
            found = _find(client, name)
            if found is None:
                raise UnknownName(f"no bundle {name!r} is registered; `tasteprint models list` names those that are")
            with TemporaryDirectory(dir=folder.parent, prefix=".fetched-") as beside:
                shutil.move(client.download_artifacts(found.run, _FILES, beside), folder)

    def kept(self, model: str, alias: str) -> Any:
        """The JSON value that the alias of a model stands for, None where there is none."""
        client = self._client()
        with _translated():
            found = client.search_registered_models(f"name = '{model}'")
            version = found[0].aliases.get(alias) if found else None
            if version is None:
                return None
            run = client.get_model_version(model, version).run_id
            with TemporaryDirectory(prefix="kept-") as folder:
                return orjson.loads(Path(client.download_artifacts(run, f"{alias}.json", folder)).read_bytes())

    def _experiment(self, name: str) -> str:
        found = self._client().get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        # A server keeps artifacts where it was told to.
        local = None if self._uri.startswith(("http://", "https://")) else self._artifacts
        return str(self._client().create_experiment(name, artifact_location=local))

    def _client(self) -> Any:
        if self._opened is None:
            with _translated():
                from mlflow import MlflowClient

                for chatty in ("mlflow", "alembic"):
                    logging.getLogger(chatty).setLevel(logging.WARNING)
                client = MlflowClient(self._uri, self._uri)
                if not client.search_registered_models(f"name = '{MODEL}'"):
                    client.create_registered_model(
                        MODEL, description="Tasteprint's bundles that rank items for a user."
                    )
                self._opened = client
        return self._opened


@contextmanager
def _running(
    client: Any, experiment: str, name: str, parameters: Mapping[str, Any], tags: Mapping[str, str]
) -> Iterator[Run]:
    """A run of the experiment of this id."""
    with _translated():
        made = client.create_run(experiment, run_name=name, tags=dict(tags))
        from mlflow.entities import Param

        flat = [Param(_key(key), str(value)[:_LONGEST]) for key, value in _flat(parameters)]
        for start in range(0, len(flat), _PARAMETERS):
            client.log_batch(made.info.run_id, params=flat[start : start + _PARAMETERS])
    status = "FAILED"
    try:
        yield Run(client, made.info.run_id)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        with _translated():
            client.set_terminated(made.info.run_id, status)


@contextmanager
def _translated() -> Iterator[None]:
    """Whatever mlflow, its database or its server raises, as one error of ours."""
    try:
        yield
    except TasteprintError:
        raise
    except Exception as error:
        said = (str(error).splitlines() or [""])[0]
        raise RegistryUnavailable(f"the MLflow store does not do its part: {type(error).__name__}: {said}") from error


def _find(client: Any, name: str) -> Version | None:
    if "'" in name:
        return None
    return next(_versions(client, f"name = '{MODEL}' and tags.bundle = '{name}'"), None)


def _versions(client: Any, wanted: str) -> Iterator[Version]:
    token = None
    while True:
        page = client.search_model_versions(wanted, page_token=token)
        for found in page:
            tags = dict(found.tags)
            metrics = {
                key.removeprefix("metric.").replace("_at_", "@"): float(tags.pop(key))
                for key in list(tags)
                if key.startswith("metric.")
            }
            registered = found.creation_timestamp / 1000
            yield Version(int(found.version), tags.pop("bundle", ""), registered, found.run_id, tags, metrics)
        token = page.token
        if not token:
            return


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _key(name: str) -> str:
    return name.replace("@", "_at_").replace("+", " with ")


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
