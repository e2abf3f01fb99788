"""Work for a P5, away from the requests: questions that wait are answered together, lists of next items are made ahead.

A beam search takes far longer than all else that a recommendation needs. So recommendations take a user's list as it is
at hand: fresh; or made of the history as it was some events ago, while a newer one is being made; or none at all. A
list is made when a recommendation misses it, and made anew when the log brings an event of a user who has one.
Questions wait for their answers, which are kept until the history moves on.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Condition
from threading import Event as Signal
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from features.errors import InvalidInput, LogUnavailable, Overloaded, StoreUnavailable
from features.events import ERASURE_START, Erasure, UserId, parse_record
from features.profile import Position
from features.profiles import ProfileStore
from models.p5.asks import Answer, Ask
from models.queries import NOT_GENERATED, Generated, Query
from models.recommender import Pipeline
from services.encode import query_of
from services.results import Key, Result, Results
from streaming.log import Record

if TYPE_CHECKING:  # torch, which a server whose bundle has no P5 does not wait for
    from models.p5.answering import Answerer

AT_ONCE: Final = 16  # questions, or lists, in one run of the model: others get their turn in between
QUESTIONS_MOST: Final = 256
LISTS_MOST: Final = 10_000  # that may wait; one more is left to the next time that it is missed
POLL_SECONDS: Final = 0.02  # between two looks at whether the ingest has come to an event
PATIENCE_SECONDS: Final = 10.0  # with the ingest, for one event
ENDED: Final = "questions are not answered here any more; ask again later"
LISTS: Final = "generated"  # the family of a key that is no question's

Asked = TypeVar("Asked")
Made = TypeVar("Made")

logger = logging.getLogger(__name__)


class TaskWorker(Protocol):
    """What works with the P5 of one bundle, many users at a time. Called from one thread."""

    def answer(self, asks: Sequence[Ask]) -> list[Answer]:
        """One answer an ask, in their order."""
        ...

    def generate(self, queries: Sequence[Query]) -> list[Generated]:
        """The list of next items of each query, in their order."""
        ...


class LocalWorker:
    """The worker of this process."""

    def __init__(self, pipeline: Pipeline, answerer: "Answerer") -> None:
        self._pipeline = pipeline
        self._answerer = answerer

    def answer(self, asks: Sequence[Ask]) -> list[Answer]:
        return self._answerer.answer(asks)

    def generate(self, queries: Sequence[Query]) -> list[Generated]:
        return self._pipeline.generate(queries)


@dataclass(frozen=True, slots=True)
class List:
    """A user's list of next items as it is at hand. state: "fresh", "stale" or "missing"; "" where there is none to
    make. problem: what the answer has to do without, "" for nothing."""

    generated: Generated
    state: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    key: Key
    ask: Ask
    as_of: Position | None
    oldest: float | None
    keep: bool
    future: Future[Answer] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A list to be made of a history that covers a position, if one is given. since: monotonic seconds."""

    after: Position | None
    since: float


class Tasks:
    """Questions and lists of every model in use, worked on by the one thread that is in `run`; the rest may be called
    from any. store: read in that thread.

    on_lists: told the state of each list that a recommendation asked for. on_answers: told how many answers were kept
    from before, and how many were made. questions_most: that may wait.
    """

    def __init__(
        self,
        store: ProfileStore,
        on_lists: Callable[[str], None] = lambda state: None,
        on_answers: Callable[[int, int], None] = lambda kept, made: None,
        questions_most: int = QUESTIONS_MOST,
    ) -> None:
        self.results = Results()
        self._store = store
        self._on_lists = on_lists
        self._on_answers = on_answers
        self._questions_most = questions_most
        self._workers: Mapping[str, TaskWorker] = {}
        self._changed = Condition()
        self._questions: deque[_Question] = deque()
        self._wanted: dict[Key, _Wanted] = {}
        self._ended = False

    def use(self, workers: Mapping[str, TaskWorker]) -> None:
        """The workers of the models that answer from now on, by name; what others have made is dropped."""
        if workers.keys() == self._workers.keys():
            return
        self._workers = dict(workers)
        self.results.keep_models(workers)

    def lists(self, model: str, queries: Sequence[Query]) -> list[List]:
        """The list of each user as it is at hand, at once; what is missing or stale will be made behind."""
        found = [self._list(model, query) for query in queries]
        for one in found:
            if one.state:
                self._on_lists(one.state)
        return found

    def at_hand(self, key: Key, as_of: Position | None) -> Future[Answer] | None:
        """The answer of before, when it has seen as much as the history that has this stamp."""
        kept = self.results.fresh(key, as_of)
        if kept is None:
            return None
        self._on_answers(1, 0)
        done: Future[Answer] = Future()
        done.set_result(kept.value)
        return done

    def ask(
        self, key: Key, ask: Ask, as_of: Position | None, oldest: float | None, *, keep: bool = True
    ) -> Future[Answer]:
        """The answer to come.

        as_of, oldest: of the history that the ask is made of, as in `Result`. keep: whether the answer may serve again.
        Raises Overloaded when too much waits, and when `run` has ended.
        """
        question = _Question(key, ask, as_of, oldest, keep)
        with self._changed:
            if self._ended:
                raise Overloaded(ENDED)
            if len(self._questions) >= self._questions_most:
                raise Overloaded(f"{self._questions_most} questions wait for {key.model}; ask again later")
            self._questions.append(question)
            self._changed.notify()
        return question.future

    def take(self, records: Sequence[Record], now: float) -> None:
        """What the log's events mean for what is kept: lists of these users are made anew, erased users forgotten."""
        for record in records:
            if record.value.startswith(ERASURE_START):
                self._erase(record, now)
            else:
                for key in self.results.of(UserId(record.key), LISTS):
                    self._want(key, record.position)

    def run(self, stop: Signal) -> None:
        """Works until `stop` is set, questions first; what still waits then is refused."""
        try:
            while not stop.is_set():
                with self._changed:
                    if not self._questions and not self._wanted:
                        self._changed.wait(0.05)
                    questions = [self._questions.popleft() for _ in range(min(AT_ONCE, len(self._questions)))]
                try:
                    if questions:
                        self._answer(questions)
                    elif self._wanted and not self._make_lists():
                        stop.wait(POLL_SECONDS)
                except Exception as error:
                    logger.exception("work for P5 failed, going on with the next")
                    _refuse(questions, error)
                    stop.wait(POLL_SECONDS)
        finally:
            with self._changed:
                self._ended = True
                _refuse(self._questions, Overloaded(ENDED))
                self._questions.clear()

    def _list(self, model: str, query: Query) -> List:
        if not query.history:
            return List(NOT_GENERATED)
        if not query.user:
            return List(NOT_GENERATED, "", "answered without P5, which makes lists for users only")
        key = Key(query.user, model, LISTS)
        result = self.results.latest(key)
        if result is not None and _has_seen(result.as_of, query.as_of):
            return List(result.value, "fresh")
        self._want(key, query.as_of)
        if result is None or _is_of_erased(result, query):
            return List(NOT_GENERATED, "missing", "answered without P5, whose list for this user is being made")
        return List(result.value, "stale", f"answered with P5's list as of {result.as_of}; a newer one is being made")

    def _want(self, key: Key, after: Position | None) -> None:
        with self._changed:
            held = self._wanted.get(key)
            if held is not None and held.after is not None and (after is None or held.after.covers(after)):
                return
            if held is not None or len(self._wanted) < LISTS_MOST:
                self._wanted[key] = _Wanted(after, time.monotonic())
                self._changed.notify()

    def _erase(self, record: Record, now: float) -> None:
        try:
            said = parse_record(record.value, now)
        except InvalidInput:
            return  # the ingest has it among the dead letters
        if isinstance(said, Erasure):
            self.results.erase(said.user, said.at)

    def _answer(self, questions: Sequence[_Question]) -> None:
        """The answers to questions of one model and, for those that remain, of the next."""
        while questions:
            model = questions[0].key.model
            some = [one for one in questions if one.key.model == model and one.future.set_running_or_notify_cancel()]
            questions = [one for one in questions if one.key.model != model]
            worker = self._workers.get(model)
            if worker is None:
                _refuse(some, Overloaded(f"{model} has just been replaced; ask again"))
                continue
            answers = _made(worker.answer, [one.ask for one in some])
            self._on_answers(0, sum(not isinstance(answer, Exception) for answer in answers))
            for one, answer in zip(some, answers, strict=True):
                if isinstance(answer, Exception):
                    one.future.set_exception(answer)
                    continue
                if one.keep:
                    self._keep(one.key, Result(answer, one.as_of, one.oldest))
                one.future.set_result(answer)

    def _make_lists(self) -> bool:
        """Makes the lists that have waited longest, of one model; whether there was any that could be made."""
        with self._changed:
            model = next(iter(self._wanted)).model
            keys = [key for key in self._wanted if key.model == model][: 4 * AT_ONCE]
            wanted = {key: self._wanted.pop(key) for key in keys}
        worker = self._workers.get(model)
        if worker is None:
            return True  # its model is not in use any more
        try:
            histories = dict(zip(keys, self._store.read([key.user for key in keys]), strict=True))
        except (StoreUnavailable, LogUnavailable) as error:
            logger.warning("lists of %d users were not made: %s", len(keys), error)
            return False
        ready: list[Key] = []
        for key, history in histories.items():
            one = wanted[key]
            behind = one.after is not None and (history.as_of is None or not history.as_of.covers(one.after))
            if len(ready) == AT_ONCE or (behind and time.monotonic() - one.since < PATIENCE_SECONDS):
                with self._changed:
                    self._wanted.setdefault(key, one)
            elif history.encoded and self.results.fresh(key, history.as_of) is None:
                ready.append(key)
        queries = [replace(query_of(histories[key]), seen=histories[key].seen) for key in ready]
        for key, generated in zip(ready, _made(worker.generate, queries), strict=True):
            if not isinstance(generated, Exception):
                self._keep(key, Result(generated, histories[key].as_of, histories[key].oldest))
        return bool(ready)

    def _keep(self, key: Key, result: Result) -> None:
        if key.model in self._workers:
            self.results.put(key, result)


def _has_seen(made: Position | None, read: Position | None) -> bool:
    """Whether what was made knows of all that was read; a list may have been made since."""
    return made == read or (made is not None and read is not None and made.covers(read))


def _is_of_erased(result: Result, query: Query) -> bool:
    """Whether a list was made of events that the profile has lost, though it had room for them: an erasure that the log
    has yet to tell of."""
    return result.oldest is not None and query.oldest is not None and result.oldest < query.oldest


def _made(work: Callable[[Sequence[Asked]], Sequence[Made]], asked: Sequence[Asked]) -> list[Made | Exception]:
    """What comes of each; when all together fail, each alone, so that nobody pays for another's."""
    if not asked:
        return []
    try:
        return [made for _, made in zip(asked, work(asked), strict=True)]
    except Exception as error:
        logger.exception("%s of %d failed", getattr(work, "__name__", "work"), len(asked))
        return [error] if len(asked) == 1 else [made for one in asked for made in _made(work, [one])]


def _refuse(questions: Iterable[_Question], error: Exception) -> None:
    """The error to everybody who still waits."""
    for one in questions:
        with suppress(InvalidStateError):  # it is answered, or whoever asked has gone
            one.future.set_exception(error)
