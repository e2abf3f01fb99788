"""Data sets by name: fetched on the first use, read from disk afterwards; and weights that were pulled."""

from pathlib import Path

from features.datasets import PULLED, Dataset, load, pull
from features.errors import ModelMissing
from models.language.weights import find_weights
from services.console import err
from services.settings import Settings


def load_or_pull(data: str, settings: Settings) -> Dataset:
    """The data set of a name, a file or a folder. Raises InvalidFile, UnknownName, FetchFailed, ChecksumMismatch."""
    if data in PULLED:
        pull(data, settings.home, err.print if err.is_terminal else None)
    return load(data, settings.home)


def pulled_weights(name: str, settings: Settings) -> Path:
    """The folder of pretrained weights. Raises ModelMissing when they were not pulled."""
    folder = find_weights(name, settings.home)
    if folder is None:
        raise ModelMissing(f"{name} is not there; `tasteprint weights pull {name}` brings it")
    return folder


def lasting_name(data: str, settings: Settings) -> str:
    """What names the data set from any folder: the name of one in the home, the absolute path of any other."""
    in_home = "/" not in data and (settings.home / "datasets" / data).exists()
    return data if in_home else str(Path(data).absolute())
