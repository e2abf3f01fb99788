"""From a user's id to a prompt: the summary and the past entries that bear on what the app wants to know now."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.circuit_breaker import CircuitBreaker
from features.cleaning import cleaned
from features.errors import InvalidInput, ModelMissing, StoreUnavailable, WeightsRefused
from features.events import ItemId, UserId
from features.history import UserHistory
from features.profile import StoredSummary
from models.catalogue import Catalogue
from models.language.counting import Count
from models.language.weights import MINILM
from models.summaries.entries import Entry, entries_of, name_of
from models.summaries.kinds import SummaryKind
from models.summaries.prompting import Brief, Layout, Prompt, Quoted, Task, prompt_of, quoted
from models.summaries.retrieval import BM25, Dense, Hybrid, Recency, Retriever, search
from services.summaries import Summaries, Told

INPUT_MOST: Final = 4000  # characters
NO_DENSE: Final = f"the weights of {MINILM} are not there; `tasteprint weights pull {MINILM}` brings them"
KIND_OF: Final[Mapping[Task, SummaryKind]] = {
    Task.RATING: SummaryKind.RATING,
    Task.RANKING: SummaryKind.RANKING,
    Task.TAGGING: SummaryKind.TAGGING,
    Task.GENERATION: SummaryKind.STYLE,
    Task.QUESTION: SummaryKind.GENERAL,
}
_WITH_CHOICES: Final = frozenset({Task.RANKING, Task.TAGGING})

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


class By(StrEnum):
    """How entries are found."""

    BM25 = "bm25"
    DENSE = "dense"
    RECENCY = "recency"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A prompt that is asked for. items: of the catalogue, in place of an input (rating) or among the choices. k: the
    most entries. budget: tokens. kind: of summary, that of the task when None. has_summary: whether there is to be one.
    """

    task: Task
    input: str = ""
    choices: tuple[str, ...] = ()
    items: tuple[ItemId, ...] = ()
    k: int = 4
    budget: int = 1024
    layout: Layout = Layout.PLAIN
    by: By = By.BM25
    kind: SummaryKind | None = None
    has_summary: bool = True


@dataclass(frozen=True, slots=True)
class Prompted:
    """A prompt, what it was made of, and what it had to do without."""

    prompt: Prompt
    told: Told
    kind: SummaryKind
    has_summary: bool
    problems: tuple[str, ...]

    def said(self) -> dict[str, Any]:
        """What an answer says beside the messages."""
        prompt, told = self.prompt, self.told
        return {
            "parts": [{"name": part.name, "tokens": part.tokens, "evidence": part.evidence} for part in prompt.parts],
            "tokens": prompt.tokens,
            "evidence": tuple(dict.fromkeys(event for part in prompt.parts for event in part.evidence)),
            "summary": self._summary(),
            "as_of": None if told.history.as_of is None else str(told.history.as_of),
            "degraded": self.problems,
        }

    def _summary(self) -> dict[str, Any] | None:
        summary = self.told.summary
        if summary is None or not self.has_summary:
            return None
        return {
            "kind": self.kind,
            "model": summary.model,
            "prompt": summary.prompt,
            "made_at": summary.made_at,
            "as_of": str(summary.as_of),
            "is_current": self.told.is_current,
            "stale": self.told.stored.stale or None,
        }


class Retrievers:
    """Retrievers by name.

    opened: the embedder, None while its weights were not pulled; asked when it is first needed. May raise
    WeightsRefused.
    """

    def __init__(self, opened: Callable[[], Embed | None]) -> None:
        self._opened = opened
        self._dense: Dense | None = None
        self._refused = ""
        self._lock = Lock()

    def get(self, by: By) -> tuple[Retriever, tuple[str, ...]]:
        """The retriever, and what it has to do without. Raises ModelMissing for a dense one without its weights."""
        match by:
            case By.BM25:
                return BM25(), ()
            case By.RECENCY:
                return Recency(), ()
        dense = self._opened_dense()
        if by is By.DENSE:
            if dense is None:
                raise ModelMissing(self._refused)
            return dense, ()
        if dense is None:
            return Hybrid([BM25(), Recency()]), (f"found by words and age alone: {self._refused}",)
        return Hybrid([BM25(), dense, Recency()]), ()

    def _opened_dense(self) -> Dense | None:
        with self._lock:
            if self._dense is None and self._refused in ("", NO_DENSE):  # damaged weights are not read again and again
                try:
                    embed = self._opened()
                    self._dense = None if embed is None else Dense(embed)
                    self._refused = NO_DENSE
                except WeightsRefused as error:
                    self._refused = str(error)
            return self._dense


class Prompting:
    """Makes prompts, from any thread. count: of the tokens of whatever reads them, or an upper bound."""

    def __init__(
        self,
        summaries: Summaries,
        catalogue: Catalogue,
        retrievers: Retrievers,
        count: Count,
        on_degraded: Callable[[], None] = lambda: None,
    ) -> None:
        self._summaries = summaries
        self._catalogue = catalogue
        self._retrievers = retrievers
        self._count = count
        self._on_degraded = on_degraded
        self._breaker = CircuitBreaker()

    def prompt(self, user: UserId, wanted: Wanted) -> Prompted:
        """The prompt about one user, who has an empty history when nobody has heard of them.

        Raises InvalidInput that names the field, and ModelMissing for a retriever without its weights.
        """
        given, choices = self.given(wanted)
        retriever, problems = self._retrievers.get(wanted.by) if wanted.k else (Recency(), ())
        kind = wanted.kind or KIND_OF[wanted.task]
        try:
            with self._breaker.guard():
                [told] = self._summaries.read([user], kind)
        except StoreUnavailable as error:
            told = Told(UserHistory(user), None, StoredSummary(), ())
            problems = (*problems, f"made without the user's history and summary: {error}")
        claims = told.summary.claims if told.summary is not None and wanted.has_summary else ()
        query = " ".join(_searched(one) for one in [given, *choices] if one is not None)
        entries = self._found(told.history, query, retriever, wanted.k)
        brief = Brief(wanted.task, given, choices, claims, entries, wanted.budget, wanted.layout)
        prompt = prompt_of(brief, self._count)
        if problems:
            self._on_degraded()
        return Prompted(prompt, told, kind, wanted.has_summary, problems)

    def given(self, wanted: Wanted) -> tuple[Quoted | None, tuple[Quoted, ...]]:
        """The input and the choices, cleaned. Raises InvalidInput that names the field."""
        given: Quoted | None = cleaned(wanted.input, INPUT_MOST) or None
        choices: list[Quoted] = [cleaned(choice) for choice in wanted.choices]
        if "" in choices:
            raise InvalidInput(f"choices.{choices.index('')}", "needs visible characters")
        items = [self._quoted(item, place) for place, item in enumerate(wanted.items)]
        if wanted.task in _WITH_CHOICES:
            choices += items
            if len(choices) < 2:
                raise InvalidInput("choices", "give at least two, as texts, or as items of the catalogue")
        elif choices:
            raise InvalidInput("choices", f"belong to {' and '.join(sorted(_WITH_CHOICES))}")
        elif items and (wanted.task is not Task.RATING or len(items) > 1 or given is not None):
            raise InvalidInput("items", "are choices; one, without an input, may also be what is rated")
        elif items:
            [given] = items
        if given is None and wanted.task is not Task.RANKING:
            raise InvalidInput("input", f"{wanted.task} needs one with visible characters")
        return given, tuple(choices)

    def _quoted(self, item: ItemId, place: int) -> Quoted:
        found = self._catalogue.get(item)
        if found is None:
            raise InvalidInput(f"items.{place}", f"{item!r} is not in the catalogue")
        return quoted(*name_of(item, found))

    def _found(self, history: UserHistory, query: str, retriever: Retriever, k: int) -> tuple[Entry, ...]:
        """The k entries that suit best, one an item."""
        if not k:
            return ()
        entries = entries_of(history.events, self._catalogue.get)
        of_item: dict[ItemId, Entry] = {}
        for place in search(retriever, query, entries):
            if len(of_item) == k:
                break
            of_item.setdefault(entries[place].item, entries[place])
        return tuple(of_item.values())


def _searched(given: Quoted) -> str:
    return given if isinstance(given, str) else " ".join(given)
