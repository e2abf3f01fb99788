"""Training a stream adapter: what turns users' streams into changes of the pulled language model's weights."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from features.datasets import fingerprint
from features.errors import InvalidInput
from models.kept import folder_name, load_parts
from models.language.weights import SMOLLM2
from services.console import progress
from services.jobs.loading import lasting_name, load_or_pull, pulled_weights
from services.jobs.recording import record_trained, recorded
from services.jobs.training import said_settings
from services.settings import Settings
from services.stream_adapters import put_stream_adapter_into_use, stream_adapter_in_use, stream_adapters_folder
from services.wiring import adapted_arms_folder

if TYPE_CHECKING:  # torch
    from models.stream_adapter.config import StreamAdapterConfig

MODEL: Final = "tasteprint-stream-adapter"
SERVED: Final = "served"


def train_stream_adapter(
    settings: Settings, data: str, config: "StreamAdapterConfig", seed: int, *, promote: bool = False
) -> dict[str, Any]:
    """Trains a stream adapter of the pulled language model; the same one that is there is left, and one that an
    evaluation has trained just so is taken. It is put into use when none is, and with `promote`.

    What was interrupted goes on from where it was last saved. Raises InvalidFile, InvalidInput, UnknownName,
    ModelMissing when the language model was not pulled, WeightsRefused, BundleRefused when the one that is there is
    damaged, RegistryUnavailable.
    """
    from models.language.adapters import base_digest
    from models.soft_prompt.log import log_of
    from models.stream_adapter.arm_store import trained_for
    from models.stream_adapter.preparing import adapting_data
    from models.stream_adapter.trained import StreamAdapter
    from models.stream_adapter.training import train

    start = time.perf_counter()
    if config.source != "user":
        raise InvalidInput("source", f"{config.source!r} was given, which has nothing of a user; it is not served")
    weights = pulled_weights(SMOLLM2, settings)
    dataset = load_or_pull(data, settings)
    mark = fingerprint(dataset)
    learnt = adapting_data(dataset, log_of(dataset), seed=seed)
    identity = {"base": base_digest(weights), "config": asdict(config), "data": learnt.digest, "seed": seed}
    name = folder_name(f"stream-{config.queries}x{config.rank}", identity)
    folder = stream_adapters_folder(settings) / name
    in_use = stream_adapter_in_use(settings)
    is_wanted = in_use is None or (promote and in_use != name)
    if not folder.is_dir() or is_wanted:
        parameters = {"seed": seed, "config": asdict(config), "base": SMOLLM2}
        with recorded(settings, "stream adapters", name, dataset, mark, parameters) as run:
            if not folder.is_dir():
                checkpoint = stream_adapters_folder(settings) / "unfinished" / f"{name}.safetensors"
                evaluated = trained_for(adapted_arms_folder(settings), learnt, weights, config, seed)
                if evaluated is not None:
                    adapter = StreamAdapter.load(evaluated, weights)
                else:
                    with progress("training") as advance:
                        adapter = train(learnt, weights, config, seed=seed, checkpoint=checkpoint, progress=advance)
                adapter.said = {
                    **adapter.said,
                    "base": SMOLLM2,
                    "data": {"name": lasting_name(data, settings), "fingerprint": mark},
                    "questions": len(learnt.questions),
                    "validation_accuracy": adapter.said["curves"]["validation accuracy"][-1],
                }
                adapter.save(folder)
                checkpoint.unlink(missing_ok=True)
            said = load_parts(folder, {})[1]
            record_trained(run, said)
            run.metrics({"state_bytes": said["state_bytes"]})
            if is_wanted:
                tags = {"version": said["version"], "folder": name, "data": dataset.name, "fingerprint": mark}
                run.keep(MODEL, SERVED, said, tags)
                put_stream_adapter_into_use(settings, name)
    said = load_parts(folder, {})[1]
    report = {
        "stream_adapter": name,
        "version": said["version"],
        "folder": str(folder),
        "base_model": {"name": said["base"], "sha256": said["language"]},
        "questions": said["questions"],
        "loss": said["curves"]["loss"][-1],
        "validation_accuracy": said["validation_accuracy"],
        "state_bytes": said["state_bytes"],
        "trained_s": said["seconds"],
        "data": dataset.name,
        "in_use": stream_adapter_in_use(settings) == name,
        "seconds": round(time.perf_counter() - start, 1),
    }
    return report if report["in_use"] else report | {"next": "the same command with --promote puts it into use"}


def stream_adapter_config(
    name: str, file: Path | None, given: Sequence[str], minutes: float | None = None
) -> "StreamAdapterConfig":
    """A preset, with what a TOML file and then NAME=VALUE settings say. minutes: after which alone its training ends.

    Raises InvalidInput.
    """
    from models.stream_adapter.arms import budgeted
    from models.stream_adapter.config import configured, preset

    made = configured(said_settings(file, given), preset(name))
    return made if minutes is None else budgeted(made, minutes)
