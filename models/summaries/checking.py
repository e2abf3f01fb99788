"""Whether a text says what the facts say, and nothing besides.

The rule. Text is cut into sentences and these into clauses (at "but", "while", and where "and" or a semicolon does not
go on with a name). A clause must state facts of one kind, and all of it must be accounted for:

- a name is one of a fact's, letter for letter, and of a fact of that kind. Names stand in one list, apart from each
  other (comma, semicolon, "and"). Of a fact with several names they are the first ones, in its order;
- a number is one of that fact's, as the fact writes it, with its unit. Beside names it stands in brackets right after
  the one that it belongs to;
- the other words are phrases that say just this kind of fact (`_PHRASES`), at least one that says it by itself, and a
  few that say nothing (`_GLUE`).

Whatever is not on these lists is refused: unknown names and words, negations, comparisons, number words, links, markup,
and a true sentence in words that are not listed. Phrases are whole ("less fond of"), and those of a kind never include
one of the opposite kind, so that no order of them turns a fact around. A fact is stated once.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from features.cleaning import TEXT_MOST, cleaned
from features.profile import Claim
from models.summaries.fact import Fact, FactKind
from models.summaries.wording import claim_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """claims: the sentences that the facts bear out, in the text's order. problems: what is wrong with each other one.
    missing: facts that no claim states."""

    claims: tuple[Claim, ...]
    problems: tuple[str, ...]
    missing: tuple[Fact, ...]


def check(text: str, facts: Sequence[Fact]) -> Verdict:
    """Holds every sentence of the text against the facts of one summary."""
    if len(text) > TEXT_MOST:
        return Verdict((), (f"{len(text)} characters; at most {TEXT_MOST} are read",), tuple(facts))
    names = _Names(facts)
    stated: set[str] = set()
    claims: list[Claim] = []
    problems: list[str] = []
    for marked in filter(None, _SENTENCE_END.split(names.marked(cleaned(text, TEXT_MOST)))):
        said = names.restored(marked)
        cited, problem = _borne_out(marked, facts, names)
        if not problem and (again := sorted(stated & {fact.key for fact in cited})):
            problem = f"says again what {', '.join(again)} says"
        if problem:
            problems.append(f"{said!r}: {problem}")
        else:
            stated |= {fact.key for fact in cited}
            claims.append(claim_of(said, cited))
    return Verdict(tuple(claims), tuple(problems), tuple(fact for fact in facts if fact.key not in stated))


# How numbers stand in phrases: <n> 4.2, <r> 3 to 5, <%> 40%, <s> 1990s, <c> 100+ ratings.
_AVERAGE: Final = (
    *("rates <n> on average", "<n> on average", "averages <n>", "mean of <n>", "average of <n>"),
    *(f"{word} rating{verb} <n>" for word in ("mean", "average") for verb in ("", " is", " of")),
    *("mostly <r>", "mostly from <r>"),
)
_COUNTED: Final = ("<c>", "<c> over <c>", "<c> in <c>")
_MADE_OF: Final = ("mostly", "mainly")
_LESS: Final = ("less fond of", "less keen on", "rates lower", "rate lower", "rated lower")
_DOWN: Final = ("let down by", "disappointed by")

_PHRASES: Final[Mapping[tuple[FactKind, str], tuple[str, ...]]] = {
    (FactKind.ACTIVITY, ""): _COUNTED,
    (FactKind.ACTIVITY, "day"): (*_COUNTED, "<c> within a day", "<c> all within a day"),
    (FactKind.HABIT, ""): _AVERAGE,
    (FactKind.HABIT, "generous"): (*_AVERAGE, "generous", "generous rater", "rates high"),
    (FactKind.HABIT, "strict"): (*_AVERAGE, "strict", "strict rater", "rates low"),
    (FactKind.LATELY, ""): (
        *("lately rates <n>", "lately <n> on average", "of late ratings average <n>", "ratings lately average <n>"),
    ),
    (FactKind.LIKED_CATEGORY, ""): (
        *("likes", "like", "liked", "enjoys", "enjoy", "enjoyed", "loves", "love"),
        *("fond of", "keen on", "rates high", "rates highly", "rated high", "rated highly"),
    ),
    (FactKind.LIKED_CATEGORY, "chosen"): tuple(
        f"often {word}" for word in ("chooses", "choose", "chosen", "goes for", "go for")
    ),
    (FactKind.DISLIKED_CATEGORY, ""): _LESS,
    (FactKind.DISLIKED_CATEGORY, "low"): (
        *(*_LESS, *_DOWN, "dislikes", "dislike", "disliked"),
        *("rates low", "rate low", "rated low", "rates poorly"),
    ),
    (FactKind.FAVOURITE, ""): (
        *("loved", "loves", "love", "liked", "likes", "like", "enjoyed", "enjoys", "enjoy"),
        *("favourites", "favourite", "favorites", "favorite", "rated high", "rated highly"),
    ),
    (FactKind.FAVOURITE, "again"): ("comes back to", "come back to", "returns to", "return to"),
    (FactKind.DISLIKED, ""): (*_DOWN, "disliked", "dislikes", "dislike", "rated low", "rated poorly"),
    (FactKind.RECENT, ""): ("recent", "recently", "most recently", "newest", "newest first", "latest"),
    (FactKind.DRIFT, "rising"): ("lately more", "more lately", "more of late", "more", "turned to", "turning to"),
    (FactKind.DRIFT, "falling"): (
        *("lately less", "less lately", "less of late", "less"),
        *("turned away from", "turning away from"),
    ),
    (FactKind.VARIETY, ""): _MADE_OF,
    **{
        (FactKind.VARIETY, size): (
            *_MADE_OF,
            *(f"{size} taste {verb}{most}" for verb in ("", "is ") for most in _MADE_OF),
        )
        for size in ("narrow", "broad")
    },
    (FactKind.ERA, ""): (
        *("mostly from the <s>", "mostly from the <s> <%>"),
        *(f"{about}<%> {are}from the <s>" for about in ("", "about ") for are in ("", "are ")),
    ),
    **{
        (FactKind.TIMES, part): tuple(
            f"{how}{when}" for how in ("active ", "mostly active ", "mostly ") for when in (at, f"{at} utc")
        )
        for part, at in (
            *((part, f"in the {part}") for part in ("morning", "afternoon", "evening")),
            *(("night", "at night"), ("weekend", "at the weekend")),
        )
    },
}
# What may stand beside these phrases and says nothing by itself.
_BESIDE: Final[Mapping[FactKind, tuple[str, ...]]] = {
    FactKind.ACTIVITY: ("in all", "so far"),
    FactKind.DRIFT: ("lately", "of late"),
    FactKind.VARIETY: ("what they choose",),
}
_GLUE: Final = (
    *("a", "an", "the", "and", "also", "with", "they", "their", "this", "user"),
    *("is", "are", "was", "were", "has", "have"),
)
_Words = tuple[str, ...]
_WITH_ORDER: Final = frozenset({FactKind.RECENT, FactKind.VARIETY})
_IN_PARTS: Final = frozenset({FactKind.HABIT})  # said in several phrases

_FIRST_MARK: Final = 0xE000  # private use: clean text has none
_NAME: Final = "[\ue000-\uf8ff]"
_NUMBER: Final = r"-?\d+(?:\.\d+)?"
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")
_WHOLE: Final = re.compile(rf"(?:[A-Z\d]|\"?{_NAME})(?:.*[^,;:\s])?\.")
_CLAUSE_END: Final = re.compile(rf",?\s+(?:but|while|whereas)\s+|(?:,?\s+and|;)\s+(?!{_NAME}|\"{_NAME})")
_BESIDE_NAME: Final = re.compile(rf"({_NAME})\"? \((?:about )?([^()]*)\)")
_TOKEN: Final = re.compile(
    rf"""(?P<name>{_NAME})
    | (?<![\w.+-])(?:
        (?P<r>{_NUMBER}\ to\ {_NUMBER}) | (?P<c>\d+\+\ (?:ratings|events|days|times)) | (?P<p>\d+%)
        | (?P<s>\d{{4}}s) | (?P<n>{_NUMBER})
      )(?![\w%+-]|\.\d)
    | (?P<word>[A-Za-z]+(?:['’-][A-Za-z]+)*)
    | (?P<mark>[,;:()"])
    | (?P<space>\s+)""",
    re.VERBOSE,
)
# Glue fits users as it fits items, and what is said of items is no sentence of a user: "they are favourites".
_USER_AS_ITEM: Final = re.compile(r"(?:they|user) (?:(?:also|is|are|was|were|a|an|the) )+favou?rites?\b")
_TYPES: Final = {"r": "<r>", "c": "<c>", "p": "<%>", "s": "<s>", "n": "<n>"}


class _Names:
    """The names of facts, each marked in a text by one character, so that what they contain is not read."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._names = sorted({name for fact in facts for name in fact.names}, key=lambda name: (-len(name), name))
        any_name = "|".join(map(re.escape, self._names)) or "(?!)"
        self._pattern = re.compile(rf"(?<![\w-])(?:{any_name})(?![\w-])")
        self._marks = {name: chr(_FIRST_MARK + place) for place, name in enumerate(self._names)}

    def marked(self, text: str) -> str:
        return self._pattern.sub(lambda found: self._marks[found.group()], text)

    def restored(self, marked: str) -> str:
        return re.sub(_NAME, lambda found: self.name(found.group()), marked)

    def name(self, mark: str) -> str:
        return self._names[ord(mark) - _FIRST_MARK]


@dataclass(frozen=True, slots=True)
class _Clause:
    """words: in lower case, without the names, numbers by their type. given: the number in brackets after a name."""

    words: tuple[str, ...]
    names: tuple[str, ...]
    given: Mapping[str, str]
    numbers: frozenset[str]


def _borne_out(marked: str, facts: Sequence[Fact], names: _Names) -> tuple[list[Fact], str]:
    """The facts that a sentence states, or what is wrong with it."""
    cited: dict[str, Fact] = {}
    if not _WHOLE.fullmatch(marked):
        return [], "is not a whole sentence"
    for text in _CLAUSE_END.split(marked[:-1]):
        clause = _read(text, names)
        if isinstance(clause, str):
            return [], clause
        stated = _stated(clause, facts)
        if isinstance(stated, str):
            return [], stated
        if any(fact.key in cited for fact in stated):
            return [], "says the same twice"
        cited |= {fact.key: fact for fact in stated}
    return list(cited.values()), ""


def _read(text: str, names: _Names) -> _Clause | str:
    """A clause taken apart, or what stands in it that is neither word, name nor number."""
    given: dict[str, str] = {}
    for mark, number in _BESIDE_NAME.findall(text):
        given[names.name(mark)] = number
    text = _BESIDE_NAME.sub(r"\1", text)
    words: list[str] = []
    said: list[str] = []
    numbers: set[str] = set()
    is_apart, is_list_over = True, False
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if not found:
            return f"{text[place]!r} has no place in it"
        place, piece = found.end(), found.group()
        match found.lastgroup:
            case "name":
                if is_list_over or not is_apart or (name := names.name(piece)) in said:
                    return f"{names.name(piece)!r} does not stand for itself"
                said.append(name)
                is_apart = False
            case "word":
                if words and piece != piece.lower() and piece != "UTC":
                    return f"{piece!r} is no name that the facts have"
                words.append(piece.lower())
                is_apart |= piece == "and"
                is_list_over |= bool(said) and piece not in ("and", "also")
            case "mark":
                is_apart |= piece in ",;"
            case "space" | None:
                pass
            case kind:
                if piece in numbers:
                    return f"{piece!r} stands there twice"
                words.append(_TYPES[kind])
                numbers.add(piece)
    return _Clause(tuple(words), tuple(said), given, frozenset(numbers))


def _stated(clause: _Clause, facts: Sequence[Fact]) -> list[Fact] | str:
    """The facts that bear a clause out, all of one kind, or why there are none."""
    words = " ".join(clause.words)
    fitting = [fact for fact in facts if _says(clause.words, fact)]
    if not fitting or _USER_AS_ITEM.search(words):
        return f"{words or 'a list'!r} says no fact"
    for kind in dict.fromkeys(fact.kind for fact in fitting):
        some = [fact for fact in fitting if fact.kind is kind]
        if clause.names and some[0].names and not clause.numbers and (found := _about(clause, some)):
            return found
        if not clause.names and not some[0].names and clause.numbers <= set(some[0].numbers):
            return some[:1]
    return "its names or numbers are not those of such a fact"


def _about(clause: _Clause, facts: Sequence[Fact]) -> list[Fact]:
    """Of facts of one kind those that have the clause's names; none when one of these, or its number, is not theirs."""
    if facts[0].kind in _WITH_ORDER:
        cited = [fact for fact in facts if fact.names[: len(clause.names)] == clause.names]
    else:
        by_name = {fact.names[0]: fact for fact in facts}
        cited = [by_name[name] for name in clause.names if name in by_name]
        if len(cited) < len(clause.names):
            return []
    numbers = {pair for fact in cited for pair in zip(fact.names, fact.numbers, strict=False)}
    return cited if set(clause.given.items()) <= numbers else []


def _says(words: _Words, fact: Fact) -> bool:
    """Whether the words are phrases of the fact's kind, at least one that says it, and glue; the longest first.

    Of what is said of names there is one phrase: "likes loves" is no sentence.
    """
    phrases, beside, longest = _vocabulary(fact.kind, fact.detail)
    place, said = 0, 0
    while place < len(words):
        for length in range(min(longest, len(words) - place), 0, -1):
            phrase = tuple(words[place : place + length])
            if phrase in phrases or phrase in beside:
                said += phrase in phrases
                place += length
                break
        else:
            return False
    return said == 1 or (said > 1 and fact.kind in _IN_PARTS)


@cache
def _vocabulary(kind: FactKind, detail: str) -> tuple[frozenset[_Words], frozenset[_Words], int]:
    """What says a fact, what may stand beside it, and how many words the longest of them has."""
    phrases = frozenset(tuple(phrase.split()) for phrase in _PHRASES.get((kind, detail), ()))
    beside = frozenset(tuple(phrase.split()) for phrase in (*_BESIDE.get(kind, ()), *_GLUE))
    return phrases, beside, max(map(len, phrases | beside))
