"""Users with a favourite of four categories whose events are told in words, and adapters small enough for a test."""

from pathlib import Path

import torch
from toy_favourites import CATEGORIES, EACH, favourites
from toy_sequences import CPU

from models.soft_prompt.language import Language
from models.stream_adapter.config import StreamAdapterConfig
from models.stream_adapter.context import line
from models.stream_adapter.data import AdaptingData
from models.stream_adapter.trained import StreamAdapter

WORDS = "likes what Answer war love space jazz The"
LINES = tuple(line(f"The i{row:02}", [CATEGORIES[row // EACH]]) for row in range(EACH * len(CATEGORIES)))


def small(**more: object) -> StreamAdapterConfig:
    """Small and short enough for a test."""
    tiny = {"chunk": 8, "queries": 2, "rank": 2, "alpha": 2.0, "batch": 8, "steps": 4, "every": 2, "validation": 8}
    return StreamAdapterConfig(**{**tiny, "learning_rate": 0.01, "mapping_rate": 0.01, "lengths": "2,4", **more})


def streams(users: int = 40, seed: int = 0) -> AdaptingData:
    """The favourites' events and questions."""
    data = favourites(users, seed)
    events = data.events
    return AdaptingData(events.starts_V, events.items_E, events.values_E, LINES, data.questions, data.validation)


def toy_adapter(folder: Path, seed: int = 0, **more: object) -> StreamAdapter:
    """Of the language model in a folder, with weights that do change it."""
    torch.manual_seed(seed)
    adapter = StreamAdapter(small(**more), Language(folder, CPU))
    for ups_LRO in adapter.absorption.ups_KLRO:
        torch.nn.init.normal_(ups_LRO)
    adapter.weights.requires_grad_(False)
    return adapter
