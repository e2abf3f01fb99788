"""A server's working parts, put together and kept fresh: what the routes call."""

import logging
from collections.abc import Callable
from threading import Event as Signal
from threading import Lock
from types import TracebackType
from typing import Any, Final

from features.events import UserId, user_digest
from models.bundle import Bundle
from models.catalogue import Catalogue
from models.encoders.cold import ColdVectors, Embeds
from models.recommender import Pipeline
from services.adapt import GROUP as ADAPT
from services.adapt import Adapting, lines
from services.adapted_asking import AdaptedAsking
from services.answering import SERVER_SECONDS, Answers
from services.api.batching import Batcher
from services.asking import Asking
from services.behind import follow, start_following
from services.cold import keep_cold
from services.encode import GROUP, SOFT_PROMPTS_GROUP, SoftPrompts, Vectors, start_encoding
from services.erasing import erase
from services.impressions import ImpressionWriter
from services.ingesting import start_ingest
from services.live import LivePopularity, items_of, tail
from services.metrics import Metrics
from services.prompting import Embed, Prompting, Retrievers
from services.recommending import Ask, Recommender
from services.served import Answering, Following, Served, load_served
from services.settings import Settings
from services.soft_asking import SoftAsking
from services.soft_prompts import FollowingSoftPrompt, UserSoftPrompts
from services.stream_adapters import FollowingStreamAdapter, UserUpdates
from services.summaries import Summaries
from services.tasking import LocalWorker, Tasks, TaskWorker
from services.threads import Threads
from services.variants import Variants
from services.wiring import Backends, open_count, open_embedder, open_generator
from streaming.log import Consumer, Record, Stream

AT_ONCE_BESIDE: Final = 32  # users encoded together where requests want the processor too
ADAPTED_BESIDE: Final = 4  # users whose chunks are read together, while nobody is answered by the same language model
REFRESH_SECONDS: Final = 1.0  # between two looks at what is popular now
LOOK_SECONDS: Final = 0.5  # between two looks at which bundle is in use

logger = logging.getLogger(__name__)


class Serving:
    """Everything behind the routes of one process, started by `with`: it reads the catalogue and follows the log.

    ingest: whether this process applies the log to the store too. clock: epoch seconds.
    """

    def __init__(self, settings: Settings, backends: Backends, clock: Callable[[], float], *, ingest: bool) -> None:
        self.settings = settings
        self.clock = clock
        self.log = backends.log
        self.store = backends.serving
        self.dead_letters = backends.dead_letters
        self.metrics = Metrics()
        self.catalogue = Catalogue()
        self.popularity = LivePopularity(settings.trend_half_life_days * 86_400)
        self._following = Following(settings, self.catalogue, clock, self.metrics)
        self.answering = self._following.answering
        self._following_soft = FollowingSoftPrompt(settings)
        self._following_adapter = FollowingStreamAdapter(settings)
        self._putting = Lock()
        self._with_cold: Pipeline | None = None
        self._named: list[Served] = []  # the bundles of the experiment
        self._backends = backends
        self._ingest = ingest
        self._threads = Threads()
        self._items_read = Signal()
        self._events_read = Signal()

    def __enter__(self) -> "Serving":
        """Loads the catalogue and the bundle in use, starts the threads; requests may be answered from now on, and know
        more by the second. Where the bundle is refused, an older one answers, or popularity.

        Raises StoreUnavailable, LogUnavailable when `ingest` and another process is ingesting already, and what
        `open_generator` raises.
        """
        generator = open_generator(self.settings, phrases=False, within=SERVER_SECONDS)
        count = open_count(self.settings, generator)
        self.catalogue.put(self._backends.patient.items())
        self._following.start()
        self._following_soft.look()
        if self.settings.adapted:
            self._following_adapter.look()
        self.tasks = Tasks(self._backends.patient, self.metrics.used_list, self.metrics.answered_tasks)
        self.variants = self._variants()
        if self._ingest:
            start_ingest(self._backends, self._threads, self.clock, self.metrics.applied)
        self.impressions = ImpressionWriter(self.log, self.clock)
        self.metrics.impressions_written.set_function(lambda: self.impressions.written)
        self.metrics.impressions_dropped.set_function(lambda: self.impressions.dropped)
        self.recommender = Recommender(
            self.store,
            self.catalogue,
            *self._pipelines(self._following.answering),
            self.impressions,
            self.clock,
            self.settings.history_limit,
            self.metrics.degraded.inc,
            self.variants,
            on_vectors=self.metrics.used_vectors,
            lists=self.tasks.lists,
        )
        self._put()
        self.asking = Asking(self.store, self.catalogue, self.tasks, lambda: self.answering, self.metrics.degraded.inc)
        self.summaries = Summaries(self.store, self.catalogue.get, self.clock)
        retrievers = Retrievers(self._embed)
        self.prompting = Prompting(self.summaries, self.catalogue, retrievers, count, self.metrics.degraded.inc)
        self.soft_prompts = UserSoftPrompts(self.settings, self.store, self._following_soft, self.metrics.degraded.inc)
        self.soft_asking = SoftAsking(self.prompting, self.soft_prompts)
        degraded = self.metrics.degraded.inc
        self.updates = UserUpdates(self.settings, self.store, self._following_adapter, degraded)
        self.adapted_asking = AdaptedAsking(self.prompting, self.catalogue, self.updates, self.settings.adapted_merged)
        self.answers = None if generator is None else Answers(generator)
        self.batcher: Batcher[Ask, bytes] = Batcher(self.recommender.answer)
        self._follow(Stream.ITEMS, self._take_items, self._items_read)
        self._follow(Stream.EVENTS, self._take_events, self._events_read)
        if self._ingest and self.settings.encode:
            self._start_encoding()
        if self._ingest and self.settings.adapted and self.settings.adapt:
            self._start_adapting()
        self._threads.start("watching what is popular", self._refresh)
        self._threads.start("following the bundle in use", self._follow_bundle)
        self._threads.start("placing new items", self._place_new_items)
        self._threads.start("working for P5", lambda: self.tasks.run(self._threads.stop))
        self._threads.start("answering behind soft prompts", lambda: self.soft_asking.run(self._threads.stop))
        if self.settings.adapted:
            self._threads.start("answering by users' weights", lambda: self.adapted_asking.run(self._threads.stop))
        if self.answers is not None:
            answers = self.answers
            self._threads.start("answering prompts", lambda: answers.run(self._threads.stop))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finishes the batches in hand, as far as they are finished in time, and writes the impressions."""
        self._threads.close(self.settings.drain_seconds)
        self.impressions.close()

    def problems(self) -> list[str]:
        """Why requests should not be sent here; empty when they should."""
        problems = self._threads.problems()
        if not self._items_read.is_set():
            problems.append("the catalogue is being read")
        if not self._events_read.is_set():
            problems.append("the newest events are being counted")
        return problems

    @property
    def bundle(self) -> Bundle | None:
        """The bundle that answers, None for popularity."""
        served = self.answering.served
        return None if served is None else served.bundle

    def degraded(self) -> list[str]:
        """What answers have to do without; requests may be sent all the same."""
        refused = self.answering.refused
        without = [] if refused is None else [f"the bundle {refused.name} is refused: {refused.reason}"]
        if self._following_soft.refused:
            without.append(f"the soft prompt in use is refused: {self._following_soft.refused}")
        if self._following_adapter.refused:
            without.append(f"the stream adapter in use is refused: {self._following_adapter.refused}")
        if self.variants is not None:
            off = f"the experiment {self.variants.experiment.name} is off"
            without += [f"{off}: {problem}" for problem in self.variants.problems.values()]
        return without

    def erase(self, user: UserId) -> dict[str, Any]:
        """Orders a user's erasure; impressions of them that wait go to the log first, to be found there.

        What is kept in memory of the user goes at once; other processes drop theirs when the order comes by in the log.
        """
        self.impressions.flush()
        erased = erase(user, self.store, self.log, self.dead_letters, self.clock())
        self.tasks.results.erase(user_digest(user), self.clock())
        self.adapted_asking.forget(user)
        return erased

    def reset_update(self, user: UserId) -> int:
        """Takes the user back to the frozen language model; of how many adapters' updates."""
        self.adapted_asking.forget(user)
        return self.store.reset_updates(user)

    def _start_encoding(self) -> None:
        def vectors() -> Vectors | None:
            return Vectors.of(self.recommender.pipeline)

        def soft_prompts() -> SoftPrompts | None:
            return SoftPrompts.of(self._following_soft.prompter)

        beside = self._backends, self._threads
        start_encoding(*beside, GROUP, vectors, AT_ONCE_BESIDE, self.metrics.encode)
        start_encoding(*beside, SOFT_PROMPTS_GROUP, soft_prompts, AT_ONCE_BESIDE, self.metrics.encode_soft_prompts)

    def _start_adapting(self) -> None:
        store = self._backends.patient

        def current() -> Adapting | None:
            loaded = self._following_adapter.model
            if loaded is None or not self._items_read.is_set():  # until then items have no titles
                return None
            return Adapting(loaded.adapter, loaded.version, lines(self.catalogue), store, ADAPTED_BESIDE)

        def run(consumer: Consumer) -> None:
            follow(consumer, store, current, self._threads.stop, report=self.metrics.adapt)

        start_following(self._backends, self._threads, ADAPT, "keeping weight updates fresh", run)

    def _embed(self) -> Embed | None:
        embedder = open_embedder(self.settings)
        return None if embedder is None else embedder.vectors

    def _follow(self, stream: Stream, take: Callable[[list[Record]], None], caught_up: Signal) -> None:
        consumer = self.log.consumer(stream, None)
        if stream is Stream.EVENTS:
            for partition in consumer.partitions:
                consumer.seek(partition, offset=-max(self.settings.trend_events // len(consumer.partitions), 1))

        def run() -> None:
            try:
                tail(consumer, take, self._threads.stop, caught_up)
            finally:
                consumer.close()

        self._threads.start(f"following {stream}", run)

    def _take_items(self, records: list[Record]) -> None:
        self.metrics.newest_logged.labels(Stream.ITEMS).set(records[-1].appended)
        self.catalogue.put(items_of(records, self.clock()))

    def _take_events(self, records: list[Record]) -> None:
        self.metrics.newest_logged.labels(Stream.EVENTS).set(records[-1].appended)
        now = self.clock()
        self.popularity.take(records, now)
        self.tasks.take(records, now)

    def _refresh(self) -> None:
        """Puts what is popular now into the pipelines, when it has changed."""
        counted = -1
        while not self._threads.stop.wait(REFRESH_SECONDS if counted >= 0 else 0.05):
            version = self.popularity.version
            if version != counted and self._events_read.is_set():
                self._put()
                counted = version

    def _follow_bundle(self) -> None:
        """Loads a bundle that has come into use beside the one that answers, and puts it in its place; a soft prompt
        likewise."""
        while not self._threads.stop.wait(LOOK_SECONDS):
            self._following_soft.look()
            if self.settings.adapted:
                self._following_adapter.look()
            self._following.look()
            if self._following.answering is not self.answering:
                self._put()

    def _place_new_items(self) -> None:
        def opened() -> Embeds | None:
            return open_embedder(self.settings)

        keep_cold(self.catalogue, lambda: self.bundle, opened, self._take_cold, self._threads.stop)

    def _take_cold(self, bundle: Bundle, cold: ColdVectors) -> None:
        served = self._following.answering.served
        if served is not None and served.bundle is bundle:
            self._with_cold = served.pipeline.with_cold(cold)
            self._put()

    def _put(self) -> None:
        """Puts the pipelines of the bundle in use and of what is popular now in the place of those that answer."""
        with self._putting:  # or the slower of two threads would bring back what the other has replaced
            answering = self._following.answering
            pipelines = self._pipelines(answering)
            refused = answering.refused if answering.served is None else None
            self.recommender.lacking = () if refused is None else (f"the bundle {refused.name}, which is refused",)
            self.tasks.use(self._workers(answering))
            self.recommender.pipeline, self.recommender.popular = pipelines
            self.answering = answering

    def _pipelines(self, answering: Answering) -> tuple[Pipeline, Pipeline]:
        """The one that answers, and the one that needs no bundle; the same when there is no bundle."""
        counts, decayed = self.popularity.counts()
        if self.variants is not None:
            self.variants.take_live(counts, decayed)
        popular = Pipeline.popular(
            self.catalogue, counts, decayed, explore=self.settings.explore, verb=self.settings.verb
        )
        if answering.served is None:
            return popular, popular
        pipeline, with_cold = answering.served.pipeline, self._with_cold
        if with_cold is not None and with_cold.model == pipeline.model:
            pipeline = with_cold
        return pipeline.with_live(counts, decayed), popular

    def _workers(self, answering: Answering) -> dict[str, TaskWorker]:
        """One for each bundle that answers and has a P5, by name."""
        served = [*self._named, *([] if answering.served is None else [answering.served])]
        return {one.bundle.name: LocalWorker(one.pipeline, one.answerer) for one in served if one.answerer is not None}

    def _variants(self) -> Variants | None:
        """Those of the experiment that the settings name."""
        experiment = self.settings.experiment
        return None if experiment is None else Variants(experiment, self._load_named)

    def _load_named(self, name: str) -> Pipeline:
        self._named.append(load_served(self.settings, name, self.catalogue))
        return self._named[-1].pipeline
