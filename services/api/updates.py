"""A user's weight update: back to the frozen model."""

import asyncio
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Path, Response

from features.events import UserId
from features.wire import ID_LENGTH
from services.api.bodies import answers
from services.serving import Serving

UserPath = Annotated[str, Path(min_length=1, max_length=ID_LENGTH)]

_RESET: Final = {"user_id": "196", "reset": 1}


def router(serving: Serving) -> APIRouter:
    routes = APIRouter(tags=["users"])

    @routes.delete("/v1/users/{user_id:path}/update", responses=answers(_RESET))
    async def delete_update(user_id: UserPath) -> Response:
        """Takes back what the user's events have changed in the language model's weights.

        The frozen model answers from now on, until new events have made another update; those from before do not count
        again, unless an operator has all updates made anew. `reset` is of how many adapters' updates.
        """
        reset = await asyncio.to_thread(serving.reset_update, UserId(user_id))
        return Response(orjson.dumps({"user_id": user_id, "reset": reset}), media_type="application/json")

    return routes
