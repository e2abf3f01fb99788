"""What a model was taught beside its weights: a LoRA in a folder, as PEFT keeps it, that belongs to one model alone."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from features.errors import WeightsRefused

SAID: Final = "tuning.json"


def check_base(adapter: Path, base: str) -> None:
    """Raises WeightsRefused when the updates say that they were trained beside other weights than those of this sha256;
    updates that were not trained here do not say."""
    theirs = said_of(adapter).get("base", base)
    if theirs != base:
        raise WeightsRefused(
            f"{adapter}: was trained for other weights (sha256 {theirs[:12]}, these are {base[:12]}); train it again"
        )


def said_of(folder: Path) -> dict[str, Any]:
    """How a folder's updates were trained; nothing where that is not said."""
    try:
        said = json.loads((folder / SAID).read_text())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def base_digest(folder: Path) -> str:
    """sha256 of the weights in a folder, all its files together. Raises WeightsRefused when there are none."""
    digest = sha256()
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsRefused(f"{folder}: holds no weights in safetensors")
    try:
        for path in files:
            with path.open("rb") as file:
                while part := file.read(2**20):
                    digest.update(part)
    except OSError as error:
        raise WeightsRefused(f"{folder}: {error}") from None
    return digest.hexdigest()


@contextmanager
def without_notice() -> Iterator[None]:
    """PEFT asks transformers by a name that is on its way out, which is nobody's concern here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
