"""Training a soft prompt: an encoder of what is known of users, aligned by questions with the pulled language model."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from features.datasets import fingerprint
from models.encoders.config import EncoderConfig
from models.kept import folder_name
from models.language.weights import SMOLLM2
from models.soft_prompt.config import SoftPromptConfig, configured, preset
from services.console import progress
from services.jobs.loading import lasting_name, load_or_pull, pulled_weights
from services.jobs.recording import record_trained, recorded
from services.jobs.training import encoder_store, said_settings
from services.settings import Settings
from services.soft_prompts import put_soft_prompt_into_use, soft_prompt_in_use, soft_prompts_folder

if TYPE_CHECKING:  # torch
    from models.soft_prompt.bundle import SoftPrompter

MODEL: Final = "tasteprint-soft-prompt"
SERVED: Final = "served"


def train_soft_prompt(
    settings: Settings, data: str, encoder: EncoderConfig, config: SoftPromptConfig, seed: int, *, promote: bool = False
) -> dict[str, Any]:
    """Trains a soft prompt for the pulled language model, with the encoder that it reads; the same one that is there is
    left. It is put into use when nothing is, and with `promote`.

    What was interrupted goes on from where it was last saved. Raises InvalidFile, InvalidInput, UnknownName,
    ModelMissing when the language model was not pulled, WeightsRefused, BundleRefused when the one that is there is
    damaged, RegistryUnavailable.
    """
    from models.language.adapters import base_digest
    from models.soft_prompt.aligning import align
    from models.soft_prompt.bundle import check, load_soft_prompt, save_soft_prompt
    from models.soft_prompt.preparing import prepared

    start = time.perf_counter()
    check(config)
    weights = pulled_weights(SMOLLM2, settings)
    dataset = load_or_pull(data, settings)
    mark = fingerprint(dataset)
    with progress("preparing") as advance:
        encoders = encoder_store(settings, dataset, advance, may_train=True)
        log, asked = prepared(dataset, encoders, encoder, seed=seed)
    identity = {"base": base_digest(weights), "config": asdict(config), "data": asked.digest, "seed": seed}
    name = folder_name(f"{config.kind}-{config.tokens}", identity)
    folder = soft_prompts_folder(settings) / name
    in_use = soft_prompt_in_use(settings)
    is_wanted = in_use is None or (promote and in_use != name)
    if not folder.is_dir() or is_wanted:
        parameters = {"seed": seed, "config": asdict(config), "encoder": asdict(encoder), "base": SMOLLM2}
        with recorded(settings, "soft prompts", name, dataset, mark, parameters) as run:
            if not folder.is_dir():
                checkpoint = soft_prompts_folder(settings) / "unfinished" / f"{name}.safetensors"
                with progress("aligning") as advance:
                    aligned = align(asked, weights, config, seed=seed, checkpoint=checkpoint, progress=advance)
                told = {"name": lasting_name(data, settings), "fingerprint": mark}
                reached = aligned.said["curves"]["validation accuracy"][-1]
                said = {"questions": len(asked.questions), "validation_accuracy": reached}
                save_soft_prompt(folder, aligned, log.vocabulary, SMOLLM2, told, said)
                checkpoint.unlink(missing_ok=True)
            prompter = load_soft_prompt(folder)
            record_trained(run, prompter.manifest)
            if is_wanted:
                tags = {"version": prompter.version, "folder": name, "data": dataset.name, "fingerprint": mark}
                run.keep(MODEL, SERVED, prompter.manifest, tags)
                put_soft_prompt_into_use(settings, name)
    report = _report(load_soft_prompt(folder), folder) | {
        "data": dataset.name,
        "in_use": soft_prompt_in_use(settings) == name,
        "seconds": round(time.perf_counter() - start, 1),
    }
    return report if report["in_use"] else report | {"next": "the same command with --promote puts it into use"}


def soft_prompt_config(name: str, file: Path | None, given: Sequence[str]) -> SoftPromptConfig:
    """A preset, with what a TOML file and then NAME=VALUE settings say. Raises InvalidInput."""
    return configured(said_settings(file, given), preset(name))


def _report(prompter: "SoftPrompter", folder: Path) -> dict[str, Any]:
    said = prompter.manifest
    return {
        "soft_prompt": folder.name,
        "version": prompter.version,
        "folder": str(folder),
        "base_model": dict(prompter.base),
        "encoder": said["encoder_kind"],
        "questions": said["questions"],
        "loss": said["curves"]["loss"][-1],
        "validation_accuracy": said["validation_accuracy"],
        "trained_s": said["seconds"],
    }
