"""What a model was taught beside its weights: a LoRA in a folder, as PEFT keeps it, that belongs to one model alone."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final

from features.errors import WeightsRefused

SAID: Final = "tuning.json"
WEIGHTS: Final = "adapter_model.safetensors"


def merged(model: Any, folder: Path, base: str) -> Any:
    """The model with a folder's updates added to its weights. base: sha256 of those.

    Raises WeightsRefused for updates of another base, and for a folder that holds none.
    """
    from peft import PeftModel  # here, for it is slow to import

    theirs = said_of(folder).get("base", base)  # updates that were not trained here do not say
    if theirs != base:
        raise WeightsRefused(
            f"{folder}: was trained for other weights (sha256 {theirs[:12]}, these are {base[:12]}); train it again"
        )
    if not (folder / WEIGHTS).is_file():
        raise WeightsRefused(f"{folder}: has no {WEIGHTS}; it is to be a LoRA's folder, as PEFT writes it")
    try:
        with without_notice():
            return PeftModel.from_pretrained(model, str(folder), local_files_only=True).merge_and_unload()
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsRefused(f"{folder}: {error}") from None


def said_of(folder: Path) -> dict[str, Any]:
    """How a folder's updates were trained; nothing where that is not said."""
    try:
        said = json.loads((folder / SAID).read_text())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def base_digest(folder: Path) -> str:
    """sha256 of the weights in a folder. Raises WeightsRefused when there are none."""
    try:
        with (folder / "model.safetensors").open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsRefused(f"{folder}: {error}") from None


@contextmanager
def without_notice() -> Iterator[None]:
    """PEFT asks transformers by a name that is on its way out, which is nobody's concern here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
