"""What an adapter is and how it is learned, in one frozen value."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from features.errors import InvalidInput
from models.configuring import with_settings
from models.soft_prompt.config import LOT
from models.soft_prompt.questions import Style

SOURCES: Final = ("user", "constant")
DISTILLED: Final = ("logits", "states")
_LAYERS: Final = re.compile(r"(\d+)(?:-(\d+)(?::([1-9]\d*))?)?")
_COUNTS: Final = ("chunk", "queries", "rank", "windows", "taught", "batch", "steps", "every", "validation")
_RATES: Final = ("alpha", "learning_rate", "mapping_rate", "cache")


@dataclass(frozen=True, slots=True)
class StreamAdapterConfig:
    """chunk: tokens of one. queries: that read it in each layer. rank: of a core; alpha: of its strength, alpha / rank.
    maps: the linear maps that are adapted, by their names in a layer, with commas. layers: which, from 0, as
    "0-29:2,29"; all when empty. sees_previous: whether a chunk is read behind the one before it. undo_rotary: whether
    keys are read as they are before they are turned by their positions. is_whole: whether a request is read by changed
    weights from its first token on, and not from the cue that an answer begins with: what is before the cue is read
    once for all users then. source: what cores are made of, the user's
    chunks or, as a control, nothing but what was learned. style: how answers are given.

    contrast: the part of a question's loss that is of the choice among those offered. text: the weight of the loss of
    what the user does next, told in words, of which `windows` of the questions that are read together. distil: the
    weight of the distance to what the frozen model says with the context in its prompt, in `distilled` ("logits",
    "states"), for `taught` of them.

    learning_rate: of cores and of what they are applied by; mapping_rate: of what reads chunks.
    lengths: the most chunks of a context, the newest ones, in equal parts of the training, with commas; the last is
    measured with as well; 0 for all. newest: chunks of a user that are read for training, 0 for all; questions whose
    contexts begin before them are not asked. cache: gigabytes of chunks that are kept, as the frozen model reads them.
    batch: questions of a step. steps: the most; minutes: of the process's time on its cores, 0 for no limit; the rates
    fall to nothing over whichever ends first. every: steps between checkpoints, and between measurements on the first
    `validation` questions set aside.
    """

    chunk: int = 64
    queries: int = 4
    rank: int = 8
    alpha: float = 8.0
    maps: str = "v_proj,down_proj"
    layers: str = ""
    sees_previous: bool = False
    undo_rotary: bool = True
    is_whole: bool = False
    source: str = "user"
    style: str = "open"
    contrast: float = 0.8
    text: float = 0.0
    windows: int = 4
    distil: float = 0.0
    distilled: str = "logits"
    taught: int = 4
    learning_rate: float = 1e-3
    mapping_rate: float = 1e-3
    weight_decay: float = 0.01
    lengths: str = "4,8"
    newest: int = 0
    cache: float = 4.0
    batch: int = 64
    steps: int = 1000
    minutes: float = 0.0
    every: int = 50
    validation: int = 100

    def __post_init__(self) -> None:
        """Raises InvalidInput that names the field."""
        for name, value, known in (
            ("source", self.source, SOURCES),
            ("distilled", self.distilled, DISTILLED),
            ("style", self.style, tuple(Style)),
        ):
            if value not in known:
                raise InvalidInput(name, f"{value!r} was given; it is one of {', '.join(known)}")
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise InvalidInput(name, f"{getattr(self, name)} was given; it is at least 1")
        for name in _RATES:
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidInput(name, f"{getattr(self, name)} was given; it is finite and above 0")
        for name in ("text", "distil", "minutes", "weight_decay", "newest"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInput(name, f"{getattr(self, name)} was given; it is finite and not negative")
        if self.batch > LOT and self.batch % LOT:
            raise InvalidInput("batch", f"{self.batch} was given; above {LOT} it is a multiple of it")
        if not 0 <= self.contrast <= 1:
            raise InvalidInput("contrast", f"{self.contrast} was given; it is a part, from 0 to 1")
        if len(set(self.adapted)) != len(self.adapted) or not all(self.adapted):
            raise InvalidInput("maps", f"{self.maps!r} was given; name different maps, with commas between them")
        if not self.lengths or not all(one.isdecimal() for one in self.lengths.split(",")):
            raise InvalidInput(
                "lengths", f"{self.lengths!r} was given; give numbers of chunks, with commas between them"
            )
        if not all(_LAYERS.fullmatch(one) for one in self.layers.split(",") if self.layers):
            raise InvalidInput("layers", f"{self.layers!r} was given; give layers as 0-29:2,29")

    @property
    def adapted(self) -> tuple[str, ...]:
        """The maps, in their order."""
        return tuple(one.strip() for one in self.maps.split(","))

    @property
    def stages(self) -> tuple[int, ...]:
        """The most chunks of a context, of each part of the training; 0 for all."""
        return tuple(map(int, self.lengths.split(",")))

    def layers_of(self, count: int) -> tuple[int, ...]:
        """Those adapted of a model of so many. Raises InvalidInput when there are none, or not so many."""
        if not self.layers:
            return tuple(range(count))
        found: set[int] = set()
        for one in self.layers.split(","):
            first, last, step = _LAYERS.fullmatch(one).groups()  # type: ignore[union-attr]  # they matched before
            found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
        if not found or max(found) >= count:
            raise InvalidInput("layers", f"{self.layers!r} was given; the model has layers 0 to {count - 1}")
        return tuple(sorted(found))


# Of a model of SmolLM2-135M's size, on a few cores: what is in a chunk is in the lower layers' values too, and reading
# no further takes less than half as long.
_DEFAULT: Final[Mapping[str, Any]] = {
    "layers": "0-11",
    "lengths": "6",
    "newest": 8,
    "learning_rate": 3e-3,
    "mapping_rate": 3e-3,
}
PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "default": _DEFAULT,
    "distilled": {**_DEFAULT, "distil": 0.5},
    "overlapping": {**_DEFAULT, "sees_previous": True},
    "text": {**_DEFAULT, "text": 0.25},
    "constant": {**_DEFAULT, "source": "constant"},
}


def preset(name: str = "default") -> StreamAdapterConfig:
    """Raises InvalidInput for a name that is none."""
    if name not in PRESETS:
        raise InvalidInput("preset", f"{name!r} was given; it is one of {', '.join(PRESETS)}")
    return StreamAdapterConfig(**PRESETS[name])


def configured(settings: Mapping[str, Any], base: StreamAdapterConfig | None = None) -> StreamAdapterConfig:
    """The configuration with these fields set, from text or values. Raises InvalidInput that names the field."""
    return with_settings(base or StreamAdapterConfig(), settings, "a stream adapter")
