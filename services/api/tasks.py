"""Questions to P5 about a user: stars for an item, next items, a reason, a review's headline, a choice."""

import asyncio
from concurrent.futures import Future
from typing import Annotated, Any, ClassVar, Final, TypeVar

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from features.errors import InvalidInput, Overloaded
from features.events import ItemId, UserId
from features.wire import ID_LENGTH, FiniteNumber, Id, parse_one
from services.api.bodies import answers, described, read_body
from services.asking import NO_P5, Question
from services.serving import Serving

TEXT_MOST: Final = 4000  # characters of a review
NOT_WAITED: Final = "the answer is not waited for any more; ask again later"
ANSWER_SECONDS: Final = 30.0  # that a question waits

Answered = TypeVar("Answered")
UserPath = Annotated[str, Path(min_length=1, max_length=ID_LENGTH)]
TemplateId = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64)]


class Task(BaseModel):
    """What every question may say."""

    family: ClassVar[str]
    answer: ClassVar[dict[str, Any]]

    template: TemplateId | None = Field(None, description="The id of a wording; the first of the task when absent.")

    def question(self) -> Question:
        return Question(self.family, template=self.template)


class RatingTask(Task):
    """How many stars the user would give an item, and whether they would like it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"item_id": "242"}]})
    family: ClassVar[str] = "rating"
    answer: ClassVar[dict[str, Any]] = {"item_id": "242", "stars": 3.94, "opinion": "like", "log_probability": -0.21}

    item_id: Id

    def question(self) -> Question:
        return Question(self.family, ItemId(self.item_id), template=self.template)


class SequentialTask(Task):
    """What the user would choose next."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"k": 1}]})
    family: ClassVar[str] = "sequential"
    answer: ClassVar[dict[str, Any]] = {
        "items": [{"item_id": "302", "title": "L.A. Confidential (1997)", "log_probability": -3.52}]
    }

    k: Annotated[int, Field(ge=1, le=100)] = 10

    def question(self) -> Question:
        return Question(self.family, k=self.k, template=self.template)


class ExplanationTask(Task):
    """Why an item suits the user, or why they would give it these stars."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"item_id": "242"}]})
    family: ClassVar[str] = "explanation"
    answer: ClassVar[dict[str, Any]] = {"item_id": "242", "text": "it is Comedy, like Emma (1996)"}

    item_id: Id
    stars: Annotated[FiniteNumber, Field(ge=1, le=5)] | None = None

    def question(self) -> Question:
        return Question(self.family, ItemId(self.item_id), stars=self.stars, template=self.template)


class ReviewTask(Task):
    """A headline for a review, and the stars it speaks of."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"text": "A quiet film that stays with you for days."}]}
    )
    family: ClassVar[str] = "review"
    answer: ClassVar[dict[str, Any]] = {"headline": "quiet and lasting", "stars": 4.4}

    text: Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=TEXT_MOST)]

    def question(self) -> Question:
        return Question(self.family, text=self.text, template=self.template)


class DirectTask(Task):
    """Which of some items suits the user best, or whether one does."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"items": ["242", "302"]}]})
    family: ClassVar[str] = "direct"
    answer: ClassVar[dict[str, Any]] = {
        "pick": "302",
        "items": [
            {"item_id": "302", "title": "L.A. Confidential (1997)", "log_probability": -3.9},
            {"item_id": "242", "title": "Kolya (1996)", "log_probability": -6.2},
        ],
    }

    item_id: Id | None = Field(None, description="For a yes or a no. Either this or items.")
    items: Annotated[list[Id], Field(max_length=100)] = Field([], description="To pick from.")

    def question(self) -> Question:
        if (self.item_id is None) == (not self.items):
            raise InvalidInput("items", "send either item_id, or items to pick from")
        item = None if self.item_id is None else ItemId(self.item_id)
        return Question(self.family, item, tuple(map(ItemId, dict.fromkeys(self.items))), template=self.template)


TASKS: Final = (RatingTask, SequentialTask, ExplanationTask, ReviewTask, DirectTask)

_DESCRIPTION: Final = """Answered by the P5 of the bundle in use, from the user's history as it is now; the answer is \
kept until the history moves on. An unknown user has an empty history. 409 when no P5 is in use.

`made_from` says what the answers were that the model learned from: "model" for what users did and wrote; "model, \
trained on facts" for explanations that were put together from categories and ratings; "facts" where what the model \
wrote is not true of the history and the facts are told instead, if there are any; "untrained" for reviews, when \
the model saw none: such an answer means nothing. `degraded` says what the answer had to do without."""
_MORE: Final = {
    "rating": "`stars` is the mean of one to five, each as probable as the model says.",
    "sequential": "Nothing that the user has seen or that is hidden; log-probabilities are the model's own.",
    "explanation": "With `stars`, why so many.",
    "review": "Only the first hundred words are read.",
    "direct": "One `item_id` is given a yes or a no; of `items` the likeliest comes first.",
}


def router(serving: Serving) -> APIRouter:
    routes = APIRouter(tags=["tasks"])
    for task in TASKS:
        _add(routes, serving, task)
    return routes


def _add(routes: APIRouter, serving: Serving, task: type[Task]) -> None:
    adapter = TypeAdapter(task)

    async def answer(request: Request, user_id: UserPath) -> Response:
        body = parse_one(adapter, await read_body(request, serving.settings.body_bytes) or b"{}")
        pending = await asyncio.to_thread(serving.asking.ask, UserId(user_id), body.question())
        said = await in_time(pending.answer)
        return Response(serving.asking.encode(pending, said), media_type="application/json")

    routes.add_api_route(
        f"/v1/users/{{user_id:path}}/tasks/{task.family}",
        answer,
        methods=["POST"],
        name=task.family,
        summary=f"{task.family.title()} by P5",
        description=f"{task.__doc__} {_MORE[task.family]}\n\n{_DESCRIPTION}",
        openapi_extra=described(task),
        responses=answers(_example(task)) | _NO_P5,
    )


async def in_time(answer: Future[Answered], seconds: float = ANSWER_SECONDS) -> Answered:
    """The answer when it comes. Raises Overloaded when it does not come in time, or is not waited for; it is cancelled
    then, and not worked on unless it already is."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(answer), seconds)
    except TimeoutError:
        raise Overloaded(f"no answer came within {seconds:g} seconds; ask again later") from None
    except (
        asyncio.CancelledError
    ):  # by a server that closes, or since the caller has gone; the log has no use for where
        raise Overloaded(NOT_WAITED) from None


async def gone(request: Request) -> None:
    """Returns when whoever has sent the request, whose body was read, has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _example(task: type[Task]) -> dict[str, Any]:
    return {
        "family": task.family,
        **task.answer,
        "template": f"{task.family}-1",
        "made_from": "model, trained on facts" if task is ExplanationTask else "model",
        "model_version": "p5-4f8a1d0c2b9e7365",
        "as_of": "2c52b2d9d302:1:21850",
        "degraded": [],
    }


_NO_P5: Final[dict[int | str, dict[str, Any]]] = {
    409: {
        "description": "No P5 is in use.",
        "content": {
            "application/problem+json": {
                "example": {"type": "about:blank", "title": "No model for this", "status": 409, "detail": NO_P5}
            }
        },
    }
}
