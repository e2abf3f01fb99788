"""The FastAPI application: routes, errors, and a line of metrics for each request."""

import time
from typing import Final
from urllib.parse import unquote_to_bytes

from fastapi import FastAPI, Response
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api import (
    events,
    health,
    items,
    models,
    problems,
    prompts,
    recommendations,
    soft_prompts,
    summaries,
    tasks,
    updates,
    users,
)
from services.metrics import Metrics
from services.serving import Serving

DESCRIPTION = """Events in; profiles, recommendations and rankings out.

Errors are RFC 9457 problem details; a 422 names the `field` that is wrong. Every answer about a user carries `as_of`,
the log position of the last event it knows of.
"""


def create_app(serving: Serving) -> FastAPI:
    """The application over parts that have been started."""
    app = FastAPIOffline(title="Tasteprint", version="1", description=DESCRIPTION, redoc_url=None)
    problems.install(app)
    # The busiest first, and users last: its shortest route would take the longer ones of the others for ids. Laid flat,
    # since a router within a router is searched twice for each request.
    modules = (recommendations, events, items, models, health, tasks, summaries, prompts, soft_prompts, updates, users)
    app.router.routes[:0] = [route for module in modules for route in module.router(serving).routes]
    app.add_middleware(Measured, metrics=serving.metrics)
    return app


class Measured:
    """Counts and times every request by its route, not its path: paths hold user ids."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        start = time.perf_counter()
        try:
            refusal = _unreadable(scope)
            await (refusal or self._app)(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.answered(scope["method"], route, status, time.perf_counter() - start)


def _unreadable(scope: Scope) -> Response | None:
    """The refusal of a path that would name somebody else: no UTF-8, or an escaped slash before the name of a route."""
    path, raw = scope["path"], scope["raw_path"]
    field = "item_id" if path.startswith("/v1/items/") else "user_id"
    if b"%" not in raw:
        return None
    try:
        unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        return problems.problem(422, "Invalid input", f"{field}: the path is not UTF-8", field=field)
    if path.endswith(_SUFFIXES) and not raw.decode("ascii", "replace").endswith(_SUFFIXES):
        detail = f"{field}: an id that ends in {' or '.join(_SUFFIXES)} cannot stand in a path"
        return problems.problem(422, "Invalid input", detail, field=field)
    return None


_SUFFIXES: Final = (
    "/history",
    "/recommendations",
    "/similar",
    "/summary",
    "/prompt",
    "/soft-prompt",
    "/ask",
    "/update",
    *(f"/tasks/{task.family}" for task in tasks.TASKS),
)
