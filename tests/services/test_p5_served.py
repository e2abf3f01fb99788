"""A trained P5 in a real application: five kinds of questions, lists made behind, and nothing left of who is erased."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from prometheus_client.parser import text_string_to_metric_families
from toy_p5_bundle import ITEMS, toy_bundle, toy_data

from features.events import UserId
from services.bundles import publish, save
from services.promotions import current_name, put_into_use
from services.settings import Settings
from services.tasking import LISTS
from tests.models.test_bundle import rewrite
from tests.services.conftest import NOW, Running, event, running, wait_until


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Running]:
    settings = Settings(home=tmp_path_factory.mktemp("p5"), redis_url=redis_url, tenant="p5", explore=0.0)
    publish(settings, toy_bundle())
    with running(settings) as app:
        texts = toy_data()[2]
        titles = zip(toy_data()[1].items, texts.titles, texts.categories, strict=True)
        app.put([{"item_id": item, "title": title, "categories": list(names)} for item, title, names in titles])
        yield app


def marched(app: Running, user: str, *items: str, at: float = NOW - 100) -> None:
    app.send([event(user, item, at + step, value=4.0) for step, item in enumerate(items)])


def ask(app: Running, user: str, family: str, **question: Any) -> dict[str, Any]:
    response = app.client.post(f"/v1/users/{user}/tasks/{family}", json=question)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def recommended(app: Running, user: str) -> dict[str, Any]:
    answer: dict[str, Any] = app.client.get(f"/v1/users/{user}/recommendations").json()
    return answer


def count(app: Running, name: str, **labels: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(app.client.get("/metrics").text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def kept(app: Running, user: str) -> int:
    families = (LISTS, "rating", "sequential", "explanation", "review", "direct")
    return sum(len(app.serving.tasks.results.of(UserId(user), family)) for family in families)


def test_every_family_is_answered_as_of_the_users_history(asked: Running, user: str) -> None:
    marched(asked, user, "i3", "i4", "i5")
    as_of = asked.client.get(f"/v1/users/{user}").json()["as_of"]
    rating = ask(asked, user, "rating", item_id="i6")
    assert 1 <= rating["stars"] <= 5
    assert rating["opinion"] in ("like", "dislike")
    following = ask(asked, user, "sequential", k=4)
    assert len(following["items"]) == 4
    assert not {item["item_id"] for item in following["items"]} & {"i3", "i4", "i5"}
    assert following["items"][0]["title"].startswith("The i")
    explained = ask(asked, user, "explanation", item_id="i6", stars=4)
    assert explained["made_from"] in ("model, trained on facts", "facts")
    assert isinstance(explained["text"], str)
    review = ask(asked, user, "review", text="A fine film.")
    assert review["made_from"] == "untrained"
    assert 1 <= review["stars"] <= 5
    suits = ask(asked, user, "direct", item_id="i6")
    assert suits["verdict"] in ("yes", "no")
    picked = ask(asked, user, "direct", items=["i6", "i9", "i12"])
    assert {item["item_id"] for item in picked["items"]} == {"i6", "i9", "i12"}
    assert picked["pick"] == picked["items"][0]["item_id"]
    for answer in (rating, following, explained, review, suits, picked):
        assert answer["model_version"] == toy_bundle().name
        assert answer["as_of"] == as_of
        assert answer["degraded"] == []


def test_somebody_unknown_is_answered_too(asked: Running) -> None:
    assert ask(asked, "nobody", "rating", item_id="i6")["as_of"] is None
    assert len(ask(asked, "nobody", "sequential", k=ITEMS)["items"]) == ITEMS


def test_an_id_with_slashes_is_an_id(asked: Running) -> None:
    marched(asked, "a/b", "i3", "i4")
    assert ask(asked, "a/b", "rating", item_id="i6")["as_of"] is not None


def test_an_answer_is_kept_until_an_event_comes(asked: Running, user: str) -> None:
    marched(asked, user, "i3", "i4")
    name = "tasteprint_task_answers_total"
    made, again = count(asked, name, source="made"), count(asked, name, source="kept")
    first = ask(asked, user, "sequential", k=3)
    assert ask(asked, user, "sequential", k=3) == first
    assert (count(asked, name, source="made"), count(asked, name, source="kept")) == (made + 1, again + 1)
    marched(asked, user, first["items"][0]["item_id"], at=NOW - 50)
    then = ask(asked, user, "sequential", k=3)
    assert then["as_of"] != first["as_of"]
    assert first["items"][0]["item_id"] not in {item["item_id"] for item in then["items"]}


@pytest.mark.parametrize(
    ("family", "question", "field"),
    [
        ("rating", {"item_id": "nothing"}, "item_id"),
        ("direct", {"items": ["i1", "nothing"]}, "items.1"),
        ("sequential", {"template": "rating-1"}, "template"),
        ("review", {"text": "\N{GREEK SMALL LETTER XI}o" * 1900}, "text"),
    ],
)
def test_what_the_model_cannot_be_asked_is_refused_by_its_field(
    asked: Running, family: str, question: dict[str, Any], field: str
) -> None:
    response = asked.client.post(f"/v1/users/ann/tasks/{family}", json=question)
    assert response.status_code == 422
    assert response.json()["field"] == field


def test_a_recommendation_does_without_a_list_at_first_and_has_a_fresh_one_soon(asked: Running, user: str) -> None:
    marched(asked, user, "i3", "i4", "i5")
    [problem] = recommended(asked, user)["degraded"]
    assert problem == "answered without P5, whose list for this user is being made"
    wait_until(lambda: recommended(asked, user)["degraded"] == [])
    answer = recommended(asked, user)
    assert answer["model_version"] == toy_bundle().name
    assert "i5" not in {item["item_id"] for item in answer["items"]}
    ranked = asked.client.post("/v1/rank", json={"user_id": user, "items": ["i6", "i12"]}).json()
    assert ranked["degraded"] == []
    assert count(asked, "tasteprint_p5_lists_total", state="missing") >= 1
    assert count(asked, "tasteprint_p5_lists_total", state="fresh") >= 2


def test_an_event_has_the_list_made_anew_before_anybody_asks(asked: Running, user: str) -> None:
    marched(asked, user, "i3", "i4")
    recommended(asked, user)
    wait_until(lambda: recommended(asked, user)["degraded"] == [])
    marched(asked, user, "i5", at=NOW - 50)
    [history] = asked.backends.patient.read([UserId(user)])
    results = asked.serving.tasks.results
    wait_until(lambda: all(results.fresh(key, history.as_of) for key in results.of(UserId(user), LISTS)))
    assert recommended(asked, user)["degraded"] == []


def test_nothing_is_left_of_an_erased_user(asked: Running, user: str) -> None:
    marched(asked, user, "i3", "i4")
    recommended(asked, user)
    ask(asked, user, "rating", item_id="i6")
    wait_until(lambda: kept(asked, user) == 2)
    assert asked.client.delete(f"/v1/users/{user}").status_code == 202
    assert kept(asked, user) == 0
    wait_until(lambda: asked.client.get(f"/v1/users/{user}").json()["events"] == 0)
    assert kept(asked, user) == 0
    assert recommended(asked, user)["degraded"] == []  # nobody's list is missing


def test_who_brings_events_instead_of_a_name_is_answered_without_p5(asked: Running) -> None:
    body = {"events": [{"item_id": "i3"}]}
    [answer] = asked.client.post("/v1/recommendations", json=body).json()["recommendations"]
    assert answer["degraded"] == ["answered without P5, which makes lists for users only"]
    assert answer["items"]


def test_the_routes_are_timed_each_by_its_family(asked: Running) -> None:
    ask(asked, "nobody", "rating", item_id="i6")
    assert count(asked, "tasteprint_request_seconds_count", route="/v1/users/{user_id:path}/tasks/rating") >= 1


def test_another_p5_takes_its_place_and_what_the_old_one_made_is_dropped(
    own_home: Path, redis_url: str, user: str
) -> None:
    settings = Settings(home=own_home, redis_url=redis_url, tenant=f"p5-{crc32(user.encode())}")
    publish(settings, toy_bundle())
    with running(settings) as app:
        marched(app, user, "i3", "i4")
        assert ask(app, user, "rating", item_id="i6")["model_version"] == toy_bundle().name
        assert kept(app, user) == 1
        save(settings, toy_bundle(seed=1))
        put_into_use(settings, toy_bundle(seed=1).name, current_name(settings), NOW)
        wait_until(lambda: app.client.get("/v1/models").json()["in_use"] == toy_bundle(seed=1).name)
        assert kept(app, user) == 0
        assert ask(app, user, "rating", item_id="i6")["model_version"] == toy_bundle(seed=1).name


def truncate(folder: Path) -> None:
    (folder / "p5.safetensors").write_bytes((folder / "p5.safetensors").read_bytes()[:-8])


def lose(folder: Path) -> None:
    (folder / "p5.json").unlink()


def exchange(folder: Path) -> None:
    """The weights of another model, entered in the manifest by somebody who knows it."""
    rewrite(folder, "p5.safetensors", toy_bundle(seed=1).p5.parts(toy_bundle().vocabulary.digest)["p5.safetensors"])


@pytest.mark.parametrize("damage", [truncate, lose, exchange])
def test_a_damaged_p5_is_refused_and_popularity_answers(
    own_home: Path, redis_url: str, damage: Callable[[Path], None]
) -> None:
    settings = Settings(home=own_home, redis_url=redis_url, tenant=f"p5-{damage.__name__}")
    damage(publish(settings, toy_bundle()))
    with running(settings) as app:
        assert app.client.get("/v1/models").json()["refused"]["name"] == toy_bundle().name
        response = app.client.post("/v1/users/ann/tasks/rating", json={"item_id": "i6"})
        assert response.status_code == 409
        assert f"{toy_bundle().name} is refused" in response.json()["detail"]
        assert app.client.get("/v1/users/ann/recommendations").status_code == 200
