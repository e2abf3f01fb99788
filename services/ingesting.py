"""The ingest service: both streams into the store, and the store's file rewritten after an erasure."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from threading import Event as Signal
from typing import Final

from features.profiles import ProfileStore
from services.threads import Threads
from services.wiring import Backends
from streaming.ingest import Applied, Prepare, follow, into_catalogue, into_profiles
from streaming.log import Consumer, Stream

GROUP: Final = "ingest"
REWRITE_SECONDS: Final = 0.2  # between two tries to have the append-only file rewritten


def start_ingest(
    backends: Backends,
    threads: Threads,
    clock: Callable[[], float],
    report: Callable[[Applied], None],
    *,
    until_end: bool = False,
) -> None:
    """Starts one consumer a stream in `threads`; with until_end they end when nothing is left to read.

    Raises LogUnavailable when another process is ingesting from this log already.
    """
    erasures = Signal()

    def reported(applied: Applied) -> None:
        if applied.erased:
            erasures.set()
        report(applied)

    def start(stream: Stream, consumer: Consumer, prepare: Prepare) -> None:
        def run() -> None:
            with closing(consumer):
                follow(consumer, prepare, backends.patient, GROUP, threads.stop, until_end=until_end, report=reported)

        threads.start(f"ingest of {stream}", run)

    with ExitStack() as opened:  # both consumers or none
        events = opened.enter_context(closing(backends.log.consumer(Stream.EVENTS, GROUP)))
        items = opened.enter_context(closing(backends.log.consumer(Stream.ITEMS, GROUP)))
        opened.pop_all()
    start(Stream.EVENTS, events, into_profiles(backends.patient, backends.dead_letters, clock))
    start(Stream.ITEMS, items, into_catalogue(backends.patient, backends.dead_letters, clock))
    if backends.owns_store and not until_end:
        threads.start("rewriting after erasures", lambda: _rewrite(backends.patient, erasures, threads.stop))


def _rewrite(store: ProfileStore, erasures: Signal, stop: Signal) -> None:
    """After erasures, has the store's append-only file rewritten: what was erased stands in it until then."""
    while not stop.wait(REWRITE_SECONDS):
        if erasures.is_set() and store.rewrite_append_only_file():
            erasures.clear()
