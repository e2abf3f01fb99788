"""A user in a few sentences, each with the events that bear it out; and what an operator has to say about them."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from features.cleaning import cleaned
from features.errors import InvalidInput
from features.events import UserId
from features.profile import Correction, UserSummary
from features.summaries import VERSIONS_KEPT
from features.wire import ID_LENGTH, parse_one
from models.summaries.kinds import SummaryKind
from services.answering import as_html
from services.api.bodies import answers, described, read_body
from services.api.escaping import quoting
from services.serving import Serving
from services.summaries import Told

TEXT_MOST: Final = 300  # characters of an operator's sentence
AT_ONCE: Final = 50  # corrections in one request

UserPath = Annotated[str, Path(min_length=1, max_length=ID_LENGTH)]
Kind = Annotated[SummaryKind, Query(description="What the summary is for.")]
FactKey = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=256)]


class FactCorrection(BaseModel):
    """What is said of one fact from now on."""

    model_config = ConfigDict(extra="forbid")

    fact: FactKey = Field(description="Its key, as the claims of a summary name it.")
    text: Annotated[str, StringConstraints(strict=True, max_length=TEXT_MOST)] | None = Field(
        None, description="The sentence that stands for it; null to say nothing of it, or to pin what is said now."
    )
    pinned: Annotated[bool, Field(strict=True)] = Field(
        False, description="Whether the sentence is always said, first of all, whatever the history shows."
    )


class SummaryChange(BaseModel):
    """Corrections of a user's facts."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"corrections": [{"fact": "liked_category:War", "text": "Teaches the history of wars."}]}]
        },
    )

    corrections: Annotated[list[FactCorrection], Field(max_length=AT_ONCE)] = []
    removed: Annotated[list[FactKey], Field(max_length=AT_ONCE)] = Field(
        [], description="Facts whose correction is taken back."
    )

    def taken(self, now: float) -> list[Correction]:
        """The corrections, their texts cleaned. now: epoch seconds."""
        if not self.corrections and not self.removed:
            raise InvalidInput("corrections", "send corrections, or facts whose correction is removed")
        facts = [one.fact for one in self.corrections] + self.removed
        if len(set(facts)) < len(facts):
            raise InvalidInput("corrections", "a fact is named twice; say what is to hold")
        return [_correction(one, f"corrections.{place}.text", now) for place, one in enumerate(self.corrections)]


_CHANGE: Final = TypeAdapter(SummaryChange)
_SUMMARY: Final = {
    "user_id": "196",
    "kind": "general",
    "text": "Likes Drama (4.3). Teaches the history of wars.",
    "text_html": "Likes Drama (4.3). Teaches the history of wars.",
    "claims": [
        {
            "text": "Likes Drama (4.3).",
            "facts": ["liked_category:Drama"],
            "evidence": ["ml-100k-87863"],
            "by": "template",
        },
        {
            "text": "Teaches the history of wars.",
            "facts": ["liked_category:War"],
            "evidence": [],
            "by": "operator",
        },
    ],
    "model": "template",
    "prompt": "",
    "made_at": 1795512600.0,
    "as_of": "2c52b2d9d302:1:21850",
    "stale": None,
    "is_current": True,
    "version": 1,
    "versions": [{"version": 1, "model": "template", "prompt": "", "made_at": 1795512600.0}],
    "corrections": [
        {
            "fact": "liked_category:War",
            "text": "Teaches the history of wars.",
            "pinned": False,
            "made_at": 1795512700.0,
        }
    ],
}


def router(serving: Serving) -> APIRouter:
    routes = APIRouter(tags=["users"])

    @routes.get("/v1/users/{user_id:path}/summary", responses=answers(_SUMMARY))
    async def summary(
        user_id: UserPath,
        kind: Kind = SummaryKind.GENERAL,
        version: Annotated[int, Query(ge=1, le=VERSIONS_KEPT, description="1 is the newest that is kept.")] = 1,
    ) -> Response:
        """What can be said of the user, each claim with the facts that it states and the events that bear them out.

        `versions` are those that `tasteprint summarize` has written. Without any, the summary is made by template for
        this answer and not kept; an unknown user has no claims. `stale` says why the newest could not be written anew
        though the facts have changed; `is_current` whether it has seen the user's last event. `by` is the model, or
        "operator" for what an operator has said in the place of a fact.

        All of it is text, however it looks, and not markup; `text_html` is the text escaped for a page.
        """
        told = await asyncio.to_thread(serving.summaries.read_version, UserId(user_id), kind, version)
        return quoting(_described(told, kind, version))

    @routes.patch(
        "/v1/users/{user_id:path}/summary", openapi_extra=described(SummaryChange), responses=answers(_SUMMARY)
    )
    async def correct(request: Request, user_id: UserPath, kind: Kind = SummaryKind.GENERAL) -> Response:
        """Corrects, hides or pins facts of the user, in summaries of every kind and version; answers with the newest.

        A correction stands until it is removed or the user is erased, whatever is summarised meanwhile; what it stands
        for is not given to a generator any more. 404 for a user of whom no events are known.
        """
        change = parse_one(_CHANGE, await read_body(request, serving.settings.body_bytes))
        corrections = change.taken(serving.clock())
        await asyncio.to_thread(serving.summaries.correct, UserId(user_id), corrections, change.removed)
        [told] = await asyncio.to_thread(serving.summaries.read, [UserId(user_id)], kind)
        return quoting(_described(told, kind, 1))

    return routes


def _correction(given: FactCorrection, field: str, now: float) -> Correction:
    if "text" not in given.model_fields_set and not given.pinned:
        raise InvalidInput(field, "required, and not there; null says nothing of the fact")
    text = None if given.text is None else cleaned(given.text, TEXT_MOST)
    if text == "":
        raise InvalidInput(field, "there is nothing to read in it; null says nothing of the fact")
    return Correction(given.fact, text, given.pinned, now)


def _described(told: Told, kind: SummaryKind, version: int) -> dict[str, Any]:
    summary, stored = told.summary, told.stored
    return {
        "user_id": told.history.user,
        "kind": kind,
        **(_NOTHING if summary is None else _said(summary)),
        "stale": stored.stale or None,
        "is_current": told.is_current,
        "version": version if stored.versions else None,
        "versions": [
            {"version": place, "model": one.model, "prompt": one.prompt, "made_at": one.made_at}
            for place, one in enumerate(stored.versions, 1)
        ],
        "corrections": [
            {"fact": one.fact, "text": one.text, "pinned": one.is_pinned, "made_at": one.made_at}
            for one in told.corrections
        ],
    }


_NOTHING: Final[dict[str, Any]] = {"text": "", "text_html": "", "claims": []} | dict.fromkeys(
    ("model", "prompt", "made_at", "as_of")
)


def _said(summary: UserSummary) -> dict[str, Any]:
    return {
        "text": summary.text,
        "text_html": as_html(summary.text),
        "claims": [
            {
                "text": claim.text,
                "facts": claim.facts,
                "evidence": claim.evidence,
                "by": "operator" if claim.is_operators else summary.model,
            }
            for claim in summary.claims
        ],
        "model": summary.model,
        "prompt": summary.prompt,
        "made_at": summary.made_at,
        "as_of": str(summary.as_of),
    }
