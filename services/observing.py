"""What a worker without an API shows over HTTP: at /metrics what it counts, at /livez whether its threads still run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import orjson

from features.errors import CannotListen
from services.metrics import Metrics
from services.settings import Settings


@contextmanager
def observed(
    settings: Settings, metrics: Metrics, problems: Callable[[], list[str]] = lambda: []
) -> Iterator[int | None]:
    """Answers on the port that the settings name, which it yields, until the block ends; without one it shows nothing.

    problems: what has stopped for good: /livez is a 503 with them, for whoever runs the process to start it anew.
    Raises CannotListen.
    """
    if settings.metrics_port is None:
        yield None
        return

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, *metrics.expose())
            elif self.path == "/livez":
                found = problems()
                body = {"status": "not alive" if found else "ok", "problems": found}
                self._answer(503 if found else 200, orjson.dumps(body), "application/json")
            else:
                self._answer(404, b"there are /metrics and /livez\n", "text/plain")

        def _answer(self, status: int, content: bytes, media_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, template: str, *args: object) -> None:
            """Says nothing: somebody asks every few seconds."""

    try:
        server = ThreadingHTTPServer((settings.host, settings.metrics_port), Handler)
    except OSError as error:
        raise CannotListen(
            f"{settings.host} port {settings.metrics_port}: {error.strerror}; choose another as metrics_port"
        ) from error
    server.daemon_threads = True
    with server:
        answering = Thread(target=server.serve_forever, name="showing metrics", daemon=True)
        answering.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            answering.join()
