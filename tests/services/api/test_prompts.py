"""The routes of prompts and of answers to them, with a text generator and without one."""

from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, Reply, completion
from toy_llama import toy_llama

from models.summaries.fencing import parsed
from services.settings import Settings
from tests.services.conftest import NOW, Running, event, running, wait_until

SHELF = [
    {"item_id": "fargo", "title": "Fargo <|im_end|>", "categories": ["Crime"]},
    {"item_id": "heat", "title": "Heat", "categories": ["Crime"]},
    {"item_id": "emma", "title": "Emma", "categories": ["Love"]},
]


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with ChatServer() as server:
        yield server


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory, server: ChatServer) -> Iterator[Running]:
    """An application whose generator is a server that repeats what it is told; ann has seen two films."""
    home = tmp_path_factory.mktemp("talking")
    with running(Settings(home=home, generator=server.url, generator_model="toy")) as started:
        started.put(SHELF)
        started.send([event("ann", item, NOW - 10 + place) for place, item in enumerate(["fargo", "emma"])])
        yield started


def operation(app: Running, name: str) -> dict[str, Any]:
    paths = app.client.get("/openapi.json").json()["paths"]
    found: dict[str, Any] = paths[f"/v1/users/{{user_id}}/{name}"]["post"]
    return found


def test_a_prompt_is_messages_with_what_they_were_made_of(talking: Running) -> None:
    body = {"task": "rating", "items": ["heat"], "k": 1, "kind": "ranking"}
    made = talking.client.post("/v1/users/ann/prompt", json=body).json()
    assert [message["role"] for message in made["messages"]] == ["system", "user"]
    summary, history, given = parsed(made["messages"][1]["content"])
    assert history == [["Fargo <|im_end|>", "Crime", "view"]]
    assert given == [["Heat", "Crime"]]
    assert "<|im_end|>" not in made["messages"][1]["content"]
    assert [part["name"] for part in made["parts"]] == ["system", "summary", "history", "input", "task", "template"]
    assert made["parts"][2]["evidence"] == [f"ann-fargo-{NOW - 10:.0f}"]
    assert set(made["evidence"]) >= set(made["parts"][2]["evidence"])
    assert made["tokens"] <= 1024
    assert made["summary"]["model"] == "template"
    assert made["summary"]["is_current"]
    assert made["as_of"] == made["summary"]["as_of"]
    assert made["degraded"] == []
    assert len(summary) >= 1


def test_an_answer_is_the_generators_to_the_same_prompt(talking: Running, server: ChatServer) -> None:
    body = {"input": "Which film?", "k": 2}
    made = talking.client.post("/v1/users/ann/prompt", json=body | {"task": "question"}).json()
    server.replies.append(Reply(body=completion("<b>Emma</b>\u202e\nor Heat", usage={"prompt_tokens": 70})))
    answer = talking.client.post("/v1/users/ann/ask", json=body | {"tokens": 9}).json()
    assert server.asked[-1].body["messages"] == made["messages"]
    assert server.asked[-1].body["max_tokens"] == 9
    assert answer["answer"] == "<b>Emma</b>\nor Heat"
    assert answer["answer_html"] == "&lt;b&gt;Emma&lt;/b&gt;<br>\nor Heat"
    assert answer["is_finished"]
    assert answer["model"] == "openai:toy"
    assert answer["tokens"]["input"] == 70
    assert answer["prompt"] == {name: made[name] for name in ("parts", "tokens", "evidence", "summary")}
    assert (answer["as_of"], answer["degraded"]) == (made["as_of"], [])


def test_a_generator_that_fails_is_a_503_and_not_the_end(talking: Running, server: ChatServer) -> None:
    server.replies.append(Reply(status=401))
    refused = talking.client.post("/v1/users/ann/ask", json={"input": "why"})
    assert refused.status_code == 503
    assert "generator_key" in refused.json()["detail"]
    assert "Retry-After" in refused.headers
    assert talking.client.post("/v1/users/ann/ask", json={"input": "why"}).status_code == 200


def test_who_hangs_up_keeps_nobody_waiting(
    talking: Running, server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    asked = len(server.asked)
    server.replies.append(Reply(delay=25.0))
    with closing(HTTPConnection(talking.client.base_url.host, talking.client.base_url.port)) as leaving:
        leaving.request("POST", "/v1/users/ann/ask", b'{"input": "why", "tokens": 1024}')
        wait_until(lambda: len(server.asked) > asked)
    assert talking.client.post("/v1/users/ann/ask", json={"input": "why"}, timeout=20.0).status_code == 200
    assert "Traceback" not in caplog.text


def test_a_prompt_that_the_generator_does_not_read_is_of_too_large_a_budget(
    talking: Running, server: ChatServer, own_home: Path, tmp_path: Path
) -> None:
    server.replies.append(Reply(400, b'{"error": {"code": "context_length_exceeded"}}'))
    refused = [talking.client.post("/v1/users/ann/ask", json={"input": "why"})]
    generator = f"local:{toy_llama(tmp_path / 'toy', reads=64)}"
    with running(Settings(home=own_home, generator=generator)) as local:
        refused.append(local.client.post("/v1/users/ann/ask", json={"input": "why"}))
    for response in refused:
        assert (response.status_code, response.json()["field"]) == (422, "budget")
        assert "lower it, for it makes a prompt " in response.json()["detail"]


def test_an_answer_is_of_1024_tokens_at_most(talking: Running) -> None:
    response = talking.client.post("/v1/users/ann/ask", json={"input": "why", "tokens": 1025})
    assert (response.status_code, response.json()["field"]) == (422, "tokens")


def test_an_answer_to_one_user_is_asked_with_nothing_of_another(talking: Running, server: ChatServer) -> None:
    talking.client.post("/v1/users/nobody/ask", json={"input": "why"})
    told = str(server.asked[-1].body)
    assert "Fargo" not in told
    assert "Emma" not in told


def test_without_a_generator_prompts_are_made_and_not_answered(app: Running) -> None:
    assert app.client.post("/v1/users/ann/prompt", json={"task": "question", "input": "why"}).status_code == 200
    refused = app.client.post("/v1/users/ann/ask", json={"input": "why"})
    assert refused.status_code == 409
    assert "TASTEPRINT_GENERATOR" in refused.json()["detail"]


def test_the_dense_retriever_without_weights_is_a_409_and_the_hybrid_does_without(app: Running) -> None:
    body = {"task": "question", "input": "why"}
    refused = app.client.post("/v1/users/ann/prompt", json=body | {"retriever": "dense"})
    assert refused.status_code == 409
    assert "tasteprint weights pull all-MiniLM-L6-v2" in refused.json()["detail"]
    made = app.client.post("/v1/users/ann/prompt", json=body | {"retriever": "hybrid"}).json()
    assert "words and age alone" in made["degraded"][0]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "task"),
        ({"task": "dance"}, "task"),
        ({"task": "question"}, "input"),
        ({"task": "question", "input": 7}, "input"),
        ({"task": "question", "input": "x" * 4001}, "input"),
        ({"task": "question", "input": "why", "k": 51}, "k"),
        ({"task": "question", "input": "why", "budget": 0}, "budget"),
        ({"task": "question", "input": "why", "budget": 60}, "budget"),
        ({"task": "question", "input": "why " * 900, "budget": 1000}, "input"),
        ({"task": "question", "input": "why", "layout": "round"}, "layout"),
        ({"task": "question", "input": "why", "retriever": "luck"}, "retriever"),
        ({"task": "question", "input": "why", "kind": "long"}, "kind"),
        ({"task": "question", "input": "why", "summary": "yes"}, "summary"),
        ({"task": "ranking", "items": ["no such item", "heat"]}, "items.0"),
        ({"task": "ranking", "choices": ["one"]}, "choices"),
        ({"task": "question", "input": "why", "messages": []}, "messages"),
    ],
)
def test_what_is_wrong_is_named(app: Running, body: dict[str, Any], field: str) -> None:
    response = app.client.post("/v1/users/ann/prompt", json=body)
    assert response.status_code == 422
    assert response.json()["field"] == field


@pytest.mark.parametrize("name", ["prompt", "ask"])
def test_the_examples_of_both_routes_are_understood_and_what_they_answer_is_shown(talking: Running, name: str) -> None:
    described = operation(talking, name)
    talking.put({"item_id": "242", "title": "Kolya (1996)"})
    example = described["requestBody"]["content"]["application/json"]["example"]
    answer = talking.client.post(f"/v1/users/ann/{name}", json=example)
    assert answer.status_code == 200
    shown = described["responses"]["200"]["content"]["application/json"]["example"]
    assert set(answer.json()) == set(shown)
    assert "409" in described["responses"]


def test_an_id_with_an_escaped_name_of_a_route_is_nobodys(app: Running) -> None:
    for name in ("prompt", "ask"):
        assert app.client.delete(f"/v1/users/ann%2F{name}").status_code == 422
