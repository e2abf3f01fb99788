"""Keeps summaries as the facts are: who comes up in the log is summarised anew when the facts have changed materially.

It is a consumer group of the events stream that stays behind the ingest. Of each user's profile the facts are computed;
where a version of facts with the same digest is kept, it is stamped with what the profile has seen, its numbers are put
right by template, and no generator is asked. Else a generator phrases the facts, or the template where there is no
generator. A generator that does not answer, has nothing left to spend or fails the check with a whole batch leaves the
last good summary, marked stale; who has none is given the template's, marked as well. A text of the facts as they are
is not stale: a template's that a generator should have put in its own words stays as it is.

A mark belongs to the kinds and the generator of a run: another generator starts at the beginning of the log, and writes
what only the template has written so far. It is written after the summaries, and no more once something is left to be
written, which the next run therefore comes back to.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from threading import Event as Signal
from typing import Final

import polars as pl

from features.errors import BudgetSpent, GeneratorUnavailable, InvalidInput, LogUnavailable, StoreUnavailable
from features.events import UserId
from features.history import UserHistory
from features.profile import Claim, Position, StoredSummary, UserSummary
from features.profiles import ProfileStore
from features.summaries import with_version
from models.language.generator import TextGenerator
from models.summaries.computing import facts_of, frame_of
from models.summaries.fact import Fact, digest
from models.summaries.instructing import DEFAULT_PROMPT, SummaryPrompt
from models.summaries.kinds import SummaryKind, chosen
from models.summaries.summarising import TEMPLATE, Summariser, Written, restated
from models.summaries.wording import from_template
from services.behind import BATCH, PATIENCE_SECONDS, POLL_SECONDS, Fresh, behind, checkpoint, settled
from streaming.ingest import RETRY_SECONDS, WAIT_SECONDS, resume
from streaming.log import Consumer, Record

GROUP: Final = "summarize"
READ_AT_ONCE: Final = 256  # users whose facts are computed together
AT_ONCE: Final = 64  # summaries that are written together, and stored before others are begun
DOUBTED_LEAST: Final = 16  # texts of a batch, not one of which stands the check, before the generator is doubted
FALLEN: Final = "nothing that the generator wrote stood the check"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Due:
    """A summary to be looked at. facts: what it tells. corrected: keys of those that operators speak of themselves.
    stored: what is kept of this kind."""

    history: UserHistory
    as_of: Position
    kind: SummaryKind
    facts: tuple[Fact, ...]
    corrected: frozenset[str]
    stored: StoredSummary

    @property
    def to_phrase(self) -> tuple[Fact, ...]:
        """The facts that may be given to a generator."""
        return tuple(fact for fact in self.facts if fact.key not in self.corrected)

    @property
    def kept(self) -> UserSummary | None:
        """The version that was made of facts with this digest, its stamp, evidence and numbers those of now."""
        made_of = digest(self.facts)
        held = next((version for version in self.stored.versions if version.facts == made_of), None)
        return held and restated(held, self.facts, self.as_of)

    def version(self, claims: Iterable[Claim], model: str, prompt: str, now: float) -> UserSummary:
        """A version of these claims; the template's sentences of corrected facts stand behind them."""
        aside = [claim for fact in self.facts if fact.key in self.corrected for claim in from_template([fact])]
        return UserSummary(self.kind, (*claims, *aside), digest(self.facts), model, prompt, now, self.as_of)

    def by_template(self, now: float) -> UserSummary:
        """A version that no generator was asked for."""
        return self.version(from_template(self.to_phrase), TEMPLATE, "", now)


class SummaryWriter:
    """Writes the summaries of users whose facts have changed.

    items: as `facts_of` reads them. clock: epoch seconds. problems: why the generator's words are missing, and of how
    many summaries.

    counts: "users" who were looked at; then summaries, one a user and kind: "unchanged"; written "by_model" and
    "by_template"; "stale", which the generator should have written (where nothing was kept by template, and counted
    there too); "overtaken", not stored since the user was erased or somebody else has written meanwhile.
    """

    def __init__(
        self,
        store: ProfileStore,
        items: pl.DataFrame,
        kinds: Iterable[SummaryKind],
        generator: TextGenerator | None,
        clock: Callable[[], float],
        prompt: SummaryPrompt = DEFAULT_PROMPT,
        at_once: int = AT_ONCE,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.problems: Counter[str] = Counter()
        self._store = store
        self._items = items
        self._kinds = tuple(sorted(set(kinds)))
        self._generator = generator
        self._summariser = Summariser(generator, prompt)
        self._prompt = prompt.version
        self._clock = clock
        self._at_once = at_once
        self._refusal = ""  # why the generator is not asked any more

    @property
    def group(self) -> str:
        """Whose mark it is."""
        return f"{GROUP}:{'+'.join(self._kinds)}:{TEMPLATE if self._generator is None else self._generator.name}"

    def summarise(self, users: Sequence[UserId], fresh: Fresh, stop: Signal) -> None:
        """Looks at these users' facts, and stores what has to be written anew; ends early when `stop` is set.

        What the users' summaries have seen goes into `fresh`. Raises StoreUnavailable; the same call may be repeated.
        """
        seen: Fresh = {}
        waiting: dict[SummaryKind, list[_Due]] = {kind: [] for kind in self._kinds}
        for first in range(0, len(users), READ_AT_ONCE):
            for one in self._unphrased(users[first : first + READ_AT_ONCE], seen):
                due = waiting[one.kind]
                due.append(one)
                if len(due) == self._at_once:
                    self._phrase(due)
                    due.clear()
                if stop.is_set():
                    return
        for due in waiting.values():
            if due and not stop.is_set():
                self._phrase(due)
        fresh |= seen

    def _unphrased(self, users: Sequence[UserId], seen: Fresh) -> list[_Due]:
        """The summaries that are for the generator; the others are stored."""
        unphrased, kept, made = list[_Due](), list[tuple[_Due, StoredSummary]](), list[tuple[_Due, StoredSummary]]()
        for one in self._read(users):
            seen[one.history.user] = one.as_of
            held = one.kept
            if held is not None and (held.prompt or self._generator is None):
                kept.append((one, with_version(one.stored, held)))
            elif self._generator is None or not one.to_phrase:
                made.append((one, with_version(one.stored, one.by_template(self._clock()))))
            else:
                unphrased.append(one)
        self._write(kept, "unchanged")
        self._write(made, "by_template")
        return unphrased

    def _read(self, users: Sequence[UserId]) -> Iterator[_Due]:
        """Each kind of each user who has facts. The key of an erasure is no user's, and has none."""
        read = self._store.read_with_summaries(users)
        facts = facts_of(frame_of(history for history, _ in read), self._items)
        for history, said in read:
            told = facts.get(history.user)
            if not told or history.as_of is None:
                continue
            self.counts["users"] += 1
            corrected = frozenset(one.fact for one in said.corrections)
            for kind in self._kinds:
                if of_kind := chosen(told, kind):
                    yield _Due(history, history.as_of, kind, of_kind, corrected, said.of(kind))

    def _phrase(self, due: Sequence[_Due]) -> None:
        """Has the generator write summaries of one kind, and stores them.

        A batch that is more than may be spent, or in which a prompt is longer than the generator reads, is divided.
        """
        if self._refusal:
            self._leave(due, self._refusal)
            return
        try:
            written = self._summariser.summarise([one.to_phrase for one in due], due[0].kind)
        except (BudgetSpent, InvalidInput) as error:
            if len(due) > 1:
                self._phrase(due[: len(due) // 2])
                self._phrase(due[len(due) // 2 :])
            elif isinstance(error, BudgetSpent):
                self._refuse(due, error)
            else:
                self._take(due, Summariser().summarise([due[0].to_phrase], due[0].kind))
        except GeneratorUnavailable as error:
            self._refuse(due, error)
        else:
            if len(due) >= DOUBTED_LEAST and all(one.model == TEMPLATE for one in written):
                self._doubt(due, written)
            else:
                self._take(due, written)

    def _refuse(self, due: Sequence[_Due], error: Exception) -> None:
        logger.warning("the generator is not asked any more: %s", error)
        self._refusal = str(error)
        self._leave(due, self._refusal)

    def _doubt(self, due: Sequence[_Due], written: Sequence[Written]) -> None:
        """Not one of many texts has stood the check, so the generator is not itself: what was said before stays.

        The template's is taken for those of whom that was so the last time, and for those of whom it is said already.
        """
        is_taken = [one.stored.stale == FALLEN or one.kept is not None for one in due]
        self._take(list(compress(due, is_taken)), list(compress(written, is_taken)))
        self._leave([one for one, is_over in zip(due, is_taken, strict=True) if not is_over], FALLEN)
        self._refusal = FALLEN

    def _take(self, due: Sequence[_Due], written: Sequence[Written]) -> None:
        """Stores what was written."""
        by_model, by_template = list[tuple[_Due, StoredSummary]](), list[tuple[_Due, StoredSummary]]()
        for one, words in zip(due, written, strict=True):
            version = one.version(words.claims, words.model, self._prompt, self._clock())
            (by_template if words.model == TEMPLATE else by_model).append((one, with_version(one.stored, version)))
        self._write(by_model, "by_model")
        self._write(by_template, "by_template")

    def _leave(self, due: Sequence[_Due], problem: str) -> None:
        """Marks what is kept as stale, but for a text of the facts as they are, which gets no mark.

        Where nothing is kept, the template's is stored, and marked; that mark stays.
        """
        current, kept, made = (list[tuple[_Due, StoredSummary]]() for _ in range(3))
        for one in due:
            held = one.kept
            if held is not None:
                to_store = with_version(one.stored, held)
                if one.stored.stale and one.stored.versions[0].facts == held.facts:
                    kept.append((one, replace(to_store, stale=problem)))
                else:
                    current.append((one, to_store))
            elif one.stored.versions:
                kept.append((one, replace(one.stored, stale=problem)))
            else:
                made.append((one, replace(with_version(one.stored, one.by_template(self._clock())), stale=problem)))
        if due:
            self.problems[problem] += len(due)
        self._write(current, "unchanged")
        self._write(kept, "stale")
        self._write(made, "stale", "by_template")

    def _write(self, summaries: Sequence[tuple[_Due, StoredSummary]], *counted: str) -> None:
        """Stores what is not as it is stored already, and counts what is."""
        changed: list[tuple[UserHistory, Mapping[str, StoredSummary]]] = [
            (one.history, {one.kind: to_store}) for one, to_store in summaries if to_store != one.stored
        ]
        overtaken = self._store.write_summaries(changed).count(False)
        self.counts.update(dict.fromkeys(counted, len(summaries) - overtaken) | {"overtaken": overtaken})


def follow(
    consumer: Consumer,
    store: ProfileStore,
    writer: SummaryWriter,
    stop: Signal,
    *,
    from_beginning: bool = False,
    patience: float = PATIENCE_SECONDS,
    report: Callable[[int], None] = lambda records: None,
) -> int:
    """Summarises the users of what the consumer reads, to the log's end; how many records it leaves to the ingest.

    from_beginning: of the whole log, and not from the mark on. It returns when nothing is left to read, when the ingest
    has not come further for `patience` seconds, or when `stop` is set. While the log or the store does not answer, it
    tries again every RETRY_SECONDS. report: is given the number of records of each batch when it is done.
    """
    group = f"{writer.group}:{consumer.stream}"
    if from_beginning:
        for partition in consumer.partitions:
            consumer.seek(partition, offset=0)
    else:
        resume(consumer, store, group, stop)
    held, moved = list[Record](), time.monotonic()
    fresh: Fresh = {}
    while not stop.is_set():
        try:
            if len(held) < BATCH:
                held += consumer.read(BATCH - len(held), 0.0 if held else WAIT_SECONDS)
            done, waiting = settled(held, store)
            if done:
                writer.summarise(behind(done, fresh), fresh, stop)
                if stop.is_set():  # in the middle of it
                    break
                if not writer.problems:
                    checkpoint(done, consumer, store, group)
                report(len(done))
                held, moved = waiting, time.monotonic()
            elif not held or time.monotonic() - moved > patience:
                break
            else:
                stop.wait(POLL_SECONDS)
        except (StoreUnavailable, LogUnavailable) as error:
            logger.warning("users were not summarised, trying again: %s", error)
            stop.wait(RETRY_SECONDS)
    return len(held)
