"""Liveness, readiness and metrics."""

import asyncio

import orjson
from fastapi import APIRouter, Response

from features.errors import StoreUnavailable
from services.serving import Serving


def router(serving: Serving) -> APIRouter:
    routes = APIRouter(tags=["operation"])

    @routes.get("/livez")
    async def live() -> Response:
        """Whether the process runs; it says nothing about what it depends on."""
        return Response(b'{"status":"ok"}', media_type="application/json")

    @routes.get("/readyz")
    async def ready() -> Response:
        """Whether requests should be sent here: the store answers, and the catalogue is loaded. `degraded` says what
        the answers do without."""
        problems = serving.problems()
        try:
            await asyncio.to_thread(serving.store.ping)
        except StoreUnavailable as error:
            problems.append(str(error))
        body = {
            "status": "not ready" if problems else "ok",
            "problems": problems,
            "degraded": serving.degraded(),
        }
        return Response(orjson.dumps(body), 503 if problems else 200, media_type="application/json")

    @routes.get("/metrics")
    async def metrics() -> Response:
        """Prometheus metrics."""
        content, media_type = serving.metrics.expose()
        return Response(content, media_type=media_type)

    return routes
