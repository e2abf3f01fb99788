"""The arms of the evaluation of weight updates: who answers, and what of a user it is told.

zero-shot                       the frozen language model, and the question alone
text-5, ... text-50, text-full  the user's newest events in words before the question
...+lora                        the same, and the language model tuned to it
lora-3                          the language model tuned on the user's newest events for three steps, for each request
ENCODER/ADAPTER                 the soft prompt
stream-adapter                  the language model with weights updated by the user's stream
stream-adapter+distilled        the same, learned from the frozen model with the stream in its prompt too
constant/stream-adapter         a learned constant in everybody's place: a control
... of another user             the same, fed with a stranger's past: a control
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from models.encoders.config import EncoderConfig
from models.soft_prompt import arms as soft
from models.soft_prompt.arms import LORA, OF_ANOTHER
from models.soft_prompt.telling import ALL
from models.stream_adapter.config import StreamAdapterConfig
from models.stream_adapter.own_context import OwnContext

ADAPTER: Final = "stream-adapter"
DISTILLED: Final = "+distilled"
CONSTANT: Final = "constant/"
OWN: Final = "lora-3"
OPTIONAL: Final = (f"zero-shot{LORA}", f"text-full{LORA}", CONSTANT + ADAPTER + DISTILLED)  # where they are asked for
TOLD: Final = {"zero-shot": 0, "text-5": 5, "text-10": 10, "text-25": 25, "text-50": 50, "text-full": ALL}
RECENT: Final = tuple(name + LORA for name in TOLD if name not in ("zero-shot", "text-full"))  # tuned on recency
RANKS: Final = (2, 4, 16)  # of the ablation
CHUNKS: Final = (32, 128)
DISTILS: Final = (0.2, 1.0)
STEPS: Final = 1_000_000  # more than any minutes take
_DISTIL: Final = 0.5  # the weight of the distillation where the configuration has none


@dataclass(frozen=True, slots=True)
class AdapterArm:
    """learnt: the name of the arm whose training it answers by. is_stranger: whether it is fed with another's past."""

    name: str
    config: StreamAdapterConfig
    learnt: str
    is_stranger: bool = False


@dataclass(frozen=True, slots=True)
class OwnContextArm:
    name: str
    config: OwnContext
    learnt: str = ""


Arm: TypeAlias = soft.Arm | AdapterArm | OwnContextArm


def arms_of(
    config: StreamAdapterConfig, encoder: EncoderConfig, adapter: str, minutes: float, *, has_gpu: bool
) -> dict[str, Arm]:
    """All arms by name; what is learnt is learnt in so many minutes each.

    config: of the weight updates. encoder, adapter: of the soft prompt. has_gpu: whether tuning on whole histories is
    affordable. Raises InvalidInput for an adapter of soft prompts that is none.
    """
    plain = _plain(config, minutes)
    distilled = replace(plain, distil=config.distil or _DISTIL)
    prompts = soft.arms_of([encoder], [adapter], minutes, has_gpu=has_gpu)
    prompt = prompts[f"{encoder.kind}/{adapter}"]
    arms: list[Arm] = [
        *soft.text_arms(encoder, TOLD, minutes, has_gpu=has_gpu),
        OwnContextArm(OWN, OwnContext()),
        prompt,
    ]
    for name, own in ((ADAPTER, plain), (ADAPTER + DISTILLED, distilled)):
        arms.append(AdapterArm(name, own, name))
        arms.append(AdapterArm(name + OF_ANOTHER, own, name, is_stranger=True))
        arms.append(AdapterArm(CONSTANT + name, replace(own, source="constant"), CONSTANT + name))
    return {arm.name: arm for arm in arms}


def ablation_arms(config: StreamAdapterConfig, minutes: float) -> list[AdapterArm]:
    """Other ranks, chunks and distillations, one changed at a time, each learnt in so many minutes."""
    plain = _plain(config, minutes)
    points = [plain]
    points += [replace(plain, rank=rank) for rank in RANKS]
    points += [replace(plain, chunk=chunk) for chunk in CHUNKS]
    points += [replace(plain, distil=distil) for distil in DISTILS]
    names = {f"rank {one.rank}, chunk {one.chunk}, distil {one.distil:g}": one for one in points}
    return [AdapterArm(name, one, name) for name, one in names.items()]


def budgeted(config: StreamAdapterConfig, minutes: float) -> StreamAdapterConfig:
    """The same, whose training ends after so many minutes and not before."""
    return replace(config, minutes=minutes, steps=STEPS)


def _plain(config: StreamAdapterConfig, minutes: float) -> StreamAdapterConfig:
    return replace(budgeted(config, minutes), source="user", distil=0.0)


def chosen(arms: Mapping[str, Arm], names: Sequence[str]) -> list[str]:
    """Those named of the arms, guesses among them; without names all but the optional ones. Raises InvalidInput."""
    return soft.chosen([*arms], names, OPTIONAL)
