"""What a downstream model is, what it learns from and what it is asked, in one frozen value."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from features.errors import InvalidInput
from models.configuring import with_settings
from models.p5.config import P5Config


@dataclass(frozen=True, slots=True)
class DownstreamConfig:
    """dimensions, heads, hidden, layers, dropout: of a T5 from nothing. vocabulary: most pieces of its tokenizer.

    length: most tokens of a prompt; a history that is longer loses its oldest entries.
    test, validation: each user's last events and those before them, which are asked about. earlier: the least number of
    events before one that is learnt from. cases: of one user that are learnt from, at most. candidates: of a choice.
    retriever: by which entries are retrieved.
    examples: that training takes, each a case in one form of prompt; rounds: parts of the training, after each of which
    it is validated; the best is kept. batch: examples of a step.
    """

    dimensions: int = 64
    heads: int = 4
    hidden: int = 256
    layers: int = 2
    dropout: float = 0.1
    vocabulary: int = 5000
    length: int = 2048
    test: int = 10
    validation: int = 5
    earlier: int = 5
    cases: int = 60
    candidates: int = 10
    retriever: str = "bm25"
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    batch: int = 64
    examples: int = 80_000
    rounds: int = 8

    def __post_init__(self) -> None:
        """Raises InvalidInput that names the field."""
        leasts = {"vocabulary": 100, "length": 64, "candidates": 2}
        for name in ("test", "validation", "earlier", "cases", "batch", "examples", "rounds"):
            leasts[name] = 1
        for name, least in leasts.items():
            if getattr(self, name) < least:
                raise InvalidInput(name, f"{getattr(self, name)} was given; it is at least {least}")
        if not 0 < self.learning_rate < math.inf:
            raise InvalidInput("learning_rate", f"{self.learning_rate} was given; it is positive and finite")
        self.t5()

    def t5(self) -> P5Config:
        """The same T5 as P5's."""
        return P5Config(
            dimensions=self.dimensions,
            heads=self.heads,
            hidden=self.hidden,
            layers=self.layers,
            dropout=self.dropout,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )


def configured(settings: Mapping[str, Any]) -> DownstreamConfig:
    """The configuration with these fields set, from text or values. Raises InvalidInput that names the field."""
    return with_settings(DownstreamConfig(), settings, "the downstream model")
