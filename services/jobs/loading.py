"""Data sets by name: fetched on the first use, read from disk afterwards."""

from features.datasets import PULLED, Dataset, load, pull
from services.console import err
from services.settings import Settings


def load_or_pull(data: str, settings: Settings) -> Dataset:
    """The data set of a name, a file or a folder. Raises InvalidFile, UnknownName, FetchFailed, ChecksumMismatch."""
    if data in PULLED:
        pull(data, settings.home, err.print if err.is_terminal else None)
    return load(data, settings.home)
