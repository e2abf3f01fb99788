"""JSON from outside, checked: every refusal names the field and its place in the list."""

import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import orjson
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import from_json

from features.errors import InvalidInput

ID_LENGTH: Final = 128  # characters
PROPERTIES_BYTES: Final = 4096  # of compact JSON
FUTURE_SECONDS: Final = 86_400.0  # a clock or a time zone may be wrong by so much; beyond it the value is a mistake

Id = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=ID_LENGTH)]
FiniteNumber = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Timestamp = FiniteNumber | AwareDatetime

Wire = TypeVar("Wire", bound=BaseModel)


def parse_one(adapter: TypeAdapter[Wire], body: bytes) -> Wire:
    """One object from its JSON. Raises InvalidInput that names the field."""
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        raise _refusal(error, adapter, body) from None


def parse_many(
    one: TypeAdapter[Wire], many: TypeAdapter[list[Wire]], body: bytes, most: int
) -> tuple[Sequence[Wire], bool]:
    """The objects of a body that holds one or a list, and whether it was a list.

    Raises InvalidInput for the first object that is wrong, and for a list that is empty or longer than `most`.
    """
    if body.lstrip()[:1] != b"[":
        return [parse_one(one, body)], False
    try:
        wires = many.validate_json(body)
    except ValidationError as error:
        raise _refusal(error, many, body) from None
    if not 1 <= len(wires) <= most:
        raise InvalidInput("", f"a list of {len(wires)} was given; send 1 to {most} at a time")
    return wires, True


def seconds(timestamp: float | datetime, now: float, field: str) -> float:
    """Epoch seconds of a wire timestamp. Raises InvalidInput when negative or further in the future than a day."""
    at = timestamp.timestamp() if isinstance(timestamp, datetime) else timestamp
    if at < 0:
        raise InvalidInput(field, f"{timestamp} is before 1970; send epoch seconds or ISO 8601 with a zone")
    if at > now + FUTURE_SECONDS:
        raise InvalidInput(
            field,
            f"{timestamp} is more than a day in the future; send epoch seconds (not milliseconds) or ISO 8601",
        )
    return at + 0.0  # -0.0 and 0.0 are one time, and must be one encoding


def canonical_json(value: Any, field: str) -> bytes:
    """Compact JSON with sorted keys, the same bytes for the same value. Raises InvalidInput: NaN, depth, size."""
    _refuse_infinite(value, field)
    try:
        encoded = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError) as error:  # too deep, an integer over 64 bits, a lone surrogate
        raise InvalidInput(field, f"cannot be written as JSON: {error}") from None
    if len(encoded) > PROPERTIES_BYTES:
        raise InvalidInput(field, f"{len(encoded)} bytes of JSON; at most {PROPERTIES_BYTES} are kept")
    return encoded


def _refuse_infinite(value: Any, field: str) -> None:
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, float) and not math.isfinite(current):
            raise InvalidInput(field, f"{current} is not a number that JSON has")
        if isinstance(current, dict):
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)


def _refusal(error: ValidationError, adapter: TypeAdapter[Any], body: bytes) -> InvalidInput:
    """The first problem, named. What the strict JSON parser cannot place, the lenient one of Python places."""
    first = error.errors(include_url=False, include_input=False)[0]
    place, problem = first["loc"], first["msg"]
    if first["type"] == "json_invalid":
        place, problem = _placed(adapter, body) or (place, problem)
    elif place and place[-1] == "float" and first["type"] != "extra_forbidden":
        # Of a union pydantic names the member that failed, and speaks of that one only.
        place, problem = place[:-1], "epoch seconds or ISO 8601 with a zone are expected"
    problem = _SAID_BETTER.get(first["type"], problem) if place == first["loc"] else problem
    # A name may be a caller's own text: any length, and lone surrogates that no answer could be encoded with.
    name = ".".join(map(str, place)).encode(errors="backslashreplace").decode()
    return InvalidInput(name if len(name) <= ID_LENGTH else f"{name[:ID_LENGTH]}...", problem)


_SAID_BETTER: Final = {
    "missing": "required, and not there",
    "extra_forbidden": "not a known field; fields are never ignored, so that a misspelt one is noticed",
}

_Place = tuple[int | str, ...]


def _placed(adapter: TypeAdapter[Any], body: bytes) -> tuple[_Place, str] | None:
    """Where the body is not strict JSON: a lone surrogate, bytes that are not UTF-8, nesting too deep."""
    try:
        value = json.loads(body.decode(errors="surrogateescape"))
        place = _unwritable(value)
        if place:
            return place, "not JSON: a lone surrogate, bytes that are not UTF-8, or nesting too deep"
        adapter.validate_python(value)
    except ValidationError as named:
        first = named.errors(include_url=False, include_input=False)[0]
        return first["loc"], first["msg"]
    except (ValueError, RecursionError):
        pass  # malformed for Python too: the strict parser's message, with line and column, says it best
    return None


def _unwritable(value: Any, above: int = 0) -> _Place:
    """The place of the first field that is not strict JSON, () when all are; `above` it are so many lists and objects.

    Objects in lists and lists in objects are looked into; an object in an object (properties) is one field.
    """
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, one in parts:
        try:
            from_json(b"[" * above + orjson.dumps({str(part): one}) + b"]" * above)
        except (TypeError, ValueError):
            whole = above == _DEEPEST_FIELD or type(one) is type(value)
            return (part,) if whole else (part, *_unwritable(one, above + 1))
    return ()


_DEEPEST_FIELD: Final = 4  # lists and objects around it: enough for any body, little work for a hostile one
