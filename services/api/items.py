"""Items: into the catalogue, out of it, and what is similar to one."""

import asyncio
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from features.errors import UnknownName
from features.events import ItemId
from features.items import WireItem, encode_item, parse_items
from features.wire import ID_LENGTH
from services.api.bodies import answers, described, read_body
from services.serving import Serving
from streaming.log import Stream

ItemPath = Annotated[str, Path(min_length=1, max_length=ID_LENGTH)]


_ITEM: Final = {
    "item_id": "242",
    "title": "Kolya (1996)",
    "categories": ["Comedy"],
    "timestamp": 1795530556.9611483,
}
_SIMILAR: Final = {
    "item_id": "50",
    "items": [
        {
            "item_id": "181",
            "title": "Return of the Jedi (1983)",
            "score": 1.6532,
            "source": "similar",
            "reason": "chosen with Star Wars (1977)",
            "because": "50",
        }
    ],
}


def router(serving: Serving) -> APIRouter:
    routes = APIRouter(tags=["items"])
    settings = serving.settings

    @routes.post(
        "/v1/items",
        status_code=202,
        openapi_extra=described(WireItem, many=True),
        responses=answers({"accepted": 1}, 202),
    )
    async def post_items(request: Request) -> Response:
        """Puts one item, or a list of them, into the catalogue; all or none, the latest version of an item wins.

        A version replaces the one before it whole. `hidden` takes an item out of every list within a moment.
        """
        body = await read_body(request, settings.body_bytes)
        now = serving.clock()
        items = parse_items(body, now, settings.batch_most)
        records = [(item.id, encode_item(item)) for item in items]
        await asyncio.to_thread(serving.log.append, Stream.ITEMS, records, now)
        return Response(orjson.dumps({"accepted": len(items)}), 202, media_type="application/json")

    @routes.get("/v1/items/{item_id:path}/similar", responses=answers(_SIMILAR))
    async def similar(item_id: ItemPath, k: Annotated[int, Query(ge=1, le=100)] = 10) -> Response:
        """Items that the same users choose, nearest first; by shared categories when the item is new."""
        found = serving.recommender.similar(ItemId(item_id), k)
        return Response(orjson.dumps({"item_id": item_id, "items": found}), media_type="application/json")

    @routes.get("/v1/items/{item_id:path}", responses=answers(_ITEM))
    async def get_item(item_id: ItemPath) -> Response:
        """One item as the catalogue has it now."""
        item = serving.catalogue.get(ItemId(item_id))
        if item is None:
            raise UnknownName(f"no item {item_id!r} in the catalogue; send it to POST /v1/items")
        return Response(encode_item(item), media_type="application/json")

    return routes
