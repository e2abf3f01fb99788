"""POST /v1/events: what users did, onto the log."""

import asyncio
from typing import Final

import orjson
from fastapi import APIRouter, Request, Response

from features.events import WireEvent, encode_event, parse_events
from services.api.bodies import answers, described, read_body
from services.serving import Serving
from streaming.log import Stream

_ANSWER: Final = {"accepted": 1, "event_ids": ["9f1c2e"], "positions": ["2c52b2d9d302:1:21851"]}


def router(serving: Serving) -> APIRouter:
    routes = APIRouter(tags=["events"])
    settings = serving.settings

    @routes.post(
        "/v1/events", status_code=202, openapi_extra=described(WireEvent, many=True), responses=answers(_ANSWER, 202)
    )
    async def post_events(request: Request) -> Response:
        """Appends one event, or a list of them, to the log; all or none.

        The answer comes when the log has them on disk: an event that was accepted is not lost. Sending an event
        again, with its time, changes nothing. A profile's `as_of` covers an event's `position` once the event is in it.
        """
        body = await read_body(request, settings.body_bytes)
        now = serving.clock()
        events = parse_events(body, now, settings.batch_most)
        records = [(event.user, encode_event(event)) for event in events]
        positions = await asyncio.to_thread(serving.log.append, Stream.EVENTS, records, now)
        answer = {
            "accepted": len(events),
            "event_ids": [event.id for event in events],
            "positions": [str(position) for position in positions],
        }
        return Response(orjson.dumps(answer), 202, media_type="application/json")

    return routes
