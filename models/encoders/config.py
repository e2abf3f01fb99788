"""What an encoder is and how it is trained, in one frozen value."""

import math
from dataclasses import dataclass
from typing import Any, Final

from features.errors import InvalidInput
from models.configuring import with_settings

KINDS: Final = ("sasrec", "hstu", "transformer", "gru4rec", "mamba", "mean")
LOSSES: Final = ("full", "uniform", "log-uniform")


# What differs by kind from the defaults, which were chosen for SASRec, on validation events.
PRESETS: Final[dict[str, dict[str, Any]]] = {"hstu": {"blocks": 2}, "transformer": {"blocks": 2}}


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """kind: of the layers. dimensions: of every vector. length: newest events that are read.

    Side information that an item's vector is made of besides its own row: words (of the title), categories. What an
    event's vector adds to its item's: rating, gaps (time since the event before).
    loss: the softmax over the whole catalogue, or over `negatives` items drawn anew for each batch, uniformly or by
    log-uniform popularity rank, corrected for how likely each was to be drawn.
    temperature: scores are cosines divided by it; 0 for plain inner products.
    epochs: the most; patience: epochs without a better validation NDCG@10 before training ends. batch: sequences.
    """

    kind: str = "sasrec"
    dimensions: int = 64
    blocks: int = 1
    heads: int = 1
    dropout: float = 0.4
    length: int = 50
    words: bool = True
    categories: bool = True
    rating: bool = False
    gaps: bool = False
    loss: str = "full"
    negatives: int = 512
    temperature: float = 0.0
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    batch: int = 128
    epochs: int = 200
    patience: int = 8

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidInput("kind", f"{self.kind!r} was given; it is one of {', '.join(KINDS)}")
        if self.loss not in LOSSES:
            raise InvalidInput("loss", f"{self.loss!r} was given; it is one of {', '.join(LOSSES)}")
        for name in ("dimensions", "blocks", "heads", "length", "negatives", "batch", "epochs", "patience"):
            if getattr(self, name) < 1:
                raise InvalidInput(name, f"{getattr(self, name)} was given; it is at least 1")
        if self.dimensions % (2 * self.heads):
            raise InvalidInput("heads", f"{self.dimensions} dimensions do not divide by twice {self.heads} heads")
        if not 0 <= self.dropout < 1:
            raise InvalidInput("dropout", f"{self.dropout} was given; it is in [0, 1)")
        for name in ("learning_rate", "temperature", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInput(name, f"{getattr(self, name)} was given; it is finite and not negative")
        if self.learning_rate == 0:
            raise InvalidInput("learning_rate", "0 was given; with that nothing is learnt")


def preset(kind: str = "sasrec") -> EncoderConfig:
    """The configuration that a kind of encoder starts from."""
    return EncoderConfig(kind, **PRESETS.get(kind, {}))


def configured(settings: dict[str, Any], base: EncoderConfig | None = None) -> EncoderConfig:
    """The configuration with these fields set, from text or values. Raises InvalidInput that names the field."""
    return with_settings(base or EncoderConfig(), settings, "an encoder")
