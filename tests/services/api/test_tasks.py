"""The routes of P5's tasks, where none is in use: what is wrong with a question is said first."""

import asyncio
from concurrent.futures import Future
from typing import Any

import pytest

from features.errors import Overloaded
from models.p5.asks import Answer
from models.p5.templates import Family, Task
from services.api.tasks import in_time
from tests.services.conftest import Running

FAMILIES = ("rating", "sequential", "explanation", "review", "direct")


def operation(app: Running, family: str) -> dict[str, Any]:
    paths = app.client.get("/openapi.json").json()["paths"]
    found: dict[str, Any] = paths[f"/v1/users/{{user_id}}/tasks/{family}"]["post"]
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_the_example_of_each_family_is_understood_and_refused_without_a_p5(app: Running, family: str) -> None:
    example = operation(app, family)["requestBody"]["content"]["application/json"]["example"]
    response = app.client.post(f"/v1/users/ann/tasks/{family}", json=example)
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["title"] == "No model for this"
    assert "`tasteprint train p5`" in problem["detail"]


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_documented_with_what_it_answers(app: Running, family: str) -> None:
    responses = operation(app, family)["responses"]
    example = responses["200"]["content"]["application/json"]["example"]
    assert example["family"] == family
    assert set(example) >= {"template", "made_from", "model_version", "as_of", "degraded"}
    assert set(responses) >= {"200", "409", "422"}


@pytest.mark.parametrize(
    ("family", "body", "field"),
    [
        ("rating", {}, "item_id"),
        ("rating", {"item_id": 7}, "item_id"),
        ("rating", {"item_id": "i1", "stars": 3}, "stars"),
        ("sequential", {"k": 0}, "k"),
        ("sequential", {"k": 101}, "k"),
        ("explanation", {"item_id": "i1", "stars": 6}, "stars"),
        ("review", {"text": " "}, "text"),
        ("review", {"text": "x" * 4001}, "text"),
        ("direct", {}, "items"),
        ("direct", {"item_id": "i1", "items": ["i2"]}, "items"),
        ("direct", {"items": ["i1", 7]}, "items.1"),
        ("direct", {"items": [f"i{number}" for number in range(101)]}, "items"),
        ("direct", {"item_id": "i1", "template": ""}, "template"),
    ],
)
def test_what_is_wrong_is_named(app: Running, family: str, body: dict[str, Any], field: str) -> None:
    response = app.client.post(f"/v1/users/ann/tasks/{family}", json=body)
    assert response.status_code == 422
    assert response.json()["field"] == field


def test_the_next_items_may_be_asked_for_without_a_body(app: Running) -> None:
    assert app.client.post("/v1/users/ann/tasks/sequential").status_code == 409


def test_an_id_with_an_escaped_name_of_a_task_is_nobodys(app: Running) -> None:
    response = app.client.delete("/v1/users/ann%2Ftasks%2Frating")
    assert response.status_code == 422
    assert response.json()["field"] == "user_id"


def test_a_question_that_nobody_answers_is_given_up_in_time() -> None:
    never: Future[Answer] = Future()
    with pytest.raises(Overloaded, match=r"within 0\.01 seconds"):
        asyncio.run(in_time(never, 0.01))
    assert never.cancelled()


def test_an_answer_that_comes_after_its_time_disturbs_nobody() -> None:
    late: Future[Answer] = Future()
    late.set_running_or_notify_cancel()
    with pytest.raises(Overloaded):
        asyncio.run(in_time(late, 0.01))
    late.set_result(Answer(Family.RATING, Task.STARS, "rating-1"))


def test_a_request_that_a_closing_server_cancels_is_refused_as_any_other() -> None:
    never: Future[Answer] = Future()

    async def closed() -> None:
        asking = asyncio.create_task(in_time(never))
        await asyncio.sleep(0)
        asking.cancel()
        await asking

    with pytest.raises(Overloaded, match="not waited for any more"):
        asyncio.run(closed())
    assert never.cancelled()


def test_an_answer_that_comes_in_time_is_given() -> None:
    answer: Future[Answer] = Future()
    answer.set_result(Answer(Family.RATING, Task.STARS, "rating-1", stars=4.0))
    assert asyncio.run(in_time(answer)).stars == 4.0


def test_a_family_that_is_not_one_is_not_found(app: Running) -> None:
    assert app.client.post("/v1/users/ann/tasks/songs", json={}).status_code in (404, 405)
