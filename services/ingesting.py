"""The ingest service: both streams into the store, and the store's file rewritten after an erasure."""

from collections.abc import Callable
from threading import Event as Signal
from typing import Final

from features.profiles import ProfileStore
from services.threads import Threads
from services.wiring import Backends
from streaming.ingest import Applied, follow, into_catalogue, into_profiles
from streaming.log import Stream

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

    for stream, prepare in (
        (Stream.EVENTS, into_profiles(backends.patient, backends.dead_letters, clock)),
        (Stream.ITEMS, into_catalogue(backends.patient, backends.dead_letters, clock)),
    ):
        consumer = backends.log.consumer(stream, GROUP)

        def run(consumer=consumer, prepare=prepare) -> None:  # type: ignore[no-untyped-def]
            try:
                follow(
                    consumer,
                    prepare,
                    backends.patient,
                    GROUP,
                    threads.stop,
                    until_end=until_end,
                    report=reported,
                )
            finally:
                consumer.close()

        threads.start(f"ingest of {stream}", run)
    if backends.owns_store and not until_end:
        threads.start("rewriting after erasures", lambda: _rewrite(backends.patient, erasures, threads.stop))


def _rewrite(store: ProfileStore, erasures: Signal, stop: Signal) -> None:
    """After erasures, has the store's append-only file rewritten: what was erased stands in it until then."""
    while not stop.wait(REWRITE_SECONDS):
        if erasures.is_set() and store.rewrite_append_only_file():
            erasures.clear()
