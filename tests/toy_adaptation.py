"""Users with a favourite of four categories, and every arm of the evaluation of weight updates, small and quick."""

from dataclasses import replace
from pathlib import Path

from toy_favourites import favourites, logged, quick
from toy_llama import toy_llama
from toy_sequences import CPU

from models.soft_prompt.arm_store import ArmStore
from models.soft_prompt.arms import Arm as PromptArm
from models.stream_adapter.arm_store import Arms
from models.stream_adapter.arms import CONSTANT, TOLD, AdapterArm, Arm, OwnContextArm
from models.stream_adapter.config import StreamAdapterConfig
from models.stream_adapter.context import line
from models.stream_adapter.data import AdaptingData
from models.stream_adapter.own_context import OwnContext

_DATA = favourites(users=160)
DRAWN = _DATA.validation
DATA = replace(_DATA, validation=_DATA.questions[:16])
LOG = logged(DATA)
ENCODER = DATA.encoder.config
LINES = [
    line(name, [LOG.categories_G[row] for row in LOG.has_NG[item].nonzero()[0]])
    for item, name in enumerate(LOG.names_N)
]
ADAPTING = AdaptingData(
    DATA.events.starts_V, DATA.events.items_E, DATA.events.values_E, LINES, DATA.questions, DATA.validation
)


def quick_adapter(**more: object) -> StreamAdapterConfig:
    """Small and short enough for a test."""
    small = {"chunk": 8, "queries": 2, "rank": 4, "batch": 16, "steps": 4, "every": 2, "validation": 16}
    return StreamAdapterConfig(**{**small, "contrast": 1.0, "learning_rate": 0.03, "mapping_rate": 0.03, **more})


def toy_arms(steps: int = 4) -> dict[str, Arm]:
    """Of every kind one, with the controls."""
    alone = quick(kind="none", tokens=0, lora=2, steps=2)
    learns = quick_adapter(steps=steps, every=steps // 2)
    adapter = AdapterArm("stream-adapter", learns, "stream-adapter")
    arms: list[Arm] = [PromptArm(name, ENCODER, alone, told=told) for name, told in TOLD.items()]
    arms += [PromptArm(f"{name}+lora", ENCODER, alone, f"{name}+lora", told) for name, told in TOLD.items() if told]
    constant = replace(learns, source="constant", steps=4, every=2)
    arms += [
        OwnContextArm("lora-3", OwnContext(told=4, rank=2)),
        PromptArm("mean/query-2", ENCODER, quick(kind="query", tokens=2), "mean/query-2"),
        adapter,
        AdapterArm(f"{CONSTANT}stream-adapter", constant, f"{CONSTANT}stream-adapter"),
        replace(adapter, name="stream-adapter of another user", is_stranger=True),
    ]
    return {arm.name: arm for arm in arms}


def toy_store(home: Path, arms: dict[str, Arm], **more: object) -> Arms:
    """Arms in a home, with a language model that is made there; `words` of its tokens are those of questions."""
    language = home / "toy"
    if not language.is_dir():
        toy_llama(language, words="likes what Answer war love space jazz The", spread=0.2, reads=8192)
    words = ArmStore(
        home / "arms",
        language,
        LOG,
        DATA,
        lambda _: DATA.encoder,
        fingerprint="toy",
        device=CPU,
        command="adaptation",
        **{"may_train": True, **more},
    )
    return Arms(home / "adapted", words, ADAPTING, arms)
