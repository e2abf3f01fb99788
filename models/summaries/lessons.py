"""Lessons in saying facts: facts as the product asks for them to be said, each with a text that says them.

    events of some users -> their histories, and stretches of them -> facts of a kind of summary -> some of them
    -> names and numbers of others in their place, now and then -> words that are drawn -> pairs

Names are there to be copied, not to be known: where the facts are of others, or made up, only copying helps.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import groupby
from typing import Final

import numpy as np
import polars as pl

from features.cleaning import cleaned
from features.errors import InvalidInput
from models.language.tuning import Pair
from models.summaries.checking import check
from models.summaries.computing import facts_of
from models.summaries.fact import Fact, FactKind
from models.summaries.figures import written
from models.summaries.instructing import SummaryPrompt, messages
from models.summaries.kinds import SummaryKind, chosen
from models.summaries.naming import NAME_MOST, spoken
from models.summaries.phrasings import phrased

HELD_OUT: Final = 500
STRETCHES: Final = 4  # of each history, beside the whole of it
STRETCH_LEAST: Final = 10  # events
_GENERAL: Final = 0.6  # of the lessons are of the longest kind; the others share the rest
_WHOLE: Final = 0.3  # of the lessons tell all that the kind tells; the others some of it
_SOME_MOST: Final = 5  # clauses of these; short lessons teach as much in less time
_RENAMED: Final = 0.5  # of the lessons have other titles, and so with categories, and with numbers
_MADE_UP: Final = 0.5  # of the other names
_TITLE_WORDS: Final = 5  # of a title that is made up, at most; and of a category:
_CATEGORY_WORDS: Final = 2
_ITEMS: Final = frozenset({FactKind.FAVOURITE, FactKind.DISLIKED, FactKind.RECENT})
_MEANS: Final = frozenset({FactKind.LIKED_CATEGORY, FactKind.DISLIKED_CATEGORY})


def held_out(users: Iterable[str], most: int = HELD_OUT) -> list[str]:
    """Users that no lesson is made of, by a hash of their ids: `most` of them, and at most three in five."""
    known = sorted(set(users), key=lambda user: sha256(user.encode()).digest())
    return sorted(known[: min(most, 3 * len(known) // 5)])


@dataclass(frozen=True, slots=True)
class Lessons:
    """facts: of histories and stretches of them. titles, categories: names that may stand in the place of others.
    each: pairs of a round."""

    facts: tuple[tuple[Fact, ...], ...]
    titles: tuple[str, ...]
    categories: tuple[str, ...]
    prompt: SummaryPrompt
    each: int
    seed: int = 0

    def __call__(self, number: int) -> list[Pair]:
        """The pairs of a round, the same every time."""
        return [Pair(tuple(messages(self.prompt, facts)), text) for facts, text in self.drawn(number)]

    def drawn(self, number: int) -> list[tuple[list[Fact], str]]:
        """The facts of the pairs of a round, each with the text that says them and that the check lets pass."""
        rng = np.random.default_rng((self.seed, number))
        found: list[tuple[list[Fact], str]] = []
        while len(found) < self.each:
            facts = self._facts(rng)
            text = phrased(facts, rng)
            verdict = check(text, facts)
            if not verdict.problems and not verdict.missing:  # a name that is made up may read as something else
                found.append((facts, text))
        return found

    def _facts(self, rng: np.random.Generator) -> list[Fact]:
        """Some facts of one history, at least one."""
        kinds = [SummaryKind.GENERAL] if rng.random() < _GENERAL else list(SummaryKind)
        told: tuple[Fact, ...] = ()
        while not told:
            told = chosen(self.facts[rng.integers(len(self.facts))], kinds[rng.integers(len(kinds))])
        groups = [tuple(group) for _, group in groupby(told, lambda fact: (fact.kind, fact.detail))]
        if rng.random() >= _WHOLE:
            some = rng.permutation(len(groups))[: rng.integers(1, 1 + min(len(groups), _SOME_MOST))]
            groups = [groups[place] for place in np.sort(some)]
        facts = [fact for group in groups for fact in group]
        for names, are_items in ((self.titles, True), (self.categories, False)):
            if rng.random() < _RENAMED:
                facts = _renamed(facts, names, are_items, rng)
        return [_with_other_mean(fact, rng) for fact in facts] if rng.random() < _RENAMED else facts


def lessons(
    events: pl.DataFrame, items: pl.DataFrame, prompt: SummaryPrompt, *, each: int, seed: int = 0, measured: int = 16
) -> tuple[Lessons, list[Pair]]:
    """Lessons of all users but those held out, and `measured` pairs of a tenth of these users, of whom no lesson is.

    events, items: as `facts_of` reads them. Raises InvalidInput when there are no users, or no facts about them.
    """
    users = sorted(set(events["user"]) - set(held_out(events["user"])))
    last = max(1, len(users) // 10)
    titles = tuple(dict.fromkeys(name for title in items["title"].drop_nulls() if (name := spoken(title))))
    categories = tuple(items["categories"].explode().drop_nulls().unique().sort())
    parts = []
    for some in (users[:-last], users[-last:]):
        stretched = stretches(events.filter(pl.col("user").is_in(some)), seed)
        facts = tuple(facts for facts in facts_of(stretched, items).values() if facts)
        if not facts:
            raise InvalidInput("data", f"{len(some)} users have no facts to be said; bring more events")
        parts.append(Lessons(facts, titles, categories, prompt, each, seed))
    return parts[0], replace(parts[1], each=measured)(0)


def stretches(events: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The events, and again those of drawn stretches of each history that is long enough, as of users of their own."""
    rng = np.random.default_rng(seed)
    parts = [events]
    for (user,), history in events.sort("user", "at", "event_id").group_by("user", maintain_order=True):
        for number in range(STRETCHES if history.height > STRETCH_LEAST else 0):
            length = int(rng.integers(STRETCH_LEAST, history.height))
            part = history.slice(int(rng.integers(history.height - length + 1)), length)
            parts.append(part.with_columns(pl.lit(f"{user} {number}").alias("user")))
    return pl.concat(parts)


def _renamed(facts: Sequence[Fact], names: Sequence[str], are_items: bool, rng: np.random.Generator) -> list[Fact]:
    """With other names in the place of those of items, or of categories; the same for the same."""
    old = list(dict.fromkeys(name for fact in facts if (fact.kind in _ITEMS) is are_items for name in fact.names))
    if len(names) < len(old):  # too few to draw as many different ones from
        return list(facts)
    most = _TITLE_WORDS if are_items else _CATEGORY_WORDS
    new: dict[str, None] = {}
    while len(new) < len(old):
        new[_other(names, most, rng)] = None
    others = dict(zip(old, new, strict=True))
    return [
        replace(fact, names=tuple(others[name] for name in fact.names)) if (fact.kind in _ITEMS) is are_items else fact
        for fact in facts
    ]


def _other(names: Sequence[str], words_most: int, rng: np.random.Generator) -> str:
    """One of the names, or one made of the words of several."""

    def drawn() -> str:
        return names[int(rng.integers(len(names)))]

    if rng.random() >= _MADE_UP:
        return drawn()
    words = [str(rng.choice(drawn().split())) for _ in range(rng.integers(1, words_most + 1))]
    return cleaned(" ".join(words), NAME_MOST)


def _with_other_mean(fact: Fact, rng: np.random.Generator) -> Fact:
    is_mean = fact.kind in _MEANS and fact.detail != "chosen" and bool(fact.numbers)
    return replace(fact, numbers=(written(rng.uniform(1, 5)),)) if is_mean else fact
