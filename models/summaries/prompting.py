"""Prompts about a user within a budget of tokens: summary, then past entries, then the input, then what is wanted.

The order is Richardson et al.'s (arXiv 2310.20081): the summary, the entries that were retrieved for this input, the
input. Nothing that somebody else has written stands outside a fence. What does not fit is left out in this order:
retrieved entries, cut first and then the least relevant dropped, until none is left; then sentences of the summary from
the last. The frame and the input always stay.

The structured layout is StruXGPT's (Wang et al., arXiv 2407.16434): a scope, aspects, and descriptions under each.
Shapes: K entries.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeVar

from features.errors import InvalidInput
from features.profile import Claim
from models.language.counting import Count
from models.language.generator import MESSAGE_TOKENS, PROMPT_TOKENS, Message, Role
from models.summaries.entries import Entry, fitted
from models.summaries.fact import FactKind
from models.summaries.fencing import FENCE_RULE, fenced, line_of

Thing = TypeVar("Thing")


class Task(StrEnum):
    """What the prompt has its reader do."""

    RATING = "rating"
    RANKING = "ranking"
    TAGGING = "tagging"
    GENERATION = "generation"
    QUESTION = "question"


class Layout(StrEnum):
    PLAIN = "plain"
    STRUCTURED = "structured"


_WANTED: Final[Mapping[Task, str]] = {
    Task.RATING: "How would this user rate the input? Answer with one number on the user's own scale.",
    Task.RANKING: "Which of the choices would this user take next? Answer with one of them.",
    Task.TAGGING: "Which of the choices would this user file the input under? Answer with one of them.",
    Task.GENERATION: "Write what the input asks for, so that it suits this user.",
    Task.QUESTION: "Answer the question in the input from the data alone; say so when the data does not tell.",
}
_SYSTEM: Final = f"You help an app to suit one of its users. {FENCE_RULE}"
_SUMMARY: Final = "About the user:"
_HISTORY: Final = "What the user did, as [item, categories, rating or deed], the most relevant last:"
_SCOPE: Final = "Scope: one user's taste."
_ASPECTS: Final = "Aspects of it, with their descriptions:"
_DEEDS: Final = "Aspects of what the user did, with [item, rating or deed], the most relevant last:"
_INPUT: Final = "Input:"
_CHOICES: Final = "Choices:"

_KINDS: Final = frozenset(FactKind)
_OTHER: Final = "other"  # the aspect of what has none


Quoted = str | tuple[str, str]
"""A text, or an item's title and its categories."""


@dataclass(frozen=True, slots=True)
class Brief:
    """What a prompt is made of. input: None for a ranking of the choices alone. claims: of the summary, the weightiest
    first. entries: the most relevant first. budget: the most tokens of the whole prompt, what the chat template adds
    among them. Texts have been cleaned."""

    task: Task
    input: Quoted | None
    choices: tuple[Quoted, ...] = ()
    claims: tuple[Claim, ...] = ()
    entries: tuple[Entry, ...] = ()
    budget: int = 1024
    layout: Layout = Layout.PLAIN


@dataclass(frozen=True, slots=True)
class Part:
    """tokens: of its text by itself. evidence: ids of the events that it rests on."""

    name: str
    tokens: int
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """tokens: of the whole, as counted, with the most that a chat template adds; never more than the budget."""

    messages: tuple[Message, ...]
    parts: tuple[Part, ...]
    tokens: int


def quoted(title: str, categories: Sequence[str]) -> tuple[str, str]:
    """An item as prompts quote it."""
    return title, ", ".join(categories)


def prompt_of(brief: Brief, count: Count) -> Prompt:
    """The prompt that holds as much of the brief as its budget lets it; the same for the same brief.

    count: how many tokens texts take, or an upper bound. Raises InvalidInput when the budget does not hold even the
    input, or what stands around it.
    """
    told = replace(brief, claims=(), entries=())
    room = brief.budget - _tokens(told, count)
    if room < 0:
        frame = _tokens(replace(told, input=None, choices=()), count)
        field = "budget" if frame > brief.budget else "input"
        raise InvalidInput(field, f"the prompt takes {brief.budget - room} tokens before a word about the user")
    told = _with_claims(told, brief.claims, count)
    told = _with_entries(told, brief.entries, count)
    texts = _texts(told)
    lengths = count([text for _, text in texts])
    parts = [
        Part(name, length, _evidence(name, told)) for (name, _), length in zip(texts, lengths, strict=True) if length
    ]
    return Prompt(_messages(told), (*parts, Part("template", _template_tokens())), _tokens(told, count))


def _with_claims(brief: Brief, claims: Sequence[Claim], count: Count) -> Brief:
    for most in range(len(claims), 0, -1):
        told = replace(brief, claims=tuple(claims[:most]))
        if _tokens(told, count) <= brief.budget:
            return told
    return brief


def _with_entries(brief: Brief, entries: Sequence[Entry], count: Count) -> Brief:
    room = brief.budget - _tokens(brief, count)
    while entries and room > 0:
        kept = fitted(entries, room, lambda entry: "\n" + line_of(_row(entry, brief.layout)), count)
        told = replace(brief, entries=tuple(kept))
        over = _tokens(told, count) - brief.budget
        if over <= 0:
            return told
        entries, room = entries[: len(kept)], room - over
    return brief


def _tokens(brief: Brief, count: Count) -> int:
    return _template_tokens() + sum(count([message.content for message in _messages(brief)]))


def _template_tokens() -> int:
    return PROMPT_TOKENS + 2 * MESSAGE_TOKENS


def _messages(brief: Brief) -> tuple[Message, ...]:
    (_, system), *parts = _texts(brief)
    return Message(Role.SYSTEM, system), Message(Role.USER, "\n".join(text for _, text in parts if text))


def _texts(brief: Brief) -> list[tuple[str, str]]:
    """(name, text) of each part; an empty text for a part that is not there."""
    given = [] if brief.input is None else [f"{_INPUT}\n{fenced([brief.input])}"]
    given += [f"{_CHOICES}\n{fenced(brief.choices)}"] if brief.choices else []
    return [
        ("system", _SYSTEM),
        ("summary", _summary(brief) if brief.claims else ""),
        ("history", _history(brief) if brief.entries else ""),
        ("input", "\n".join(given)),
        ("task", _WANTED[brief.task]),
    ]


def _summary(brief: Brief) -> str:
    if brief.layout is Layout.PLAIN:
        return f"{_SUMMARY}\n{fenced([claim.text for claim in brief.claims])}"
    aspects = [{name: [claim.text for claim in same]} for name, same in _grouped(brief.claims, _aspect)]
    return f"{_SCOPE}\n{_ASPECTS}\n{fenced(aspects)}"


def _history(brief: Brief) -> str:
    entries = brief.entries[::-1]
    if brief.layout is Layout.PLAIN:
        return f"{_HISTORY}\n{fenced([_row(entry, brief.layout) for entry in entries])}"
    common = Counter(name for entry in entries for name in entry.categories)

    def category(entry: Entry) -> str:
        return min(entry.categories, key=lambda name: (-common[name], name), default=_OTHER)

    aspects = [{name: [_row(entry, brief.layout) for entry in same]} for name, same in _grouped(entries, category)]
    return f"{_DEEDS}\n{fenced(aspects)}"


def _grouped(things: Sequence[Thing], name_of: Callable[[Thing], str]) -> list[tuple[str, list[Thing]]]:
    """The things by name: groups by their last, and those of a group in the order in which they stand."""
    groups: dict[str, list[Thing]] = {}
    for thing in things:
        groups.setdefault(name_of(thing), []).append(thing)
    last = {name_of(thing): place for place, thing in enumerate(things)}
    return sorted(groups.items(), key=lambda group: last[group[0]])


def _aspect(claim: Claim) -> str:
    """The kind of the first fact that the claim states."""
    kind = claim.facts[0].partition(":")[0] if claim.facts else ""
    return kind.replace("_", " ") if kind in _KINDS else _OTHER


def _row(entry: Entry, layout: Layout) -> list[str | float]:
    """An entry as data; where the aspect names its category, without the others."""
    named = [entry.title] if layout is Layout.STRUCTURED else quoted(entry.title, entry.categories)
    return [*named, entry.did if entry.value is None else _short(entry.value)]


def _short(value: float) -> float:
    """The same number, 4 for 4.0."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _evidence(name: str, brief: Brief) -> tuple[str, ...]:
    match name:
        case "summary":
            return tuple(dict.fromkeys(event for claim in brief.claims for event in claim.evidence))
        case "history":
            return tuple(entry.event for entry in brief.entries)
    return ()
