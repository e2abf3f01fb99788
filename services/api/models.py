"""GET /v1/models: which model answers."""

import orjson
from fastapi import APIRouter, Response

from services.serving import Serving


def router(serving: Serving) -> APIRouter:
    routes = APIRouter(tags=["models"])

    @routes.get("/v1/models")
    async def get_models() -> Response:
        """The bundle in use with its manifest: what it was fitted on, when, and how its parts are weighed."""
        bundle = serving.bundle
        answer = {
            "in_use": serving.recommender.pipeline.model,
            "manifest": None if bundle is None else bundle.manifest,
        }
        return Response(orjson.dumps(answer), media_type="application/json")

    return routes
