"""What writes text: prompts of chat messages in, completions out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

# What a chat template adds at most. The marks of a message and its role take 5 tokens in ChatML and in Llama 3's; a
# system message of the template's own ("You are a helpful AI assistant named ...", today's date) and the mark of where
# the answer begins take up to 40.
MESSAGE_TOKENS: Final = 8
PROMPT_TOKENS: Final = 48

IsWanted = Callable[[int], bool]  # by the place of a prompt; once not, never again


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What was written. input_tokens, output_tokens: as the generator counts them. is_finished: whether it came to an
    end of its own, and not to the most tokens that it might write."""

    text: str
    input_tokens: int
    output_tokens: int
    is_finished: bool


class TextGenerator(Protocol):
    """Writes text, many prompts at a time, for one thread at a time; counts tokens for any.

    name: of the model and its weights or server; stands wherever its text is kept.
    """

    @property
    def name(self) -> str: ...

    def generate(self, prompts: Sequence[Sequence[Message]], most: int) -> list[Completion]:
        """One completion a prompt, in their order, of at most `most` tokens each; the likeliest text, not a drawn one.

        All of them or none: raises GeneratorUnavailable when the generator does not answer, in time or at all, and
        InvalidInput for a prompt that is longer than it reads, as the field "prompts.PLACE".
        """
        ...

    def count(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text takes in a prompt; an upper bound where the generator's own tokens are unknown."""
        ...


def always(place: int) -> bool:
    """Everything is wanted."""
    return True


class StoppableGenerator(TextGenerator, Protocol):
    """One that can be told, while it writes, what is not wanted any more."""

    def generate(
        self, prompts: Sequence[Sequence[Message]], most: int, is_wanted: IsWanted = always
    ) -> list[Completion]:
        """The same. is_wanted: asked again and again; a prompt that is not wanted is left, and its completion is what
        was written by then, not finished."""
        ...


def prompt_bounds(generator: TextGenerator, prompts: Sequence[Sequence[Message]]) -> list[int]:
    """The most tokens that each prompt takes, what the chat template adds among them."""
    counts = iter(generator.count([message.content for prompt in prompts for message in prompt]))
    return [PROMPT_TOKENS + sum(MESSAGE_TOKENS + next(counts) for _ in prompt) for prompt in prompts]
