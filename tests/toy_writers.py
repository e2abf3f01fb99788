"""A small text generator that speaks the protocol, and ways to write: what the facts say, lies, nothing of use."""

import re
from collections.abc import Callable, Sequence

import orjson

from features.errors import GeneratorUnavailable
from models.language.generator import Completion, Message

_WORDINGS = {
    "recent": "Recent: {}.",
    "rating_habit": "Rates {} on average, mostly {}.",
    "liked_category": "Likes {}.",
    "liked_category chosen": "Often goes for {}.",
    "disliked_category low": "Rates {} low.",
    "favourite": "Loved {}.",
    "favourite again": "Comes back to {}.",
    "disliked": "Disliked {}.",
}


class Writer:
    """Writes what `say` makes of the facts in the prompt. asked: the facts, as they stand in the prompts of each call.

    until: the first call that is not answered. meanwhile: what happens while it writes.
    """

    name = "toy"

    def __init__(
        self,
        say: Callable[[dict[str, list[str]]], str] | None = None,
        until: int | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        self.asked: list[list[str]] = []
        self._say = say or honest
        self._until = until
        self._meanwhile = meanwhile

    def generate(self, prompts: Sequence[Sequence[Message]], most: int) -> list[Completion]:
        if self._until is not None and len(self.asked) >= self._until:
            raise GeneratorUnavailable("toy: no answer within 0.1 s")
        facts = [_last_fence(prompt) for prompt in prompts]
        self.asked.append(facts)
        self._meanwhile()
        said = [
            self._say({about: said for line in one.splitlines() for about, said in orjson.loads(line).items()})
            for one in facts
        ]
        return [Completion(text, 100, 10, is_finished=True) for text in said]

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def honest(facts: dict[str, list[str]]) -> str:
    return " ".join(
        _WORDINGS[about].format(*said) if about == "rating_habit" else _WORDINGS[about].format(", ".join(said))
        for about, said in facts.items()
    )


def lying(facts: dict[str, list[str]]) -> str:
    return "Hates everything, but for Casablanca (5)."


def _parsed(lines: str) -> dict[str, list[str]]:
    return {about: said for line in lines.splitlines() for about, said in orjson.loads(line).items()}


def _last_fence(prompt: Sequence[Message]) -> str:
    fences = re.findall(r"<facts>\n(.*?)\n</facts>", "\n".join(message.content for message in prompt), re.DOTALL)
    return str(fences[-1])
