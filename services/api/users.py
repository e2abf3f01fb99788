"""Users: who they are to us, what they did, and forgetting them."""

import asyncio
import math
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Path, Query, Response

from features.errors import InvalidInput
from features.events import UserId, encode_event
from features.wire import ID_LENGTH
from services.api.bodies import answers
from services.serving import Serving

UserPath = Annotated[str, Path(min_length=1, max_length=ID_LENGTH)]


_HISTORY: Final = {
    "user_id": "196",
    "events": [
        {
            "event_id": "ml-100k-87863",
            "user_id": "196",
            "item_id": "110",
            "type": "rating",
            "value": 1.0,
            "timestamp": 881252305.0,
        }
    ],
    "next_cursor": "881252305.0:ml-100k-87863",
    "as_of": "2c52b2d9d302:1:21850",
}
_USER: Final = {
    "user_id": "196",
    "events": 39,
    "items_seen": 39,
    "first_at": 881250949.0,
    "last_at": 881252305.0,
    "as_of": "2c52b2d9d302:1:21850",
}
_ERASED: Final = {"erased": True, "log_records": 41, "dead_letters": 0, "position": "2c52b2d9d302:2:28354"}


def router(serving: Serving) -> APIRouter:
    routes = APIRouter(tags=["users"])

    @routes.get("/v1/users/{user_id:path}/history", responses=answers(_HISTORY))
    async def history(
        user_id: UserPath,
        limit: Annotated[int, Query(ge=1, le=500, description="How many events.")] = 50,
        cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    ) -> Response:
        """The user's events, newest first, as they were sent; an unknown user has none."""
        before = _parse_cursor(cursor)
        [found] = await asyncio.to_thread(serving.store.read, [UserId(user_id)])
        newest_first = [e for e in reversed(found.events) if before is None or (e.at, e.id) < before]
        page = newest_first[:limit]
        answer: dict[str, Any] = {
            "user_id": user_id,
            "events": [orjson.Fragment(encode_event(event)) for event in page],
            "next_cursor": f"{page[-1].at!r}:{page[-1].id}" if len(newest_first) > limit else None,
            "as_of": None if found.as_of is None else str(found.as_of),
        }
        return Response(orjson.dumps(answer), media_type="application/json")

    @routes.get("/v1/users/{user_id:path}", responses=answers(_USER))
    async def user(user_id: UserPath) -> Response:
        """The user's profile in a few numbers; an unknown user has an empty one."""
        [found] = await asyncio.to_thread(serving.store.read, [UserId(user_id)])
        events = found.events
        answer = {
            "user_id": user_id,
            "events": len(events),
            "items_seen": len(found.seen),
            "first_at": events[0].at if events else None,
            "last_at": events[-1].at if events else None,
            "as_of": None if found.as_of is None else str(found.as_of),
        }
        return Response(orjson.dumps(answer), media_type="application/json")

    @routes.delete("/v1/users/{user_id:path}", status_code=202, responses=answers(_ERASED, 202))
    async def delete_user(user_id: UserPath) -> Response:
        """Forgets the user: events, impressions, dead letters and profile, on disk too.

        Accepted means that the log has forgotten and that the order to forget is in it; the profile follows within a
        moment. Events from before the erasure that arrive later are dropped. Trained models are not retrained.
        The embedded log is written anew, about three seconds for a million records, while new events wait.
        """
        erased = await asyncio.to_thread(serving.erase, UserId(user_id))
        return Response(orjson.dumps(erased), 202, media_type="application/json")

    return routes


def _parse_cursor(cursor: str | None) -> tuple[float, str] | None:
    if cursor is None:
        return None
    at, _, identity = cursor.partition(":")
    try:
        if identity and math.isfinite(float(at)):
            return float(at), identity
    except ValueError:
        pass  # refused below, like the rest
    raise InvalidInput("cursor", f"{cursor!r} is no cursor; use next_cursor of the page before")
