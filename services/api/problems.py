"""Errors at the door: RFC 9457 problem details, one shape for every refusal."""

import logging
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from features.errors import (
    GeneratorUnavailable,
    InvalidInput,
    LogUnavailable,
    ModelMissing,
    Overloaded,
    StoreUnavailable,
    UnknownName,
)

MEDIA_TYPE: Final = "application/problem+json"

logger = logging.getLogger(__name__)


def problem(status: int, title: str, detail: str, **more: Any) -> Response:
    """A problem-details response; `field` among `more` names the part of the input that is wrong."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return Response(orjson.dumps(body), status, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Every error the routes raise, answered; what is not foreseen is a 500 that tells nothing and is logged."""

    @app.exception_handler(InvalidInput)
    async def invalid(request: Request, error: InvalidInput) -> Response:
        return problem(422, "Invalid input", str(error), field=error.field)

    @app.exception_handler(RequestValidationError)
    async def invalid_parameter(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:])
        return problem(422, "Invalid input", f"{field}: {first['msg']}", field=field)

    @app.exception_handler(UnknownName)
    async def unknown(request: Request, error: UnknownName) -> Response:
        return problem(404, "Not found", str(error))

    @app.exception_handler(ModelMissing)
    async def missing(request: Request, error: ModelMissing) -> Response:
        return problem(409, "No model for this", str(error))

    @app.exception_handler(GeneratorUnavailable)
    @app.exception_handler(LogUnavailable)
    @app.exception_handler(Overloaded)
    @app.exception_handler(StoreUnavailable)
    async def unavailable(request: Request, error: Exception) -> Response:
        response = problem(503, "Not available", str(error))
        response.headers["Retry-After"] = "1"
        return response

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        response = problem(error.status_code, str(error.detail), f"{request.method} {request.url.path}")
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(500, "Internal error", "the request failed here; the log says why")
