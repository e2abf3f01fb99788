"""Training P5: one for a bundle that serves, or the one that evaluations load."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.datasets import Dataset, fingerprint
from models.bundle import Bundle, train_counts
from models.counts.fitting import CountsConfig
from models.p5.config import P5Config, configured, preset
from models.plots import curves
from services.console import Advance, progress
from services.jobs.loading import lasting_name, load_or_pull
from services.jobs.recording import recorded
from services.jobs.registering import register
from services.jobs.training import said_settings
from services.settings import Settings
from services.wiring import open_embedder, open_p5_store

if TYPE_CHECKING:  # torch
    from models.language.embedder import Embedder
    from models.p5.store import P5Store


def train_and_register_p5(
    settings: Settings, data: str, p5: P5Config, seed: int, *, promote: bool = False
) -> dict[str, Any]:
    """Trains a P5 on all but the held-out events, or takes it up where its training was interrupted, and registers it
    with the counting models as a bundle, which is put into use as `register` says.

    Raises InvalidFile, InvalidInput, UnknownName, WeightsRefused, RegistryUnavailable, PromotionRefused.
    """
    config = CountsConfig()

    def fit(dataset: Dataset, mark: str, advance: Advance) -> Bundle:
        return train_counts(
            dataset.events,
            dataset.items,
            fingerprint=mark,
            data_name=lasting_name(data, settings),
            config=config,
            seed=seed,
            p5s=p5_store(settings, dataset, advance, may_train=True),
            p5_config=p5,
            embedder=embedder_for(p5, settings),
            progress=advance,
        )

    def said(bundle: Bundle) -> dict[str, Any]:
        trained = bundle.manifest["p5"]
        return {
            "epoch": trained["epoch"],
            "families": list(map(str, trained["families"])),
            "left_out": trained["left_out"],
        }

    parameters = {"seed": seed, "fit": "serve", "config": asdict(config), "p5": asdict(p5)}
    return register(settings, data, "train p5", parameters, fit, said, promote=promote)


def train_p5(settings: Settings, data: str, config: P5Config, seed: int) -> dict[str, Any]:
    """Trains the P5 that `evaluate p5` of the same arguments loads; one that is there already is left.

    What was interrupted goes on from its last epoch. Raises InvalidInput, UnknownName, WeightsRefused.
    """
    from models.p5.evaluation import case_of, trained_p5

    start = time.perf_counter()
    dataset = load_or_pull(data, settings)
    case = case_of(dataset.events, dataset.items, config)
    with progress("training") as advance:
        store = p5_store(settings, dataset, advance, may_train=True)
        p5 = trained_p5(case, fingerprint(dataset), store, config, seed, embedder_for(config, settings))
    said = p5.said
    return {
        "data": dataset.name,
        "epoch": said["epoch"],
        "epochs": len(said["curves"]["loss"]),
        "validation_ndcg@10": max(said["curves"]["ndcg@10"]),
        "trained_s": said["seconds"],
        "families": list(map(str, said["families"])),
        "left_out": said["left_out"],
        "seconds": round(time.perf_counter() - start, 1),
    }


def p5_store(settings: Settings, dataset: Dataset, advance: Advance, *, may_train: bool) -> "P5Store":
    """The trained P5s of this home; each that is trained is recorded as a run."""

    def record(manifest: Mapping[str, Any]) -> None:
        given = {name: manifest[name] for name in ("cut", "config", "seed")}
        name = f"{manifest['config']['indexing']} {manifest['cut']['split']}"
        with recorded(settings, "p5", name, dataset, manifest["cut"]["fingerprint"], given) as run:
            for curve, values in manifest["curves"].items():
                run.curve(curve, values)
            run.metrics({"epoch": manifest["epoch"], "seconds": manifest["seconds"]})
            run.report("manifest", manifest)
            run.figure("curves", curves(manifest["curves"]))

    return open_p5_store(settings, may_train=may_train, progress=advance, trained=record)


def embedder_for(config: P5Config, settings: Settings) -> "Embedder | None":
    """Of titles, for an index that is made of them; None where it is not, or the weights were not pulled."""
    return open_embedder(settings) if config.indexing.startswith("semantic") else None


def p5_config(name: str, file: Path | None, given: Sequence[str]) -> P5Config:
    """A preset, with what a TOML file and then NAME=VALUE settings say. Raises InvalidInput."""
    return configured(said_settings(file, given), preset(name))
