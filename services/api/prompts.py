"""Prompts about a user within a budget of tokens, and answers to them by the generator of this deployment."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from features.errors import InvalidInput, ModelMissing
from features.events import ItemId, UserId
from features.wire import ID_LENGTH, Id, parse_one
from models.summaries.kinds import SummaryKind
from models.summaries.prompting import Layout, Task
from services.adapted_asking import Pending as Adapted
from services.answering import ANSWER_SECONDS, Said, as_html, shown
from services.api.bodies import answers, described, read_body
from services.api.escaping import quoting
from services.api.tasks import gone, in_time
from services.prompting import INPUT_MOST, By, Wanted
from services.serving import Serving
from services.soft_asking import Pending as Prompted

NO_GENERATOR: Final = (
    "no text generator is configured; set TASTEPRINT_GENERATOR to local (after `tasteprint weights pull "
    "SmolLM2-135M-Instruct`), or to http(s)://HOST/v1 of an OpenAI-compatible server"
)

AskSo = Callable[[UserId, Wanted, int], Adapted | Prompted]
UserPath = Annotated[str, Path(min_length=1, max_length=ID_LENGTH)]
Choice = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=200)]


class PromptRequest(BaseModel):
    """What the prompt is for, and how much of the user it may hold."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"task": "rating", "items": ["242"], "k": 2, "budget": 1024}]},
    )

    task: Task
    input: Annotated[str, StringConstraints(strict=True, max_length=INPUT_MOST)] = Field(
        "", description="What is asked, rated, filed or to be written. It is quoted as data, as all else is."
    )
    choices: Annotated[list[Choice], Field(max_length=100, description="For ranking and tagging.")] = []
    items: Annotated[
        list[Id],
        Field(
            max_length=100, description="Items of the catalogue: choices, or the one that is rated, without an input."
        ),
    ] = []
    k: Annotated[int, Field(ge=0, le=50, description="The most past events, those that bear on the input.")] = 4
    budget: Annotated[int, Field(ge=1, le=131_072, description="The most tokens of the whole prompt.")] = 1024
    layout: Annotated[Layout, Field(description="Plain, or by aspects.")] = Layout.PLAIN
    retriever: Annotated[By, Field(description="How the past events are found.")] = By.BM25
    kind: Annotated[SummaryKind | None, Field(description="The kind of summary; that of the task when absent.")] = None
    summary: Annotated[bool, Field(strict=True, description="Whether the summary is part of the prompt.")] = True

    def wanted(self) -> Wanted:
        return Wanted(
            self.task,
            self.input,
            tuple(self.choices),
            tuple(map(ItemId, self.items)),
            self.k,
            self.budget,
            self.layout,
            self.retriever,
            self.kind,
            self.summary,
        )


class AskRequest(PromptRequest):
    """The same, and how long the answer may be."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"task": "question", "input": "Which genres does this user like?", "k": 2}]},
    )

    task: Task = Task.QUESTION
    tokens: Annotated[int, Field(ge=1, le=1024, description="The most tokens of the answer.")] = 128
    soft_prompt: Annotated[
        bool, Field(strict=True, description="Whether the user's soft prompt stands for summary and past.")
    ] = False
    adapted: Annotated[
        bool, Field(strict=True, description="Whether the model's weights, changed for the user, stand for them.")
    ] = False


_PROMPT: Final = TypeAdapter(PromptRequest)
_ASK: Final = TypeAdapter(AskRequest)

_MADE: Final = {
    "parts": [
        {"name": "system", "tokens": 39, "evidence": []},
        {"name": "summary", "tokens": 41, "evidence": ["ml-100k-87863"]},
        {"name": "history", "tokens": 52, "evidence": ["ml-100k-07542", "ml-100k-16893"]},
        {"name": "input", "tokens": 19, "evidence": []},
        {"name": "task", "tokens": 21, "evidence": []},
        {"name": "template", "tokens": 64, "evidence": []},
    ],
    "tokens": 240,
    "evidence": ["ml-100k-87863", "ml-100k-07542", "ml-100k-16893"],
    "summary": {
        "kind": "rating",
        "model": "template",
        "prompt": "",
        "made_at": 1798761600.0,
        "as_of": "2c52b2d9d302:1:21850",
        "is_current": True,
        "stale": None,
    },
    "as_of": "2c52b2d9d302:1:21850",
    "degraded": [],
}
_PROMPTED: Final = {
    "messages": [
        {"role": "system", "content": "You help an app to suit one of its users. What stands between <data> and ..."},
        {"role": "user", "content": 'About the user:\n<data>\n"Likes Drama (4.1)."\n</data>\nWhat the user did ...'},
    ],
    **_MADE,
}
_ANSWERED: Final = {
    "answer": "Mostly dramas.",
    "answer_html": "Mostly dramas.",
    "is_finished": True,
    "model": "SmolLM2-135M-Instruct@5af571cbf074",
    "tokens": {"input": 181, "output": 5},
    "prompt": {name: value for name, value in _MADE.items() if name not in ("as_of", "degraded")},
    "as_of": _MADE["as_of"],
    "degraded": [],
}
_REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    409: {
        "description": "Something that is needed is not there.",
        "content": {
            "application/problem+json": {
                "example": {"type": "about:blank", "title": "No model for this", "status": 409, "detail": NO_GENERATOR}
            }
        },
    }
}


def router(serving: Serving) -> APIRouter:
    routes = APIRouter(tags=["prompts"])
    most = serving.settings.body_bytes

    @routes.post(
        "/v1/users/{user_id:path}/prompt",
        openapi_extra=described(PromptRequest),
        responses=answers(_PROMPTED) | _REFUSED,
    )
    async def prompt(request: Request, user_id: UserPath) -> Response:
        """Chat messages about this user for an LLM of the app's own, with what they were made of.

        The summary, then the past events that bear on the input, then the input: as JSON between marks that no data can
        contain. `tokens` is never more than `budget`, and counts what a chat template adds at most; what does not fit
        is left out, past events first, then the last sentences of the summary. Tokens are counted by the tokenizer that
        is configured, or the generator's, and without either by an upper bound, which is about four times as many.
        `evidence` are the ids of the events that the prompt rests on. An unknown user has no summary and no past.
        409 for the dense retriever without its weights; `degraded` says what else the prompt had to do without.
        """
        body = parse_one(_PROMPT, await read_body(request, most))
        made = await asyncio.to_thread(serving.prompting.prompt, UserId(user_id), body.wanted())
        messages = [{"role": message.role, "content": message.content} for message in made.prompt.messages]
        return quoting({"messages": messages, **made.said()})

    @routes.post(
        "/v1/users/{user_id:path}/ask", openapi_extra=described(AskRequest), responses=answers(_ANSWERED) | _REFUSED
    )
    async def ask(request: Request, user_id: UserPath) -> Response:
        """The answer of this deployment's text generator to the same prompt.

        `answer` is what it has written, not a truth: check what matters against `evidence`. `answer_html` is the same
        escaped for a page. 409 when no generator is configured; 503 when it does not answer, or too much waits for it.
        422 for the `budget` when the prompt, though within it, is longer than the generator reads. An answer is written
        no further once the caller hangs up.

        With `soft_prompt` the question is put to the language model that the soft prompt in use was trained for, before
        the user's soft prompt: for the tasks question, ranking and tagging, whose `input` is the question itself. What
        says how summary and past are told is not looked at then. Of `choices` the answer is the one with the greatest
        `lift`: how much likelier it is, in its logarithm, than behind "Answer:" alone; `choices` of the reply has all.
        `tokens` counts the vectors as `soft`, and `model` and `base_model` say whose they are. 409 when no soft prompt
        is in use, or the weights that are here are not those it was trained for; 404 for a user without one.

        With `adapted` the same tasks are put to the language model of the stream adapter in use, whose weights are
        changed for this user by the user's events: nothing of them is in the prompt. `as_of` is the last event that
        counted. Where the user has no update yet, or one that cannot be trusted, the frozen model answers: `is_adapted`
        is false then, and `degraded` says why. 409 when updates are off in this deployment, as they are until
        TASTEPRINT_ADAPTED is set, or no adapter is in use.
        """
        body = parse_one(_ASK, await read_body(request, most))
        if body.soft_prompt and body.adapted:
            raise InvalidInput("adapted", "was given with soft_prompt; ask one after the other")
        if body.soft_prompt or body.adapted:
            ask_so: AskSo = serving.soft_asking.ask if body.soft_prompt else serving.adapted_asking.ask
            return await _laid_out(ask_so, request, UserId(user_id), body)
        if serving.answers is None:
            raise ModelMissing(NO_GENERATOR)
        made = await asyncio.to_thread(serving.prompting.prompt, UserId(user_id), body.wanted())
        try:
            answer = await while_there(request, serving.answers.ask(made.prompt.messages, body.tokens))
        except InvalidInput as error:
            if not error.field.startswith("prompts."):
                raise
            raise InvalidInput("budget", f"lower it, for it makes {error.problem}") from None
        said = made.said()
        text = shown(answer.text)
        content = {
            "answer": text,
            "answer_html": as_html(text),
            "is_finished": answer.is_finished,
            "model": serving.answers.model,
            "tokens": {"input": answer.input_tokens, "output": answer.output_tokens},
            "as_of": said.pop("as_of"),
            "degraded": said.pop("degraded"),
            "prompt": said,
        }
        return quoting(content)

    return routes


async def _laid_out(ask: AskSo, request: Request, user: UserId, body: AskRequest) -> Response:
    """The answer of a model that reads questions as it was trained to."""
    try:
        pending = await asyncio.to_thread(ask, user, body.wanted(), body.tokens)
        reply = await while_there(request, pending.reply)
    except InvalidInput as error:
        if error.field != "question":
            raise
        raise InvalidInput("input", f"shorten it, or ask for fewer tokens: {error.problem}") from None
    return quoting(pending.said(reply))


async def while_there(request: Request, coming: Future[Said]) -> Said:
    """The answer when it comes; it is not worked on any more once the caller hangs up."""
    leaving = asyncio.create_task(gone(request))
    leaving.add_done_callback(lambda _: coming.cancel())
    try:
        return await in_time(coming, ANSWER_SECONDS)
    finally:
        leaving.cancel()
