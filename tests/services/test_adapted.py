"""`ask` and `rank` by users' weight updates, in real applications with a tiny language model."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pytest
from toy_adapted import toy_adapted

from features.events import UserId
from features.profile import WeightUpdate
from features.updates import StoredUpdate
from models.stream_adapter.context import line
from models.stream_adapter.state import State
from models.stream_adapter.trained import StreamAdapter
from services.settings import Settings
from services.wiring import backends
from tests.services.conftest import NOW, Running, event, running, wait_until
from tests.services.test_cli import Tasteprint, tasteprint

__all__ = ["tasteprint"]

CHOICES = ["war", "love", "space"]
PROMPT = "likes what"
BODY = {"task": "tagging", "input": "likes what", "choices": CHOICES}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapted")


@pytest.fixture(scope="module")
def adapter(home: Path) -> StreamAdapter:
    return toy_adapted(home)


@pytest.fixture(scope="module")
def adapting(home: Path, redis_url: str, adapter: StreamAdapter) -> Iterator[Running]:
    """Items i0 to i9 have titles; ann and bob have chosen something."""
    with running(Settings(home=home, redis_url=redis_url, tenant="adapted", adapted=True)) as app:
        app.put([{"item_id": f"i{n}", "title": f"The i{n}", "categories": ["war"]} for n in range(10)])
        chose(app, "ann", "i1", "i2", "i3")
        chose(app, "bob", "i7", "i8")
        yield app


def chose(app: Running, user: str, *items: str, at: float = NOW - 100) -> None:
    """Posts events, and waits until they are in the user's update."""
    app.send([event(user, item, at + step) for step, item in enumerate(items)])

    def is_current() -> bool:
        stored = read(app, user)
        return stored.update is not None and stored.update.as_of == stored.seen

    wait_until(is_current)


def read(app: Running, user: str) -> StoredUpdate:
    [stored] = app.backends.patient.read_updates([UserId(user)], app.serving.updates.in_use().version)
    return stored


def state_of(adapter: StreamAdapter, *items: str) -> State:
    """After events of these items, read at once."""
    told = [(line(f"The {item}", ["war"]), None) for item in items]
    return adapter.advance([adapter.fresh()], [adapter.context.tokens(told)])[0]


def expected(adapter: StreamAdapter, *items: str) -> dict[str, float]:
    """The lift of each choice by the trained model's own way; without items, of the frozen one."""
    asked = adapter.language.asked(PROMPT, [f" {choice}" for choice in CHOICES], 0)
    [chances] = adapter.scores(adapter.cores([state_of(adapter, *items)]), [asked])
    return dict(zip(CHOICES, chances.tolist(), strict=True))


def ask(app: Running, user: str, **body: Any) -> dict[str, Any]:
    response = app.client.post(f"/v1/users/{user}/ask", json={"adapted": True, **(body or BODY)})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def chances_of(answer: dict[str, Any]) -> dict[str, float]:
    return {one["choice"]: one["lift"] for one in answer["choices"]}


def close(found: dict[str, float], wanted: dict[str, float]) -> bool:
    return all(np.isclose(found[choice], wanted[choice], rtol=2e-2, atol=5e-2) for choice in CHOICES)


def test_what_a_user_did_changes_the_answer_as_the_adapter_says(adapting: Running, adapter: StreamAdapter) -> None:
    answer = ask(adapting, "ann")
    assert close(chances_of(answer), expected(adapter, "i1", "i2", "i3"))
    assert not close(chances_of(answer), expected(adapter))
    assert answer["answer"] == answer["choices"][0]["choice"]
    assert answer["model"] == adapter.version
    assert answer["base_model"] == {"name": "SmolLM2-135M-Instruct", "sha256": adapter.base}
    assert answer["is_adapted"]
    assert answer["as_of"] == str(read(adapting, "ann").seen)
    assert answer["degraded"] == []
    assert close(chances_of(ask(adapting, "bob")), expected(adapter, "i7", "i8"))


def test_users_who_ask_at_once_and_often_get_their_own_answers(adapting: Running) -> None:
    users = ["ann", "bob", "nobody"] * 5
    alone = {user: chances_of(ask(adapting, user)) for user in users[:3]}
    with ThreadPoolExecutor(8) as pool:
        for user, answer in zip(users, pool.map(lambda user: ask(adapting, user), users), strict=True):
            assert close(chances_of(answer), alone[user])


def test_a_question_is_answered_in_words_of_so_many_tokens(adapting: Running) -> None:
    answer = ask(adapting, "ann", input="likes what", tokens=3)
    assert answer["tokens"]["output"] <= 3
    assert answer["choices"] == []
    assert ask(adapting, "ann", input="likes what", tokens=3) == answer


def test_items_are_ranked_by_their_titles_and_unknown_ones_come_last(adapting: Running, adapter: StreamAdapter) -> None:
    items = ["nowhere", "i5", "i1", "i2", "i5"]
    response = adapting.client.post("/v1/rank", json={"user_id": "ann", "items": items, "adapted": True})
    assert response.status_code == 200, response.text
    ranked = response.json()
    titles = [line(f"The {item}", ["war"]) for item in items[1:4]]
    [scores] = adapter.title_scores(adapter.cores([state_of(adapter, "i1", "i2", "i3")]), [titles])
    found = {one["item_id"]: one["score"] for one in ranked["items"]}
    np.testing.assert_allclose([found[item] for item in items[1:4]], scores, rtol=2e-2, atol=2e-2)
    assert [one["score"] for one in ranked["items"][:3]] == sorted(found[item] for item in items[1:4])[::-1]
    assert ranked["items"][3]["item_id"] == "nowhere"
    assert ranked["items"][0]["title"].startswith("The i")
    assert (ranked["model_version"], ranked["is_adapted"], ranked["degraded"]) == (adapter.version, True, [])
    unknown = adapting.client.post("/v1/rank", json={"user_id": "ann", "items": ["nowhere"], "adapted": True}).json()
    assert [one["item_id"] for one in unknown["items"]] == ["nowhere"]


def frozen(app: Running, adapter: StreamAdapter, user: str) -> str:
    """Why the frozen model has answered."""
    answer = ask(app, user)
    assert close(chances_of(answer), expected(adapter))
    assert (answer["is_adapted"], answer["as_of"]) == (False, None)
    [problem] = answer["degraded"]
    assert problem.startswith("answered by the frozen model: ")
    return str(problem)


def test_a_user_without_an_update_is_answered_by_the_frozen_model_and_told_so(
    adapting: Running, adapter: StreamAdapter, user: str
) -> None:
    assert "no update of this user" in frozen(adapting, adapter, "nobody")
    adapting.send(event(user, "x", NOW))
    wait_until(lambda: read(adapting, user).update)
    assert "do not fill a chunk" in frozen(adapting, adapter, user)
    assert "tasteprint_degraded_total 0.0" not in adapting.client.get("/metrics").text


def put(app: Running, user: str, update: WeightUpdate) -> None:
    [stored] = app.backends.patient.read_updates([UserId(user)], update.model)
    assert app.backends.patient.write_updates([replace(stored, update=update)]) == [True]


def test_an_update_of_another_version_damaged_or_out_of_bounds_is_not_used(
    adapting: Running, adapter: StreamAdapter, user: str
) -> None:
    chose(adapting, user, "i1", "i2", "i3")
    good = read(adapting, user).update
    assert good is not None
    put(adapting, user, replace(good, state=good.state[:-1]))
    assert "damaged" in frozen(adapting, adapter, user)
    state = State.from_bytes(good.state)
    put(adapting, user, replace(good, state=replace(state, memory_LQD=state.memory_LQD * 0 + 9999).to_bytes()))
    assert "larger" in frozen(adapting, adapter, user)
    for model in ("other", "another"):  # the third takes the place of the first
        put(adapting, user, replace(good, model=model))
    assert "there is one of another" in frozen(adapting, adapter, user)


def test_a_reset_takes_a_user_back_until_there_are_new_events(
    adapting: Running, adapter: StreamAdapter, user: str
) -> None:
    chose(adapting, user, "i1", "i2", "i3")
    for _ in range(4):
        assert ask(adapting, user)["is_adapted"]
    assert adapting.client.delete(f"/v1/users/{user}/update").json() == {"user_id": user, "reset": 1}
    assert "was reset" in frozen(adapting, adapter, user)
    assert adapting.client.delete(f"/v1/users/{user}/update").json()["reset"] == 0
    chose(adapting, user, "i7", "i8", at=NOW - 50)
    assert close(chances_of(ask(adapting, user)), expected(adapter, "i7", "i8"))


def test_an_erased_user_is_nobody(adapting: Running, adapter: StreamAdapter, user: str) -> None:
    chose(adapting, user, "i1", "i2", "i3")
    erased = adapting.client.delete(f"/v1/users/{user}").json()
    adapting.applied([user], [erased["position"]])
    assert "no update of this user" in frozen(adapting, adapter, user)


def test_the_worker_is_counted(adapting: Running) -> None:
    metrics = adapting.client.get("/metrics").text
    assert "tasteprint_weight_updates_total 0.0" not in metrics
    assert f"tasteprint_adapt_newest_timestamp_seconds {NOW:.1e}" in metrics
    assert "tasteprint_weight_updates_refused_total 0.0" in metrics


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/users/ann/ask", {"task": "rating", "items": ["i3"]}, "task"),
        ("/v1/users/ann/ask", {**BODY, "soft_prompt": True}, "adapted"),
        ("/v1/users/ann/ask", {"input": "likes what " * 200}, "input"),
        ("/v1/rank", {"user_id": "ann", "items": [f"x{n}" for n in range(101)]}, "items"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    adapting: Running, path: str, body: dict[str, Any], field: str
) -> None:
    response = adapting.client.post(path, json={"adapted": True, **body})
    assert (response.status_code, response.json()["field"]) == (422, field)


def test_unless_it_is_turned_on_it_is_refused_and_said_how(shop: Running) -> None:
    for path, body in (("/v1/users/ann/ask", BODY), ("/v1/rank", {"user_id": "ann", "items": ["alien"]})):
        refused = shop.client.post(path, json={"adapted": True, **body})
        assert refused.status_code == 409
        assert "TASTEPRINT_ADAPTED=true" in refused.json()["detail"]


def test_without_an_adapter_or_its_language_model_it_is_refused(own_home: Path, redis_url: str) -> None:
    with running(Settings(home=own_home, redis_url=redis_url, tenant="adapted-none", adapted=True)) as app:
        none = app.client.post("/v1/users/ann/ask", json={"adapted": True, **BODY})
        assert (none.status_code, "train stream-adapter" in none.json()["detail"]) == (409, True)
        toy_adapted(own_home, source="constant")
        wait_until(lambda: "a control" in str(app.serving.degraded()))
        weights = own_home / "weights"
        weights.rename(own_home / "elsewhere")
        wait_until(lambda: "weights pull" in str(app.serving.degraded()))
        (own_home / "elsewhere").rename(weights)
        rmtree(own_home / "stream-adapters" / "toy")
        toy_adapted(own_home)
        wait_until(lambda: not app.serving.degraded())
        assert app.client.post("/v1/users/ann/ask", json={"adapted": True, **BODY}).status_code == 200


def test_the_command_goes_to_the_logs_end_and_a_replay_ends_in_the_same_bytes(
    tasteprint: Tasteprint, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("user,item,at\n" + "".join(f"ann,item number {n},{n}000\n" for n in range(1, 5)))
    refused = tasteprint("adapt", "--until-end")
    assert (refused.status, refused.out) == (1, "")
    assert "train stream-adapter" in refused.err
    toy_adapted(own_home)
    tasteprint("data", "import", ratings)
    tasteprint("ingest", "--until-end")
    report = tasteprint("adapt", "--until-end", "--json").json()
    del report["seconds"]
    assert report == {"events": 4, "users": 1, "refused": 0, "failed": 0, "forgotten": 0, "not_applied": 0}
    made = stored_in(own_home)
    assert tasteprint("users", "export", "ann").json()["updates"][0]["bytes"] == len(made) > 0
    assert tasteprint("users", "reset-updates", "--all", "--json").json()["resets"] == 1
    assert stored_in(own_home) == b""
    report = tasteprint("adapt", "--until-end", "--rebuild", "--json").json()
    assert (report["forgotten"], report["users"]) == (1, 1)
    assert stored_in(own_home) == made
    assert tasteprint("users", "reset-updates", "ann", "--json").json() == {"user_id": "ann", "reset": 1}
    assert tasteprint("users", "reset-updates").status == 2
    monkeypatch.setenv("TASTEPRINT_TENANT", "again")  # its profiles are empty, and the log is the same
    tasteprint("ingest", "--until-end")
    tasteprint("adapt", "--until-end")
    assert stored_in(own_home, tenant="again") == made


def stored_in(home: Path, tenant: str = "default") -> bytes:
    """Ann's state."""
    with backends(Settings(home=home, tenant=tenant)) as opened:
        [stored] = opened.patient.updates(UserId("ann"))
    assert stored.update is not None
    return stored.update.state
