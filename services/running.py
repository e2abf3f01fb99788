"""The long-running processes: start, run until a signal, drain."""

import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing
from threading import Event as Signal
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from features.errors import CannotListen, UnknownName
from services.ingesting import start_ingest
from services.live import items_of, tail
from services.metrics import Metrics
from services.observing import observed
from services.settings import Settings
from services.threads import Threads
from services.wiring import backends
from streaming.ingest import Applied
from streaming.log import Record, Stream

if TYPE_CHECKING:
    from services.encode import Encoded, Form, Made, SoftPrompts, Vectors

GC_OBJECTS: Final = 50_000
SWITCH_SECONDS: Final = 0.001  # how long a background thread may keep a request waiting for the interpreter

_NO_ENCODER: Final = "no bundle with an encoder is in use; train one with `tasteprint train encoder`"
_NO_SOFT_PROMPT: Final = (
    "no soft prompt that is the same for every question is in use; train one with `tasteprint train soft-prompt`"
)

logger = logging.getLogger(__name__)


def run_server(settings: Settings, *, ingest: bool) -> None:
    """Serves until SIGTERM or SIGINT; then answers what has come in, applies what is in hand, and closes."""
    from services.api.app import create_app
    from services.serving import Serving

    # A request makes a few hundred objects and none in a cycle: look for garbage seldom, or it is looked for in every
    # few requests, through the whole catalogue.
    gc.set_threshold(GC_OBJECTS, 20, 50)
    # The server drains at a signal and then raises it again, which would end the process before anything is closed.
    for signalled in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signalled, lambda *_: sys.exit(0))
    sys.setswitchinterval(SWITCH_SECONDS)
    with backends(settings) as opened:
        serving = Serving(settings, opened, time.time, ingest=ingest)
        config = uvicorn.Config(
            create_app(serving),
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http="httptools",
            access_log=False,  # paths hold user ids; the metrics count routes
            log_config=None,
            server_header=False,
            proxy_headers=False,  # nothing here depends on the client's address
            timeout_graceful_shutdown=settings.drain_seconds,
        )
        with _listening(settings) as listening, serving:  # a port in use ends it here, before anything is read
            host, port = listening.getsockname()[:2]
            logger.info("serving on http://%s:%d, documented at /docs", f"[{host}]" if ":" in host else host, port)
            uvicorn.Server(config).run(sockets=[listening])


def _listening(settings: Settings) -> socket.socket:
    address = (settings.host, settings.port)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise CannotListen(f"{address[0]} port {address[1]}: {error.strerror}; choose another with --port") from error


def run_ingest(settings: Settings, *, until_end: bool) -> dict[str, Any]:
    """Applies the log until a signal comes or, with until_end, until nothing is left; counts by stream."""
    threads, metrics = Threads(), Metrics()
    counts: dict[str, Any] = {"events": 0, "items": 0, "dead_letters": 0}

    def report(applied: Applied) -> None:
        metrics.applied(applied)
        counts[applied.stream.value] += applied.records
        counts["dead_letters"] += applied.dead

    start = time.perf_counter()
    with backends(settings) as opened, observed(settings, metrics, threads.problems):
        for signalled in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signalled, lambda *_: threads.stop.set())
        start_ingest(opened, threads, time.time, report, until_end=until_end)
        threads.join()
    counts["seconds"] = round(time.perf_counter() - start, 3)
    counts["problems"] = threads.problems()
    return counts


def run_encode(settings: Settings, *, until_end: bool, soft_prompts: bool = False) -> dict[str, Any]:
    """Keeps users' vectors, or their soft prompts, fresh until a signal comes or, with until_end, until the log's end;
    what was done.

    Raises UnknownName when there is no bundle with an encoder, or no soft prompt, and none is waited for;
    LogUnavailable when another process is encoding already.
    """
    from services.encode import GROUP, SOFT_PROMPTS_GROUP

    metrics = Metrics()
    with observed(settings, metrics):
        if soft_prompts:
            current, count = _soft_prompts(settings), metrics.encode_soft_prompts
            return _run_encode(settings, SOFT_PROMPTS_GROUP, current, _NO_SOFT_PROMPT, until_end, count)
        return _run_encode(settings, GROUP, _vectors(settings, metrics), _NO_ENCODER, until_end, metrics.encode)


def _run_encode(
    settings: Settings,
    group: str,
    current: Callable[[], "Form[Made] | None"],
    missing: str,
    until_end: bool,
    count: "Callable[[Encoded], None]",
) -> dict[str, Any]:
    from services.encode import Encoded, follow

    stop, done, start = Signal(), Encoded(), time.perf_counter()

    def report(encoded: Encoded) -> None:
        nonlocal done
        done += encoded
        count(encoded)

    if until_end and current() is None:
        raise UnknownName(missing)
    with backends(settings) as opened, closing(opened.log.consumer(Stream.EVENTS, group)) as consumer:
        for signalled in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signalled, lambda *_: stop.set())
        left = follow(consumer, opened.patient, current, stop, until_end=until_end, report=report)
    return {
        "events": done.records,
        "users": done.users,
        "written": done.written,
        "failed": done.failed,
        "not_applied": left,
        "seconds": round(time.perf_counter() - start, 3),
    }


def run_adapt(settings: Settings, *, until_end: bool, rebuild: bool = False) -> dict[str, Any]:
    """Keeps users' weight updates fresh until a signal comes or, with until_end, until the log's end; what was done.

    rebuild: forgets all updates first, and makes them anew from the log's beginning. Raises ModelMissing when no stream
    adapter is in use and none is waited for; LogUnavailable when another process is adapting already.
    """
    from models.catalogue import Catalogue
    from services.adapt import GROUP, Adapted, Adapting, lines
    from services.behind import follow
    from services.stream_adapters import FollowingStreamAdapter

    threads, metrics, done, start = Threads(), Metrics(), Adapted(), time.perf_counter()
    following, catalogue = FollowingStreamAdapter(settings), Catalogue()
    following.look()
    if until_end or rebuild:
        following.in_use()

    def report(adapted: Adapted) -> None:
        nonlocal done
        done += adapted
        metrics.adapt(adapted)

    def take_items(records: list[Record]) -> None:
        catalogue.put(items_of(records, time.time()))

    with (
        observed(settings, metrics, threads.problems),
        backends(settings) as opened,
        closing(opened.log.consumer(Stream.EVENTS, GROUP)) as consumer,
        closing(opened.log.consumer(Stream.ITEMS, None)) as items,
    ):
        for signalled in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signalled, lambda *_: threads.stop.set())
        store = opened.patient
        forgotten = store.forget_updates(GROUP) if rebuild else 0
        catalogue.put(store.items())
        threads.start("following items", lambda: tail(items, take_items, threads.stop, Signal()))

        def current() -> Adapting | None:
            following.look()
            loaded = following.model
            if loaded is None:
                return None
            return Adapting(loaded.adapter, loaded.version, lines(catalogue), store)

        left = follow(consumer, store, current, threads.stop, until_end=until_end, report=report)
        threads.close(settings.drain_seconds)
    return {
        "events": done.records,
        "users": done.users,
        "refused": done.refused,
        "failed": done.failed,
        "forgotten": forgotten,
        "not_applied": left,
        "seconds": round(time.perf_counter() - start, 3),
    }


def _vectors(settings: Settings, metrics: Metrics) -> "Callable[[], Vectors | None]":
    """Those of the bundle in use."""
    from models.catalogue import Catalogue
    from services.encode import Vectors
    from services.served import Following

    bundles = Following(settings, Catalogue(), time.time, metrics)
    bundles.start()

    def current() -> Vectors | None:
        bundles.look()
        served = bundles.answering.served
        return None if served is None else Vectors.of(served.pipeline)

    return current


def _soft_prompts(settings: Settings) -> "Callable[[], SoftPrompts | None]":
    """Those of the soft prompt in use."""
    from services.encode import SoftPrompts
    from services.soft_prompts import FollowingSoftPrompt

    following = FollowingSoftPrompt(settings)

    def current() -> SoftPrompts | None:
        following.look()
        return SoftPrompts.of(following.prompter)

    return current
