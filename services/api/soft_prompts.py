"""A user's soft prompt, for the app's own language model."""

import asyncio
from base64 import b64encode
from enum import StrEnum
from typing import Annotated, Any, Final

import numpy as np
import orjson
from fastapi import APIRouter, Header, Path, Query, Response
from safetensors.numpy import save

from features.events import UserId
from features.wire import ID_LENGTH
from services.api.bodies import answers
from services.serving import Serving
from services.soft_prompts import NONE_IN_USE, Prompted

BYTES: Final = "application/octet-stream"
QUESTION_MOST: Final = 4000  # characters

UserPath = Annotated[str, Path(min_length=1, max_length=ID_LENGTH)]


class DType(StrEnum):
    """The numbers, little-endian."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"


class Format(StrEnum):
    JSON = "json"
    SAFETENSORS = "safetensors"


_SAID: Final = {
    "model": "query-4@4f8a1d0c2b9e",
    "base_model": {
        "name": "SmolLM2-135M-Instruct",
        "sha256": "5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c",
    },
    "as_of": "2c52b2d9d302:1:21850",
}
_EXAMPLE: Final = {
    "user_id": "196",
    "vectors": "ADwAwAA4...",
    "dtype": "float16",
    "shape": [4, 576],
    **_SAID,
    "is_current": True,
    "degraded": [],
}
_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": title,
        "content": {
            "application/problem+json": {
                "example": {"type": "about:blank", "title": title, "status": status, "detail": detail}
            }
        },
    }
    for status, title, detail in (
        (404, "Not found", "there is no event of '196' that the soft prompt in use knows of"),
        (409, "No model for this", NONE_IN_USE),
    )
}


def router(serving: Serving) -> APIRouter:
    routes = APIRouter(tags=["prompts"])

    @routes.get("/v1/users/{user_id:path}/soft-prompt", responses=_described())
    async def soft_prompt(
        user_id: UserPath,
        question: Annotated[
            str | None,
            Query(
                min_length=1,
                max_length=QUESTION_MOST,
                description="The very text that will stand behind it, for prompts that are made for one question each.",
            ),
        ] = None,
        dtype: Annotated[DType, Query(description="Of the numbers; they are kept in float16.")] = DType.FLOAT16,
        format: Annotated[  # noqa: A002 - the name on the wire
            Format | None, Query(description="safetensors for bytes, as `Accept: application/octet-stream` asks for.")
        ] = None,
        accept: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> Response:
        """The user's history in a few vectors, to stand before the embeddings of a prompt's words.

        They are of use to `base_model` alone, the model whose weights have this sha256: its embedding layer gives the
        words' embeddings, which follow them. `vectors` is base64 of little-endian numbers, row by row, in `shape`:
        vectors, then dimensions. As bytes the answer is a safetensors file with the tensor `soft_prompt`, whose
        metadata say `model`, `base_model`, `base_model_sha256`, `as_of`, `is_current` and `degraded`, all as text.

        One that is stale or missing is made anew from the history as it is now, so that `is_current` is false only when
        that fails, which `degraded` says. 404 for a user of whom no event is known that the encoder has learnt; ask
        without a soft prompt then. 409 when no soft prompt is in use. Prompts of the kind "instructed" hang on the
        `question`, and are made each time: 422 without one.
        """
        found = await asyncio.to_thread(serving.soft_prompts.read, UserId(user_id), question)
        if format is Format.SAFETENSORS or (format is None and BYTES in accept):
            return Response(_as_bytes(found, dtype), media_type=BYTES, headers={"Vary": "Accept"})
        return Response(_as_json(user_id, found, dtype), media_type="application/json", headers={"Vary": "Accept"})

    return routes


def _as_json(user: str, found: Prompted, dtype: DType) -> bytes:
    vectors_KW = found.prompt.vectors_KD
    return orjson.dumps(
        {
            "user_id": user,
            "vectors": b64encode(vectors_KW.astype(f"<{np.dtype(dtype).str[1:]}").tobytes()).decode(),
            "dtype": dtype,
            "shape": vectors_KW.shape,
            "model": found.prompt.model,
            "base_model": found.prompter.base,
            "as_of": str(found.prompt.as_of),
            "is_current": found.is_current,
            "degraded": found.lacking,
        }
    )


def _as_bytes(found: Prompted, dtype: DType) -> bytes:
    base = found.prompter.base
    said = {
        "model": found.prompt.model,
        "base_model": base["name"],
        "base_model_sha256": base["sha256"],
        "as_of": str(found.prompt.as_of),
        "is_current": "true" if found.is_current else "false",
        "degraded": "; ".join(found.lacking),
    }
    return save({"soft_prompt": found.prompt.vectors_KD.astype(dtype)}, said)


def _described() -> dict[int | str, dict[str, Any]]:
    found = answers(_EXAMPLE) | _PROBLEMS
    found[200]["content"][BYTES] = {"schema": {"type": "string", "format": "binary"}}
    return found
