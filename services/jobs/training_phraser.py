"""Teaching the local generator to say facts: the adapter that summaries are written with."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from features.datasets import fingerprint
from features.errors import ModelMissing
from models.configuring import with_settings
from models.kept import folder_name
from models.language.weights import SMOLLM2, find_weights
from models.plots import curves
from services.console import progress
from services.jobs.loading import load_or_pull
from services.jobs.recording import recorded
from services.jobs.training import said_settings
from services.settings import Settings
from services.wiring import phrasers_folder

if TYPE_CHECKING:  # torch
    from models.language.tuning import TuningConfig

PAIRS: Final = 64  # of a round


def train_phraser(settings: Settings, data: str, config: "TuningConfig", seed: int) -> dict[str, Any]:
    """Trains the adapter of the pulled generator on users that are not held out; the same one that is there is left.

    What was interrupted goes on from its last round. Raises InvalidInput, ModelMissing when the generator was not
    pulled, WeightsRefused, RegistryUnavailable.
    """
    from models.language.adapters import base_digest, said_of
    from models.language.tuning import tune
    from models.summaries.instructing import TAUGHT_PROMPT
    from models.summaries.lessons import held_out, lessons
    from models.summaries.own_words import wordings

    start = time.perf_counter()
    weights = find_weights(SMOLLM2, settings.home)
    if weights is None:
        raise ModelMissing(f"{SMOLLM2} is not there; `tasteprint weights pull {SMOLLM2}` brings it")
    dataset = load_or_pull(data, settings)
    mark = fingerprint(dataset)
    pairs, measured = lessons(dataset.events, dataset.items, TAUGHT_PROMPT, each=PAIRS, seed=seed)
    identity = {
        "base": base_digest(weights),
        "config": asdict(config),
        "data": mark,
        "lessons": sha256(repr(pairs(0)).encode()).hexdigest(),
        "pairs": PAIRS,
        "prompt": TAUGHT_PROMPT.version,
        "seed": seed,
    }
    folder = phrasers_folder(settings) / "smollm2"
    checkpoint = phrasers_folder(settings) / "unfinished" / f"{folder_name('smollm2', identity)}.safetensors"
    said = said_of(folder)
    if any(said.get(name) != value for name, value in identity.items()):
        with recorded(settings, "phraser", weights.name, dataset, mark, identity) as run:
            with progress("training") as advance:
                tuned = tune(
                    weights,
                    pairs,
                    config,
                    validation=measured,
                    seed=seed,
                    checkpoint=checkpoint,
                    progress=advance,
                )
            shown = {
                wording
                for number in range(len(tuned.curves["loss"]))
                for facts, text in pairs.drawn(number)
                for wording in wordings(text, facts)
            }
            held = len(held_out(dataset.events["user"]))
            tuned.save(folder, identity | {"held_out": held, "wordings": sorted(shown)})
            for curve, values in tuned.curves.items():
                run.curve(curve, values)
            run.metrics({"seconds": tuned.seconds})
            run.figure("curves", curves(tuned.curves))
        checkpoint.unlink(missing_ok=True)
        said = said_of(folder)
    return {
        "data": dataset.name,
        "folder": str(folder),
        "rounds": len(said["curves"]["loss"]),
        "pairs": PAIRS * len(said["curves"]["loss"]),
        "held_out": said["held_out"],
        "loss": said["curves"]["loss"][-1],
        "validation_loss": said["curves"]["validation loss"][-1],
        "trained_s": said["seconds"],
        "seconds": round(time.perf_counter() - start, 1),
    }


def phraser_config(file: Path | None, given: Sequence[str]) -> "TuningConfig":
    """What a TOML file and then NAME=VALUE settings say. Raises InvalidInput."""
    from models.language.tuning import TuningConfig

    return with_settings(TuningConfig(), said_settings(file, given), "tuning")
