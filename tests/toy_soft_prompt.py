"""A home with a tiny language model and an untrained soft prompt for it, in use; its encoder knows i0 to i19."""

from pathlib import Path

import torch
from toy_favourites import CATEGORIES, EACH, favourites, quick
from toy_llama import toy_llama
from toy_sequences import CPU

from features.events import ItemId
from models.language.weights import SMOLLM2
from models.soft_prompt.bundle import save_soft_prompt
from models.soft_prompt.language import Language
from models.soft_prompt.trained import Aligned
from models.vocabulary import Vocabulary
from services.settings import Settings
from services.soft_prompts import put_soft_prompt_into_use, soft_prompts_folder

DATA = favourites(users=16, kind="sasrec")
ITEMS = Vocabulary(tuple(ItemId(f"i{row}") for row in range(EACH * len(CATEGORIES))))


def toy_weights(home: Path, seed: int = 0) -> Path:
    """The language model where the pulled one would be."""
    folder = home / "weights" / SMOLLM2
    folder.mkdir(parents=True, exist_ok=True)
    return toy_llama(folder, seed=seed)


def toy_soft_prompt(home: Path, name: str = "toy", seed: int = 0, kind: str = "query") -> Aligned:
    """Put into use; what it was saved from."""
    language = Language(toy_weights(home), CPU)
    torch.manual_seed(seed)
    aligned = Aligned(quick(kind=kind, tokens=1 if kind == "linear" else 2), DATA.encoder, language)
    settings = Settings(home=home)
    told = {"name": "toy", "fingerprint": "f"}
    save_soft_prompt(soft_prompts_folder(settings) / name, aligned, ITEMS, SMOLLM2, told, {})
    put_soft_prompt_into_use(settings, name)
    return aligned
