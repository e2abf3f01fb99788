"""What requests carry: bodies up to a limit, parameters checked by a model; both described in the documentation."""

from functools import lru_cache
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, TypeAdapter, ValidationError

from features.errors import InvalidInput

Model = TypeVar("Model", bound=BaseModel)


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


def parse_parameters(adapter: TypeAdapter[Model], request: Request) -> Model:
    """Path and query as one model; lists are given by repeating the name. Raises RequestValidationError."""
    given: dict[str, Any] = dict(request.path_params)
    if request.scope["query_string"]:
        lists = _lists(adapter)
        for name, value in request.query_params.multi_items():
            if name in lists:
                given.setdefault(name, []).append(value)
            elif name in request.path_params:
                raise InvalidInput(name, "stands in the path, and not in the query")
            else:
                given[name] = value
    try:
        return adapter.validate_python(given)
    except ValidationError as error:
        raise RequestValidationError(
            [one | {"loc": ("query", *one["loc"])} for one in error.errors(include_url=False)]
        ) from None


@lru_cache
def _lists(adapter: TypeAdapter[Any]) -> frozenset[str]:
    properties = adapter.json_schema()["properties"]
    return frozenset(name for name, schema in properties.items() if schema.get("type") == "array")


def parameters(model: type[BaseModel], *in_path: str) -> dict[str, Any]:
    """The part of an OpenAPI operation that describes a model's fields as parameters of the path and the query."""
    schema = model.model_json_schema()
    return {
        "parameters": [
            {
                "name": name,
                "in": "path" if name in in_path else "query",
                "required": name in in_path,
                "description": one.get("description", ""),
                "schema": one,
            }
            for name, one in schema["properties"].items()
        ]
    }


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
