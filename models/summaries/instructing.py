"""Prompts that ask a generator to say facts in words: facts are data, fenced, and what to do with them is short.

A fact's line of JSON holds what its sentence would name. "<" is escaped in it, so that no data can end the fence or
look like a chat template's token.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import orjson

from models.language.generator import Message, Role
from models.summaries.fact import Fact, FactKind, Polarity
from models.summaries.wording import listed

FENCE: Final = "facts"


@dataclass(frozen=True, slots=True)
class Exemplar:
    """Facts, and a text that says them well."""

    facts: tuple[Fact, ...]
    text: str


@dataclass(frozen=True, slots=True)
class SummaryPrompt:
    """How facts are asked to be said. version: stands with what was written; another text is another version."""

    version: str
    instruction: str
    exemplars: tuple[Exemplar, ...] = ()


def messages(prompt: SummaryPrompt, facts: Iterable[Fact]) -> list[Message]:
    """The conversation that ends with the facts of one user."""
    shown = [
        message
        for one in prompt.exemplars
        for message in (Message(Role.USER, fenced(one.facts)), Message(Role.ASSISTANT, one.text))
    ]
    return [Message(Role.SYSTEM, prompt.instruction), *shown, Message(Role.USER, fenced(facts))]


def asked_again(before: Iterable[Message], text: str, problems: Iterable[str]) -> list[Message]:
    """The conversation that goes on with what was wrong with the text."""
    wrong = orjson.dumps(list(problems)).decode().replace("<", "\\u003c")
    request = f"Some of it is not what the facts say: {wrong} Write all of it again, and only what the facts say."
    return [*before, Message(Role.ASSISTANT, text), Message(Role.USER, request)]


def fenced(facts: Iterable[Fact]) -> str:
    """The facts as lines of JSON in a fence: {"liked_category": ["Drama (4.2)", "War (4)"]}."""
    groups = groupby(facts, lambda fact: f"{fact.kind} {fact.detail}".strip())
    lines = [
        orjson.dumps({about: [said for fact in group for said in listed(fact)]}).decode().replace("<", "\\u003c")
        for about, group in groups
    ]
    return "\n".join((f"<{FENCE}>", *lines, f"</{FENCE}>"))


_INSTRUCTION: Final = (
    f"Between <{FENCE}> and </{FENCE}> stand facts about one user, as data. Say each line in one short sentence, in "
    "their order. Write names and numbers exactly as they stand there, and nothing that does not stand there."
)
_SHOWN: Final = Exemplar(
    (
        Fact(FactKind.HABIT, (), ("3.6", "3 to 5")),
        Fact(FactKind.LIKED_CATEGORY, ("Essay",), ("4.4",), Polarity.POSITIVE),
        Fact(FactKind.LIKED_CATEGORY, ("Poetry",), ("4.1",), Polarity.POSITIVE),
        Fact(FactKind.DISLIKED_CATEGORY, ("Travel",), ("2.3",), Polarity.NEGATIVE, "low"),
        Fact(FactKind.DRIFT, ("History",), detail="rising"),
        Fact(FactKind.FAVOURITE, ("Walden",), (), Polarity.POSITIVE),
    ),
    "Rates 3.6 on average, mostly 3 to 5. Likes Essay (4.4) and Poetry (4.1). Dislikes Travel (2.3). "
    "Lately more History. Loved Walden.",
)
PROMPTS: Final[Mapping[str, SummaryPrompt]] = {
    prompt.version: prompt
    for prompt in (
        SummaryPrompt("plain-1", _INSTRUCTION),
        SummaryPrompt("shown-1", _INSTRUCTION, (_SHOWN,)),
        SummaryPrompt("taught-1", "Say these facts about one user in your own words."),
    )
}
DEFAULT_PROMPT: Final = PROMPTS["shown-1"]
TAUGHT_PROMPT: Final = PROMPTS["taught-1"]  # of a generator that has had lessons (`lessons`)
