"""GET /v1/models: which model answers."""

from dataclasses import asdict
from typing import Final

import orjson
from fastapi import APIRouter, Response

from services.api.bodies import answers
from services.serving import Serving

_ANSWER: Final = {
    "in_use": "counts-8b224d4a0a76553e",
    "since": 1700000000.0,
    "refused": None,
    "manifest": {"name": "counts-8b224d4a0a76553e", "kind": "counts", "fit": "serve", "seed": 0},
}


def router(serving: Serving) -> APIRouter:
    routes = APIRouter(tags=["models"])

    @routes.get("/v1/models", responses=answers(_ANSWER))
    async def get_models() -> Response:
        """The bundle that answers with its manifest: what it was fitted on, how its parts are weighed, and since when
        (epoch seconds) it has answered here. `refused`: a bundle that was promoted and not taken up, and why. While an
        experiment is set, `experiment` says which model answers for each variant, or why it is off."""
        answering = serving.answering
        bundle = None if answering.served is None else answering.served.bundle
        answer = {
            "in_use": "popularity" if bundle is None else bundle.name,
            "since": answering.since,
            "refused": None if answering.refused is None else asdict(answering.refused),
            "manifest": None if bundle is None else bundle.manifest,
        }
        recommender = serving.recommender
        if recommender.variants is not None:
            answer["experiment"] = recommender.variants.described(recommender.pipeline, recommender.popular)
        return Response(orjson.dumps(answer), media_type="application/json")

    return routes
