"""Answering: from who asks to the JSON of a recommendation, with a simpler answer when something fails.

One batch of asks is one round trip to the profile store and one call of the pipeline. Where the pipeline has an
encoder, the round trip brings the users' stored vectors too: one that has seen as much as its history is used, and the
pipeline encodes the other histories of the batch together. Where it has a generator, each user's list of next items is
taken as it is at hand, for a beam search would keep everybody waiting; the answer says so when it is old or missing.

Shapes: L events of a history, D dimensions.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from secrets import token_hex
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from features.circuit_breaker import CircuitBreaker
from features.errors import StoreUnavailable
from features.events import Event, ItemId, UserId
from features.history import UserHistory, encode_with_left
from features.history import count as count_events
from features.profile import Position, UserVector
from features.profiles import ProfileStore
from models.catalogue import Catalogue
from models.queries import NOT_GENERATED
from models.recommender import HISTORY_LENGTH, Candidate, Pipeline, Query, Recommendation
from services.impressions import Exposure, Impression, ImpressionWriter
from services.tasking import List
from services.variants import Route, Variants, interleaved

logger = logging.getLogger(__name__)

ANONYMOUS: Final = UserId("")
_NO_LIST: Final = List(NOT_GENERATED, "missing", "answered without P5, which makes no lists here")


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
    as_of: Position | None = None
    problems: tuple[str, ...] = field(default=())
    times_L: NDArray[np.float64] | None = None
    values_L: NDArray[np.float32] | None = None
    vector_D: NDArray[np.float32] | None = None
    oldest: float | None = None


@dataclass(frozen=True, slots=True)
class _Answered:
    """A list with what it is to an experiment. problems: what its making had to do without."""

    recommendation: Recommendation
    exposure: Exposure | None
    problems: tuple[str, ...]


class Recommender:
    """Answers batches of asks from one thread at a time; `pipeline` may be swapped whole at any moment.

    popular: what answers when the pipeline fails; it needs neither a bundle nor a history. variants: the experiment
    that is on; without one the pipeline answers everybody. lacking: what every answer has to do without. on_vectors:
    told how many stored vectors a batch used, and how many histories had to be encoded. lists: each user's list of next
    items by a model's generator, at once.
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
        on_vectors: Callable[[int, int], None] = lambda used, computed: None,
        lists: Callable[[str, Sequence[Query]], Sequence[List]] = lambda model, queries: [_NO_LIST] * len(queries),
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
        self._on_vectors = on_vectors
        self._lists = lists
        self._breaker = CircuitBreaker()
        self._ids = (f"{_PROCESS}-{number:x}" for number in count())

    def answer(self, asks: Sequence[Ask]) -> list[bytes]:
        """The JSON of each answer, in order."""
        pipeline = self.pipeline  # one for the whole batch: a vector fits the pipeline whose model made it
        known = self._known(asks, pipeline.encoder_model)
        queries = [
            Query(
                ask.user,
                who.history,
                who.seen,
                ask.k,
                ask.exclude,
                ask.categories,
                next(self._ids),
                who.as_of,
                None,
                ask.list_removed,
                who.times_L,
                who.values_L,
                who.vector_D,
                oldest=who.oldest,
            )
            for ask, who in zip(asks, known, strict=True)
        ]
        answered = self._recommend(pipeline, asks, queries)
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

    def _known(self, asks: Sequence[Ask], model: str | None) -> list[_Known]:
        """What is known about each, in one round trip; without the store everybody is new, and the answer says so."""
        users = [ask.user for ask in asks if ask.user != ANONYMOUS]
        problems: tuple[str, ...] = ()
        read: dict[UserId, tuple[UserHistory, UserVector | None]] = {}
        if users:
            try:
                with self._breaker.guard():
                    read = dict(zip(users, self._read(users, model), strict=True))
            except StoreUnavailable as error:
                problems = (f"answered without the user's history: {error}",)
        encodes = model is not None or (self.variants is not None and self.variants.encodes)
        known = [self._who(ask, read.get(ask.user), problems, encodes=encodes) for ask in asks]
        if model is not None:
            used = sum(who.vector_D is not None for who in known)
            self._on_vectors(used, sum(bool(who.history) for who in known) - used)
        return known

    def _read(self, users: Sequence[UserId], model: str | None) -> Sequence[tuple[UserHistory, UserVector | None]]:
        if model is None:
            return [(history, None) for history in self._store.read(users)]
        return self._store.read_with_vectors(users, model)

    def _who(
        self,
        ask: Ask,
        read: tuple[UserHistory, UserVector | None] | None,
        problems: tuple[str, ...],
        *,
        encodes: bool,
    ) -> _Known:
        """encodes: whether some pipeline that may answer has an encoder, which wants times and values too."""
        if ask.user == ANONYMOUS:
            encoded, left = encode_with_left(ask.events, self._history_limit)
            history, vector = UserHistory(ANONYMOUS, encoded, frozenset(left)), None
        elif read is None:
            return _Known(problems=problems)
        else:
            history, vector = read
        as_of = history.as_of
        oldest = history.oldest if count_events(history.encoded) < self._history_limit else None
        if not encodes:
            return _Known(history.recent_items(HISTORY_LENGTH), history.seen, as_of, oldest=oldest)
        items, times_L, values_L = history.recent_events(HISTORY_LENGTH)
        vector_D = vector.vector_D if vector is not None and vector.as_of == history.as_of else None
        return _Known(items, history.seen, as_of, (), times_L, values_L, vector_D, oldest)

    def _recommend(self, current: Pipeline, asks: Sequence[Ask], queries: Sequence[Query]) -> list[_Answered]:
        """Each ask's answer, by the pipeline of its variant when an experiment is on."""
        model = current.encoder_model
        if self.variants is None:
            return self._by(Route(current), asks, queries, model)
        parts: dict[str, list[int]] = {}
        for place, ask in enumerate(asks):
            parts.setdefault(self.variants.part(ask.user, ranks=ask.rank is not None), []).append(place)
        popular = self.popular
        answered: dict[int, _Answered] = {}
        for part, places in parts.items():
            route = self.variants.route(part, current, popular)
            done = self._by(route, [asks[place] for place in places], [queries[place] for place in places], model)
            answered |= zip(places, done, strict=True)
        return [answered[place] for place in range(len(asks))]

    def _by(self, route: Route, asks: Sequence[Ask], queries: Sequence[Query], model: str | None) -> list[_Answered]:
        try:
            return self._answered(route, asks, queries, model)
        except Exception as error:
            logger.exception("the pipeline failed, answering by popularity")
            problems = (*route.problems, f"answered by popularity: {type(error).__name__}")
            return self._answered(
                replace(route, pipeline=self.popular, rival=None, problems=problems), asks, queries, model
            )

    def _answered(
        self, route: Route, asks: Sequence[Ask], queries: Sequence[Query], model: str | None
    ) -> list[_Answered]:
        first, problems = self._run(route.pipeline, asks, queries, model)
        if route.rival is None or self.variants is None:
            return [
                _Answered(recommendation, route.exposure, (*route.problems, *own))
                for recommendation, own in zip(first, problems, strict=True)
            ]
        second, of_second = self._run(route.rival, asks, queries, model)
        drafted = interleaved(self.variants.experiment, (first, second), [ask.k for ask in asks])
        return [
            _Answered(recommendation, exposure, tuple(dict.fromkeys((*route.problems, *own, *others))))
            for (recommendation, exposure), own, others in zip(drafted, problems, of_second, strict=True)
        ]

    def _run(
        self, pipeline: Pipeline, asks: Sequence[Ask], queries: Sequence[Query], model: str | None
    ) -> tuple[list[Recommendation], list[tuple[str, ...]]]:
        """(the lists, what each has to do without). model: whose vectors the queries carry; another pipeline does not
        get to see them."""
        if pipeline.encoder_model != model:
            queries = [replace(query, vector_D=None) for query in queries]
        problems: list[tuple[str, ...]] = [()] * len(asks)
        if pipeline.generator_model is not None:
            at_hand = self._lists(pipeline.generator_model, queries)
            queries = [replace(query, generated=one.generated) for query, one in zip(queries, at_hand, strict=True)]
            problems = [(one.problem,) if one.problem else () for one in at_hand]
        lists = [place for place, ask in enumerate(asks) if ask.rank is None]
        ranks = [place for place, ask in enumerate(asks) if ask.rank is not None]
        done: dict[int, Recommendation] = {}
        if lists:
            done |= zip(lists, pipeline.recommend([queries[place] for place in lists]), strict=True)
        if ranks:
            given = [asks[place].rank or () for place in ranks]
            for place, ranked in zip(ranks, pipeline.rank([queries[p] for p in ranks], given), strict=True):
                done[place] = Recommendation(queries[place].id, tuple(ranked), {}, pipeline.model, None)
        return [done[place] for place in range(len(asks))], problems

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
            "as_of": None if who.as_of is None else str(who.as_of),
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
