"""What a P5 model is and how it is trained, in one frozen value."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from features.errors import InvalidInput
from models.configuring import with_settings
from models.p5.corpus import Mix
from models.p5.item_index import INDEXINGS
from models.p5.templates import Family


@dataclass(frozen=True, slots=True)
class P5Config:
    """indexing: how items are written. whole_words: whether the sub-tokens of one word share an embedding of the word's
    place (Geng et al., 2022, section 4.2).

    dimensions, heads, hidden (of the feed-forward layers), layers (of the encoder; of the decoder as well), dropout: of
    a T5 from nothing; of a T5 checkpoint's folder, when `checkpoint` names one, its own. vocabulary: most pieces of
    text of a tokenizer trained on templates, titles, categories and reviews; a checkpoint brings its own.
    length: most tokens of a prompt. history, candidates: most items of one in a prompt, and how many a pick has.
    following: how many of the items that came next a sequential answer is trained to name, one after another: the
    first is what is asked, the others are lessons that cost next to nothing.
    sequential, rating, explanation, review, direct: examples of the family for each event that it can use, an epoch.
    epochs: the most; minutes: of training at most, 0 for no limit; the learning rate falls to nothing over whichever
    ends first. patience: epochs without a better validation NDCG@10 before training ends. batch: examples.
    """

    indexing: str = "independent"
    whole_words: bool = True
    dimensions: int = 64
    heads: int = 4
    hidden: int = 256
    layers: int = 2
    dropout: float = 0.2
    vocabulary: int = 2000
    checkpoint: str = ""
    length: int = 384
    history: int = 30
    candidates: int = 20
    following: int = 8
    sequential: float = 0.2
    rating: float = 0.2
    explanation: float = 0.05
    review: float = 0.2
    direct: float = 0.05
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    batch: int = 64
    epochs: int = 100
    minutes: float = 0.0
    patience: int = 10

    def __post_init__(self) -> None:
        """Raises InvalidInput that names the field."""
        if self.indexing not in INDEXINGS:
            raise InvalidInput("indexing", f"{self.indexing!r} was given; it is one of {', '.join(INDEXINGS)}")
        counts = ("dimensions", "heads", "hidden", "layers", "history", "following", "batch", "epochs", "patience")
        for name in counts:
            if getattr(self, name) < 1:
                raise InvalidInput(name, f"{getattr(self, name)} was given; it is at least 1")
        for name, least in (("vocabulary", 100), ("length", 16), ("candidates", 2)):
            if getattr(self, name) < least:
                raise InvalidInput(name, f"{getattr(self, name)} was given; it is at least {least}")
        if self.dimensions % self.heads:
            raise InvalidInput("heads", f"{self.dimensions} dimensions do not divide by {self.heads} heads")
        if not 0 <= self.dropout < 1:
            raise InvalidInput("dropout", f"{self.dropout} was given; it is in [0, 1)")
        for name in (*Family, "minutes", "weight_decay", "learning_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInput(name, f"{getattr(self, name)} was given; it is finite and not negative")
        if self.learning_rate == 0 or not any(getattr(self, family) for family in Family):
            raise InvalidInput("learning_rate", "with a rate of 0, or no examples of any family, nothing is learnt")

    @property
    def mix(self) -> Mix:
        """What an epoch is drawn from."""
        families = {family: getattr(self, family) for family in Family}
        return Mix(families, history=self.history, candidates=self.candidates, following=self.following)


# tiny: a minute or two, for tests and notebooks. small: most of an hour on two cores. base: T5-small's shape.
PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "tiny": {
        "dimensions": 32,
        "heads": 2,
        "hidden": 64,
        "layers": 1,
        "dropout": 0.1,
        "vocabulary": 600,
        "history": 10,
        "candidates": 8,
        "epochs": 4,
    },
    "small": {"minutes": 50.0},
    "base": {"dimensions": 512, "heads": 8, "hidden": 2048, "layers": 6, "history": 50, "batch": 256},
}


def preset(name: str = "small") -> P5Config:
    """Raises InvalidInput for a name that is none."""
    if name not in PRESETS:
        raise InvalidInput("preset", f"{name!r} was given; it is one of {', '.join(PRESETS)}")
    return P5Config(**PRESETS[name])


def configured(settings: Mapping[str, Any], base: P5Config | None = None) -> P5Config:
    """The configuration with these fields set, from text or values. Raises InvalidInput that names the field."""
    return with_settings(base or P5Config(), settings, "P5")
