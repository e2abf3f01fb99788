"""Answering: from who asks to the JSON of a recommendation, with a simpler answer when something fails.

One batch of asks is one round trip to the profile store and one call of the pipeline.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from secrets import token_hex
from typing import Any, Final

import orjson

from features.errors import StoreUnavailable
from features.events import Event, ItemId, UserId
from features.history import UserHistory, fold, seen_items
from features.profiles import CircuitBreaker, ProfileStore
from models.catalogue import Catalogue
from models.recommender import HISTORY_LENGTH, Candidate, Pipeline, Query, Recommendation
from services.impressions import Exposure, Impression, ImpressionWriter
from services.variants import Route, Variants, interleaved

logger = logging.getLogger(__name__)

ANONYMOUS: Final = UserId("")


@dataclass(frozen=True, slots=True)
class Ask:
    """One list asked for: by a user, or for the events of somebody who is not known.

    rank: put these items in order and nothing else; such an answer is no impression.
    """

    user: UserId
    k: int = 10
    events: Sequence[Event] = ()
    exclude: frozenset[ItemId] = frozenset()
    categories: frozenset[str] = frozenset()
    list_removed: bool = False
    rank: tuple[ItemId, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known about who asks. problems: what the answer has to do without."""

    history: tuple[ItemId, ...] = ()
    seen: frozenset[ItemId] = frozenset()
    as_of: str | None = None
    problems: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class _Answered:
    """A list with what it is to an experiment. problems: what its making had to do without."""

    recommendation: Recommendation
    exposure: Exposure | None
    problems: tuple[str, ...]


class Recommender:
    """Answers batches of asks from one thread at a time; `pipeline` may be swapped whole at any moment.

    popular: what answers when the pipeline fails; it needs neither a bundle nor a history. variants: the experiment
    that is on; without one the pipeline answers everybody. lacking: what every answer has to do without.
    """

    def __init__(
        self,
        store: ProfileStore,
        catalogue: Catalogue,
        pipeline: Pipeline,
        popular: Pipeline,
        impressions: ImpressionWriter,
        clock: Callable[[], float],
        history_limit: int,
        on_degraded: Callable[[], None],
        variants: Variants | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.popular = popular
        self.variants = variants
        self.lacking: tuple[str, ...] = ()
        self._store = store
        self._catalogue = catalogue
        self._impressions = impressions
        self._clock = clock
        self._history_limit = history_limit
        self._on_degraded = on_degraded
        self._breaker = CircuitBreaker()
        self._ids = (f"{_PROCESS}-{number:x}" for number in count())

    def answer(self, asks: Sequence[Ask]) -> list[bytes]:
        """The JSON of each answer, in order."""
        known = self._known(asks)
        queries = [
            Query(
                ask.user,
                who.history,
                who.seen,
                ask.k,
                ask.exclude,
                ask.categories,
                next(self._ids),
                None,
                None,
                ask.list_removed,
            )
            for ask, who in zip(asks, known, strict=True)
        ]
        answered = self._recommend(asks, queries)
        lacking = tuple(f"answered without {what}" for what in self.lacking)
        now = self._clock()
        answers = []
        for ask, who, one in zip(asks, known, answered, strict=True):
            if ask.rank is None:
                self._show(ask, one, now)
            problems = (*who.problems, *one.problems, *lacking)
            if problems:
                self._on_degraded()
            answers.append(self._encode(one.recommendation, who, problems))
        return answers

    def similar(self, item: ItemId, k: int) -> list[dict[str, Any]]:
        """Items similar to one, as they stand in JSON; empty for an item nobody knows."""
        return [self._item(candidate) for candidate in self.pipeline.similar([item], k)[0]]

    def _known(self, asks: Sequence[Ask]) -> list[_Known]:
        """What is known about each, in one round trip; without the store everybody is new, and the answer says so."""
        users = [ask.user for ask in asks if ask.user != ANONYMOUS]
        problems: tuple[str, ...] = ()
        histories: dict[UserId, UserHistory] = {}
        if users:
            try:
                with self._breaker.guard():
                    histories = dict(zip(users, self._store.read(users), strict=True))
            except StoreUnavailable as error:
                problems = (f"answered without the user's history: {error}",)
        return [self._who(ask, histories.get(ask.user), problems) for ask in asks]

    def _who(self, ask: Ask, history: UserHistory | None, problems: tuple[str, ...]) -> _Known:
        if ask.user == ANONYMOUS:
            events = fold(ask.events, self._history_limit)
            items = tuple(event.item for event in events if event.item is not None)
            return _Known(items[-HISTORY_LENGTH:], frozenset(seen_items(ask.events)))
        if history is None:
            return _Known(problems=problems)
        as_of = None if history.as_of is None else str(history.as_of)
        return _Known(history.recent_items(HISTORY_LENGTH), history.seen, as_of)

    def _recommend(self, asks: Sequence[Ask], queries: Sequence[Query]) -> list[_Answered]:
        """Each ask's answer, by the pipeline of its variant when an experiment is on."""
        if self.variants is None:
            return self._by(Route(self.pipeline), asks, queries)
        parts: dict[str, list[int]] = {}
        for place, ask in enumerate(asks):
            parts.setdefault(self.variants.part(ask.user, ranks=ask.rank is not None), []).append(place)
        current, popular = self.pipeline, self.popular
        answered: dict[int, _Answered] = {}
        for part, places in parts.items():
            route = self.variants.route(part, current, popular)
            done = self._by(route, [asks[place] for place in places], [queries[place] for place in places])
            answered |= zip(places, done, strict=True)
        return [answered[place] for place in range(len(asks))]

    def _by(self, route: Route, asks: Sequence[Ask], queries: Sequence[Query]) -> list[_Answered]:
        try:
            return self._answered(route, asks, queries)
        except Exception as error:
            logger.exception("the pipeline failed, answering by popularity")
            problems = (*route.problems, f"answered by popularity: {type(error).__name__}")
            return self._answered(replace(route, pipeline=self.popular, rival=None, problems=problems), asks, queries)

    def _answered(self, route: Route, asks: Sequence[Ask], queries: Sequence[Query]) -> list[_Answered]:
        first = self._run(route.pipeline, asks, queries)
        if route.rival is None or self.variants is None:
            return [_Answered(recommendation, route.exposure, route.problems) for recommendation in first]
        both = first, self._run(route.rival, asks, queries)
        drafted = interleaved(self.variants.experiment, both, [ask.k for ask in asks])
        return [_Answered(recommendation, exposure, route.problems) for recommendation, exposure in drafted]

    @staticmethod
    def _run(pipeline: Pipeline, asks: Sequence[Ask], queries: Sequence[Query]) -> list[Recommendation]:
        lists = [place for place, ask in enumerate(asks) if ask.rank is None]
        ranks = [place for place, ask in enumerate(asks) if ask.rank is not None]
        done: dict[int, Recommendation] = {}
        if lists:
            done |= zip(lists, pipeline.recommend([queries[place] for place in lists]), strict=True)
        if ranks:
            given = [asks[place].rank or () for place in ranks]
            for place, ranked in zip(ranks, pipeline.rank([queries[p] for p in ranks], given), strict=True):
                done[place] = Recommendation(queries[place].id, tuple(ranked), {}, pipeline.model, None)
        return [done[place] for place in range(len(asks))]

    def _show(self, ask: Ask, answered: _Answered, now: float) -> None:
        shown = answered.recommendation
        items = [candidate.item for candidate in shown.items]
        self._impressions.put(Impression(shown.id, ask.user, items, shown.model, now, answered.exposure))

    def _encode(self, recommendation: Recommendation, who: _Known, problems: Sequence[str]) -> bytes:
        answer: dict[str, Any] = {
            "recommendation_id": recommendation.id,
            "items": [self._item(candidate) for candidate in recommendation.items],
            "removed": recommendation.removed,
            "model_version": recommendation.model,
            "as_of": who.as_of,
            "degraded": problems,
        }
        if recommendation.removed_items:
            answer["removed_items"] = [
                {"item_id": item, "reason": reason} for item, reason in recommendation.removed_items
            ]
        return orjson.dumps(answer)

    def _item(self, candidate: Candidate) -> dict[str, Any]:
        return {
            "item_id": candidate.item,
            "title": self._catalogue.title(candidate.item),
            "score": candidate.score,
            "source": candidate.source,
            "reason": candidate.reason,
            "because": candidate.because,
        }


_PROCESS: Final = f"r-{token_hex(4)}"
