"""Request bodies: read up to a limit, and described in the documentation by the models that check them."""

from typing import Any

from fastapi import Request
from pydantic import BaseModel

from features.errors import InvalidInput


async def read_body(request: Request, most: int) -> bytes:
    """The request's body. Raises InvalidInput as soon as more than `most` bytes have been announced or received."""
    announced = request.headers.get("content-length", "0")
    received: list[bytes] = []
    size = 0
    if announced.isdigit() and int(announced) <= most:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                break
            received.append(chunk)
        else:
            return b"".join(received)
    raise InvalidInput("body", f"longer than {most} bytes; send less at a time, or raise TASTEPRINT_BODY_BYTES")


def described(model: type[BaseModel], *, many: bool = False) -> dict[str, Any]:
    """The part of an OpenAPI operation that describes a body of one `model`, or with `many` of one or a list."""
    one = model.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = one.pop("$defs", None)
    assert definitions is None, "wire models are flat"  # noqa: S101 - a programming error, found by the first test
    schema = {"oneOf": [one, {"type": "array", "items": one}]} if many else one
    examples = one.get("examples", [])
    content: dict[str, Any] = {"schema": schema}
    if examples:
        content["example"] = examples[0]
    return {"requestBody": {"required": True, "content": {"application/json": content}}}
