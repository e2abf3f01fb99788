"""What a soft prompt is and how it is learned, in one frozen value."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from features.errors import InvalidInput
from models.configuring import with_settings
from models.soft_prompt.questions import Style

KINDS: Final = ("linear", "query", "instructed", "dept", "none")
SOURCES: Final = ("user", "constant")
LOT: Final = 32  # questions that are read together, of which a step takes several


@dataclass(frozen=True, slots=True)
class SoftPromptConfig:
    """kind: of the adapter (models/soft_prompt/adapters.py); "none" is for measuring the language model by itself.
    tokens: vectors of a prompt, one of "linear", none of "none". source: what the adapter reads, the user's states or,
    as a control, one learned vector in place of everybody's. style: how answers are given.
    warm: how often every question is asked before the language model is read, 0 for not at all
    (models/soft_prompt/warming.py); warm_rate: the learning rate meanwhile.
    contrast: the part of the loss that is of the choice among those offered; the rest is of the true answer's words.

    hidden, heads: of the attention to states. bottleneck: of what "instructed" makes of a question. rank: of the update
    of the question's words by "dept". lora: rank of updates of the language model, 0 to leave it as it is.
    tune_encoder: whether the encoder learns as well.
    learning_rate: of the adapter; words_rate, encoder_rate, lora_rate: of what "dept" adds to words, of the encoder and
    of the language model's updates, where they learn.
    batch: questions of a step. steps: the most; minutes: of the process's time on its cores, 0 for no limit; the rates
    fall to nothing over whichever ends first. every: steps between checkpoints, and between measurements on the first
    `validation` questions set aside.
    """

    kind: str = "linear"
    tokens: int = 1
    source: str = "user"
    style: str = "open"
    warm: int = 3
    warm_rate: float = 3e-3
    contrast: float = 0.8
    hidden: int = 128
    heads: int = 4
    bottleneck: int = 32
    rank: int = 8
    lora: int = 0
    tune_encoder: bool = False
    learning_rate: float = 3e-3
    words_rate: float = 1e-4
    encoder_rate: float = 1e-4
    lora_rate: float = 5e-4
    weight_decay: float = 0.01
    batch: int = 64
    steps: int = 4000
    minutes: float = 0.0
    every: int = 100
    validation: int = 200

    def __post_init__(self) -> None:
        """Raises InvalidInput that names the field."""
        for name, value, known in (
            ("kind", self.kind, KINDS),
            ("source", self.source, SOURCES),
            ("style", self.style, tuple(Style)),
        ):
            if value not in known:
                raise InvalidInput(name, f"{value!r} was given; it is one of {', '.join(known)}")
        fixed = {"linear": 1, "none": 0}.get(self.kind)
        if self.tokens < 0 or (fixed is None and not self.tokens) or (fixed is not None and self.tokens != fixed):
            raise InvalidInput(
                "tokens", f"{self.tokens} was given; {self.kind} has {'at least 1' if fixed is None else fixed}"
            )
        for name in ("hidden", "heads", "bottleneck", "rank", "batch", "steps", "every", "validation"):
            if getattr(self, name) < 1:
                raise InvalidInput(name, f"{getattr(self, name)} was given; it is at least 1")
        if self.hidden % self.heads:
            raise InvalidInput("heads", f"{self.hidden} hidden dimensions do not divide by {self.heads} heads")
        for name in ("learning_rate", "warm_rate", "words_rate", "encoder_rate", "lora_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidInput(name, f"{getattr(self, name)} was given; it is finite and above 0")
        if self.batch > LOT and self.batch % LOT:
            raise InvalidInput("batch", f"{self.batch} was given; above {LOT} it is a multiple of it")
        for name in ("warm", "lora", "minutes", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInput(name, f"{getattr(self, name)} was given; it is finite and not negative")
        if not 0 <= self.contrast <= 1:
            raise InvalidInput("contrast", f"{self.contrast} was given; it is a part, from 0 to 1")
        if self.kind == "none" and not self.lora:
            raise InvalidInput("lora", "0 was given; without an adapter there is nothing else that could learn")
        if self.tune_encoder and (self.kind == "none" or self.source == "constant"):
            raise InvalidInput("tune_encoder", "true was given; nothing here reads an encoder")


PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "linear-1": {"learning_rate": 5e-3},
    "query-4": {"kind": "query", "tokens": 4},
    "query-16": {"kind": "query", "tokens": 16},
    "instructed-4": {"kind": "instructed", "tokens": 4},
    "dept-2": {"kind": "dept", "tokens": 2},
    "none": {"kind": "none", "tokens": 0, "lora": 8},
}


def preset(name: str = "linear-1") -> SoftPromptConfig:
    """Raises InvalidInput for a name that is none."""
    if name not in PRESETS:
        raise InvalidInput("preset", f"{name!r} was given; it is one of {', '.join(PRESETS)}")
    return SoftPromptConfig(**PRESETS[name])


def configured(settings: Mapping[str, Any], base: SoftPromptConfig | None = None) -> SoftPromptConfig:
    """The configuration with these fields set, from text or values. Raises InvalidInput that names the field."""
    return with_settings(base or SoftPromptConfig(), settings, "a soft prompt")
