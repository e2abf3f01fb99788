"""Recommendations: for a user, for many, for somebody unknown with a few events; and the ranking of given items."""

import asyncio
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from features.errors import InvalidInput
from features.events import Event, EventId, ItemId, UserId, WireEvent
from features.wire import Id, Timestamp, parse_one, seconds
from services.api.bodies import answers, described, parameters, parse_parameters, read_body
from services.api.prompts import while_there
from services.recommending import ANONYMOUS, Ask
from services.serving import Serving

Items = Annotated[list[Id], Field(max_length=1000)]


class InlineEvent(WireEvent):
    """An event of somebody who is not known. Only what is done with what counts: a list of item ids will do."""

    model_config = ConfigDict(extra="forbid", title="InlineEvent", json_schema_extra={"examples": [{"item_id": "242"}]})

    event_id: Id | None = None
    user_id: Id | None = None  # type: ignore[assignment]  # whoever sends wire events as they are may
    item_id: Id
    type: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64)] = "view"
    timestamp: Timestamp | None = Field(None, description="The order of the list when absent.")


class RecommendationsRequest(BaseModel):
    """Lists for several users, or one for somebody who is not known, by events that are not kept."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"users": ["196", "186"], "k": 10}]},
    )

    users: Annotated[list[Id], Field(min_length=1)] | None = None
    events: Annotated[list[InlineEvent], Field(max_length=1000)] | None = None
    k: Annotated[int, Field(ge=1, le=100)] = 10
    exclude: Items = []
    categories: Annotated[list[Id], Field(max_length=64)] = []


class UserParameters(BaseModel):
    """The path and the query of a user's recommendations."""

    model_config = ConfigDict(extra="forbid")

    user_id: Id
    k: Annotated[int, Field(ge=1, le=100, description="How many items.")] = 10
    exclude: Annotated[list[Id], Field(max_length=1000, description="Items to leave out.")] = []
    category: Annotated[list[Id], Field(max_length=64, description="Only items with one of these.")] = []
    removed: Annotated[bool, Field(description="List what the filters took out, and why.")] = False


class RankRequest(BaseModel):
    """Items to be put in order for a user."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"user_id": "196", "items": ["50", "181", "242"]}]},
    )

    user_id: Id
    items: Annotated[list[Id], Field(min_length=1, max_length=1000)]
    adapted: Annotated[
        bool, Field(strict=True, description="Whether by a language model with weights changed for the user.")
    ] = False


AT_ONCE: Final = 16  # of a large request: others get their turn in between

_RECOMMENDATIONS = TypeAdapter(RecommendationsRequest)
_USER = TypeAdapter(UserParameters)
_RANK = TypeAdapter(RankRequest)


_ITEMS: Final = [
    {
        "item_id": "386",
        "title": "Addams Family Values (1993)",
        "score": 4.6357,
        "source": "counts",
        "reason": "because you watched Home Alone (1990)",
        "because": "94",
    }
]
_RANKED: Final = {
    "items": _ITEMS,
    "model_version": "counts-8b224d4a0a76553e",
    "as_of": "2c52b2d9d302:1:21850",
    "degraded": [],
}
_RECOMMENDATION: Final = {"recommendation_id": "r-1bbfa8bd-0", "removed": {"seen": 39}, **_RANKED}
_MANY: Final = {"recommendations": [_RECOMMENDATION]}


def router(serving: Serving) -> APIRouter:
    routes = APIRouter(tags=["recommendations"])
    settings = serving.settings

    @routes.get(
        "/v1/users/{user_id:path}/recommendations",
        openapi_extra=parameters(UserParameters, "user_id"),
        responses=answers(_RECOMMENDATION),
    )
    async def for_user(request: Request) -> Response:
        """What to show this user now, best first, each item with its score, source and reason.

        Scores compare within one answer; diversity may put an item before one with a greater score. `as_of` is the
        position of the last event the answer knows of. A user nobody has heard of gets what is popular.
        `degraded` says what the answer had to do without.
        """
        # One model in place of a parameter each: this is the busiest route, and FastAPI takes a third of it for them.
        asked = parse_parameters(_USER, request)
        ask = Ask(
            UserId(asked.user_id),
            asked.k,
            (),
            frozenset(map(ItemId, asked.exclude)),
            frozenset(asked.category),
            asked.removed,
        )
        return Response(await serving.batcher.ask(ask), media_type="application/json")

    @routes.post("/v1/recommendations", openapi_extra=described(RecommendationsRequest), responses=answers(_MANY))
    async def for_many(request: Request) -> Response:
        """Lists for several users in one call, in their order; or one for somebody unknown, from inline events."""
        body = parse_one(_RECOMMENDATIONS, await read_body(request, settings.body_bytes))
        if (body.users is None) == (body.events is None):
            raise InvalidInput("users", "send either users, or the events of one who is not known")
        exclude, categories = frozenset(map(ItemId, body.exclude)), frozenset(body.categories)
        if body.users is None:
            events = _inline(body.events or [], serving.clock())
            asks = [Ask(ANONYMOUS, body.k, events, exclude, categories)]
        else:
            if len(body.users) > settings.batch_most:
                raise InvalidInput("users", f"{len(body.users)} were given; send at most {settings.batch_most}")
            asks = [Ask(UserId(user), body.k, (), exclude, categories) for user in body.users]
        answered: list[bytes] = []
        for start in range(0, len(asks), AT_ONCE):
            answered += await asyncio.gather(*map(serving.batcher.ask, asks[start : start + AT_ONCE]))
        return Response(b'{"recommendations":[%b]}' % b",".join(answered), media_type="application/json")

    @routes.post("/v1/rank", openapi_extra=described(RankRequest), responses=answers(_RANKED))
    async def rank(request: Request) -> Response:
        """The given items in the order in which they suit the user; nothing is filtered, unknown items come last.

        With `adapted`, for at most 100 items: by how much likelier a token of the title and categories is, as what
        the user does next, than by its words, to the language model of the stream adapter in use, with its weights
        changed for this user. `score` is that mean lift.
        `is_adapted` is false where the frozen model has answered, and `degraded` says why. 409 when updates are off in
        this deployment, as they are until TASTEPRINT_ADAPTED is set, or no adapter is in use.
        """
        body = parse_one(_RANK, await read_body(request, settings.body_bytes))
        items = tuple(map(ItemId, dict.fromkeys(body.items)))
        if body.adapted:
            ranking = await asyncio.to_thread(serving.adapted_asking.rank, UserId(body.user_id), items)
            reply = None if ranking.reply is None else await while_there(request, ranking.reply)
            return Response(orjson.dumps(ranking.said(reply)), media_type="application/json")
        ask = Ask(UserId(body.user_id), len(body.items), rank=items)
        answer = orjson.loads(await serving.batcher.ask(ask))
        del answer["recommendation_id"], answer["removed"]
        return Response(orjson.dumps(answer), media_type="application/json")

    return routes


def _inline(events: list[InlineEvent], now: float) -> list[Event]:
    """Inline events as they stand in a history: those without a time are from now, in the order of the list."""
    return [
        Event(
            EventId(event.event_id or f"{place:04}"),
            ANONYMOUS,
            ItemId(event.item_id),
            event.type,
            event.value,
            now if event.timestamp is None else seconds(event.timestamp, now, f"events.{place}.timestamp"),
        )
        for place, event in enumerate(events)
    ]
