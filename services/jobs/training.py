"""Fitting models on a data set: bundles to be registered, and encoders to be evaluated."""

import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.datasets import Dataset, fingerprint
from features.errors import InvalidInput
from models.bundle import Bundle, train_counts
from models.counts.fitting import CountsConfig
from models.encoders.config import KINDS, EncoderConfig, configured, preset
from models.language.weights import MINILM
from models.plots import curves
from services.console import Advance, progress
from services.jobs.loading import lasting_name, load_or_pull
from services.jobs.recording import recorded
from services.jobs.registering import register
from services.settings import Settings
from services.wiring import encoders_folder, open_embedder

if TYPE_CHECKING:  # torch, which counting models do not wait for
    from models.encoders.store import EncoderStore


def train_and_register(
    settings: Settings, data: str, seed: int, *, encoder: EncoderConfig | None = None, promote: bool = False
) -> dict[str, Any]:
    """Fits all but the held-out events, with weights chosen on validation events, and registers the bundle.

    encoder: trained too, or taken up where its training was interrupted, and a part of the bundle; with a map for items
    that come later, when the weights of title embeddings are in the home: none are downloaded here. The bundle is put
    into use as `register` says. Raises InvalidFile, InvalidInput, UnknownName, WeightsRefused, RegistryUnavailable,
    PromotionRefused.
    """
    config = CountsConfig()
    parameters: dict[str, Any] = {"seed": seed, "fit": "serve", "config": asdict(config)}
    if encoder is not None:
        parameters["encoder"] = asdict(encoder)

    def fit(dataset: Dataset, mark: str, advance: Advance) -> Bundle:
        store = None if encoder is None else encoder_store(settings, dataset, advance, may_train=True)
        return train_counts(
            dataset.events,
            dataset.items,
            fingerprint=mark,
            data_name=lasting_name(data, settings),
            config=config,
            seed=seed,
            encoders=store,
            encoder_config=encoder,
            embedder=None if encoder is None else open_embedder(settings),
            progress=advance,
        )

    def said(bundle: Bundle) -> dict[str, Any]:
        return {} if encoder is None else {"cold_items": _cold(bundle)}

    experiment = "train counts" if encoder is None else "train encoder"
    return register(settings, data, experiment, parameters, fit, said, promote=promote)


def _cold(bundle: Bundle) -> str:
    """By what the bundle ranks items that come later."""
    retriever = bundle.retriever
    if retriever is not None and retriever.cold is not None:
        return "embeddings of titles"
    lack = f"embeddings of titles need `tasteprint weights pull {MINILM}` before the training"
    known = "words and categories" if retriever is not None and retriever.sides is not None else "categories"
    return f"{known}; {lack}"


def train_encoders(
    settings: Settings,
    data: str,
    configs: Sequence[EncoderConfig],
    fit: str,
    split: str,
    tie_seeds: int,
    seeds: int,
) -> dict[str, Any]:
    """Trains the encoders that an evaluation of these arguments loads; those that are there already are left.

    Each is a run of its own. What was interrupted goes on from its last epoch. Raises InvalidInput, UnknownName.
    """
    from models.evaluation import train_for_evaluation

    start = time.perf_counter()
    dataset = load_or_pull(data, settings)
    with progress("training") as advance:
        store = encoder_store(settings, dataset, advance, may_train=True)
        trained = train_for_evaluation(
            dataset.events,
            dataset.items,
            fingerprint=fingerprint(dataset),
            configs=configs,
            fit=fit,
            split=split,
            tie_seeds=tie_seeds,
            seeds=seeds,
            encoders=store,
        )
    return {"data": dataset.name, "encoders": trained, "seconds": round(time.perf_counter() - start, 1)}


def encoder_store(settings: Settings, dataset: Dataset, advance: Advance, *, may_train: bool) -> "EncoderStore":
    """The trained encoders of this home; each that is trained is recorded as a run."""
    from models.encoders.store import EncoderStore

    def record(manifest: Mapping[str, Any]) -> None:
        given = {name: manifest[name] for name in ("cut", "config", "seed", "epochs")}
        name = f"{manifest['config']['kind']} {manifest['cut']['part']}"
        with recorded(settings, "encoders", name, dataset, manifest["cut"]["fingerprint"], given) as run:
            for curve, values in manifest["curves"].items():
                run.curve(curve, values)
            run.metrics({"epoch": manifest["epoch"], "seconds": manifest["seconds"]})
            run.figure("curves", curves(manifest["curves"]))

    return EncoderStore(encoders_folder(settings), may_train=may_train, progress=advance, trained=record)


def encoder_configs(kinds: Sequence[str], file: Path | None, given: Sequence[str]) -> list[EncoderConfig]:
    """The presets of these kinds, with what a TOML file and then NAME=VALUE settings say. Raises InvalidInput."""
    said = said_settings(file, given)
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidInput("encoder", f"{kind!r} was given; it is one of {', '.join(KINDS)}")
    return [configured(said, preset(kind)) for kind in kinds]


def said_settings(file: Path | None, given: Sequence[str]) -> dict[str, Any]:
    """What a TOML file of a model's settings says, and over it settings as NAME=VALUE. Raises InvalidInput."""
    said: dict[str, Any] = {}
    if file is not None:
        try:
            said |= tomllib.loads(file.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise InvalidInput("config", f"{file}: {error}; it is a TOML file of a model's settings") from None
    for one in given:
        name, equals, value = one.partition("=")
        if not equals:
            raise InvalidInput("set", f"{one!r} was given; write NAME=VALUE")
        said[name] = value
    return said
