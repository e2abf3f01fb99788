"""GET /v1/models: which model answers."""

from typing import Final

import orjson
from fastapi import APIRouter, Response

from services.api.bodies import answers
from services.serving import Serving

_ANSWER: Final = {
    "in_use": "counts-8b224d4a0a76553e",
    "manifest": {"name": "counts-8b224d4a0a76553e", "kind": "counts", "fit": "serve", "seed": 0},
}


def router(serving: Serving) -> APIRouter:
    routes = APIRouter(tags=["models"])

    @routes.get("/v1/models", responses=answers(_ANSWER))
    async def get_models() -> Response:
        """The bundle in use with its manifest: what it was fitted on, when, and how its parts are weighed."""
        bundle = serving.bundle
        answer = {
            "in_use": serving.recommender.pipeline.model,
            "manifest": None if bundle is None else bundle.manifest,
        }
        return Response(orjson.dumps(answer), media_type="application/json")

    return routes
