"""Bodies: requests read up to a limit, and both ways described in the documentation."""

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
    one = model.model_json_schema(ref_template="{model}")
    one = _inlined(one, one.pop("$defs", {}))
    schema = {"oneOf": [one, {"type": "array", "items": one}]} if many else one
    examples = one.get("examples", [])
    content: dict[str, Any] = {"schema": schema}
    if examples:
        content["example"] = examples[0]
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def answers(example: Any, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: what it answers, as an example, and what it says when the input is wrong."""
    problem = {
        "type": "about:blank",
        "title": "Invalid input",
        "status": 422,
        "detail": "k: Input should be less than or equal to 100",
        "field": "k",
    }
    return {
        status: {"description": "Done.", "content": {"application/json": {"example": example}}},
        422: {"description": "Invalid input.", "content": {"application/problem+json": {"example": problem}}},
    }


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema with every reference replaced by what it refers to: an operation has no place for definitions."""
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"]], definitions)
    return {name: _inlined(part, definitions) for name, part in schema.items()}
