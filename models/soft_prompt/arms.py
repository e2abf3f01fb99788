"""The arms of the evaluation by questions: who answers, told what of a user.

no-user                       the frozen language model, and the question alone
text-10, text-50, text-full   the user's newest events in words before the question; full: as many as 2048 tokens hold
...+lora                      the same, and the language model tuned to it
constant/ADAPTER              the adapter on a learned constant in everybody's place: a control
ENCODER/ADAPTER               the soft prompt
ENCODER/ADAPTER of another user   the same, fed with a stranger's past: a control
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from features.errors import InvalidInput
from models.encoders.config import EncoderConfig
from models.soft_prompt.config import SoftPromptConfig, preset
from models.soft_prompt.telling import ALL

GUESSES: Final = ("chance", "popularity")  # arms without a model
OPTIONAL: Final = ("no-user+lora",)  # done where it is asked for
LORA: Final = "+lora"
OF_ANOTHER: Final = " of another user"
TOLD: Final = {"text-10": 10, "text-50": 50, "text-full": ALL}
SIZES: Final = ((16, 1), (64, 1), (128, 2))  # dimensions and blocks of the scaling study's encoders
LENGTHS: Final = (10, 50, 200)  # events that they read
SCALED: Final = "linear-1"  # the adapter of the scaling study


def budget(told: int, minutes: float) -> dict[str, Any]:
    """Settings of a training of so many minutes, with so many events told in words before each question.

    A step over long prompts takes long: smaller ones, so that there are enough of them in the same minutes, and fewer
    questions to measure between.
    """
    if not told:
        return {"minutes": minutes, "validation": 280}
    if told <= TOLD["text-10"]:
        return {"minutes": minutes, "batch": 8, "every": 25, "validation": 50, "steps": 3000}
    return {"minutes": minutes, "batch": 4, "every": 20, "validation": 20, "steps": 6000}


@dataclass(frozen=True, slots=True)
class Arm:
    """encoder: what the adapter reads, or, where it reads none, what a prompt that does would. learnt: the name of the
    arm whose training it answers by, mostly its own; "" where nothing is learnt. told: newest events in words, 0 for
    none. is_stranger: whether it is fed with another user's past."""

    name: str
    encoder: EncoderConfig
    config: SoftPromptConfig
    learnt: str = ""
    told: int = 0
    is_stranger: bool = False

    @property
    def reads_encoder(self) -> bool:
        return self.config.tokens > 0 and self.config.source == "user"


def arms_of(
    encoders: Sequence[EncoderConfig], adapters: Sequence[str], minutes: float, *, has_gpu: bool
) -> dict[str, Arm]:
    """All arms by name; what is learnt is learnt in so many minutes each. A constant is as wide as the first encoder.

    has_gpu: whether tuning on whole histories is affordable; the model that is tuned on the newest 50 events reads them
    otherwise. Raises InvalidInput for an adapter that is none.
    """
    for name in adapters:
        if not preset(name).tokens:
            raise InvalidInput("adapters", f"{name!r} was given, which makes no soft prompt")
    first = encoders[0]
    arms = text_arms(first, {"no-user": 0, **TOLD}, minutes, has_gpu=has_gpu)
    own = {name: replace(preset(name), **budget(0, minutes)) for name in adapters}
    for name, config in own.items():
        constant = f"constant/{name}"
        arms.append(Arm(constant, first, replace(config, source="constant"), constant))
    soft = [_soft(encoder.kind, encoder, name, config) for encoder in encoders for name, config in own.items()]
    arms += [*soft, *(replace(arm, name=arm.name + OF_ANOTHER, is_stranger=True) for arm in soft)]
    return {arm.name: arm for arm in arms}


def text_arms(encoder: EncoderConfig, told: Mapping[str, int], minutes: float, *, has_gpu: bool) -> list[Arm]:
    """The language model told so many events in words, by the arm's name: as it is, and then tuned to each. Whole
    histories are tuned on where there is a GPU, elsewhere by the arm before them."""
    alone, names = preset("none"), [*told]
    arms = [Arm(name, encoder, alone, told=count) for name, count in told.items()]
    for place, (name, count) in enumerate(told.items()):
        learnt = names[place - 1] if count == ALL and not has_gpu else name
        arms.append(Arm(name + LORA, encoder, replace(alone, **budget(count, minutes)), learnt + LORA, count))
    return arms


def scaling_arms(encoder: EncoderConfig, minutes: float) -> list[Arm]:
    """Encoders of that kind, of every size and length."""
    config = replace(preset(SCALED), **budget(0, minutes))
    return [
        _soft(
            f"{encoder.kind}-{dimensions}x{blocks}-{length}",
            replace(encoder, dimensions=dimensions, blocks=blocks, length=length),
            SCALED,
            config,
        )
        for dimensions, blocks in SIZES
        for length in LENGTHS
    ]


def _soft(encoder: str, of: EncoderConfig, adapter: str, config: SoftPromptConfig) -> Arm:
    name = f"{encoder}/{adapter}"
    return Arm(name, of, config, name)


def chosen(arms: Sequence[str], names: Sequence[str], optional: Sequence[str] = OPTIONAL) -> list[str]:
    """Those named of the arms there are, guesses among them, in their order; without names all but the optional ones.

    Raises InvalidInput for a name that is none.
    """
    there = [*GUESSES, *arms]
    for name in names:
        if name not in there:
            raise InvalidInput("arms", f"{name!r} was given; there are {', '.join(there)}")
    return [name for name in there if (name in names if names else name not in optional)]
