"""`tasteprint summarize`: users whose facts have changed, summarised anew until the log's end, under a budget."""

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from threading import Event as Signal
from typing import Any

from features.errors import InvalidInput
from features.profiles import ProfileStore
from models.language.generator import Completion, Message
from models.language.spending import Metered, Prices, TokenBudget, hold
from models.summaries.computing import items_frame
from models.summaries.kinds import SummaryKind
from services.behind import PATIENCE_SECONDS
from services.console import progress
from services.settings import Settings
from services.summarising import GROUP, SummaryWriter, follow
from services.wiring import backends, open_generator, summary_prompt
from streaming.log import Stream


class Booked:
    """A generator whose spending is entered in the store, by the day, so that the next run of the day knows of it.

    clock: epoch seconds. per_day: tokens that may be spent on a UTC day, by all runs together; a run over midnight goes
    on with the new day's.
    """

    def __init__(
        self, generator: Metered, store: ProfileStore, clock: Callable[[], float], per_day: int | None = None
    ) -> None:
        self._generator = generator
        self._store = store
        self._clock = clock
        self._per_day = per_day

    @property
    def name(self) -> str:
        return self._generator.name

    def generate(self, prompts: Sequence[Sequence[Message]], most: int) -> list[Completion]:
        """As the generator does. Raises BudgetSpent for what is left of the day, and StoreUnavailable."""
        if self._per_day is not None:
            left = self._per_day - self._store.tokens_spent(day_of(self._clock()))
            hold(self._generator, prompts, most, left)
        before = self._generator.spent.tokens
        completions = self._generator.generate(prompts, most)
        self._store.spend_tokens(day_of(self._clock()), self._generator.spent.tokens - before)
        return completions

    def count(self, texts: Sequence[str]) -> list[int]:
        return self._generator.count(texts)


def summarize_users(settings: Settings, kinds: Sequence[str], *, everyone: bool, tokens: int | None) -> dict[str, Any]:
    """Summarises users until the log's end or a signal; what was done, and `problems` when something was not.

    everyone: users of the whole log. tokens: that may be spent at most, even where more is left of the day's. Raises
    InvalidInput for a kind that there is not, LogUnavailable when another process is summarising, and what opening the
    generator does.
    """
    chosen = [_kind(name) for name in kinds]
    generator = open_generator(settings)
    stop, start = Signal(), time.perf_counter()
    with backends(settings) as opened, closing(opened.log.consumer(Stream.EVENTS, GROUP)) as consumer:
        for signalled in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signalled, lambda *_: stop.set())
        store = opened.patient
        prices = Prices(settings.generator_price_in, settings.generator_price_out)
        budget = None if tokens is None else TokenBudget(tokens)
        metered = None if generator is None else Metered(generator, budget, prices)
        booked = None if metered is None else Booked(metered, store, time.time, settings.summary_tokens_per_day)
        prompt = summary_prompt(settings)
        writer = SummaryWriter(store, items_frame(store.items()), chosen, booked, time.time, prompt)
        with progress("summarising") as advance:
            read = 0

            def report(records: int) -> None:
                nonlocal read
                read += records
                advance(read, read + consumer.lag(), "")

            left = follow(
                consumer, store, writer, stop, from_beginning=everyone, patience=PATIENCE_SECONDS, report=report
            )
    problems = [
        f"{count} summaries lack the generator's words: {problem}" for problem, count in writer.problems.items()
    ]
    if left:
        problems.append(f"{left} events are not in the profiles yet; `tasteprint ingest --until-end` applies them")
    if stop.is_set():
        problems.append("stopped before the end; the next run goes on")
    counts = writer.counts
    spent = None if metered is None else metered.spent
    return {
        "kinds": [kind.value for kind in chosen],
        "generator": None if generator is None else generator.name,
        "users": counts["users"],
        "unchanged": counts["unchanged"],
        "written": counts["by_model"] + counts["by_template"],
        "by_model": counts["by_model"],
        "by_template": counts["by_template"],
        "stale": counts["stale"],
        "overtaken": counts["overtaken"],
        "tokens_in": spent.input_tokens if spent else 0,
        "tokens_out": spent.output_tokens if spent else 0,
        "cost": spent.cost if spent else 0.0,
        "not_applied": left,
        "seconds": round(time.perf_counter() - start, 3),
        "problems": problems,
    }


def day_of(now: float) -> str:
    """The UTC day of a time in epoch seconds."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def _kind(name: str) -> SummaryKind:
    try:
        return SummaryKind(name)
    except ValueError:
        raise InvalidInput("kind", f"{name!r} was given; there are {', '.join(SummaryKind)}") from None
