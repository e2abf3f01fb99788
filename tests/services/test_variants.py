"""Experiments on a running application: who is answered by what, what is logged, and what the report makes of it."""

import shutil
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import orjson
import pytest
from toy_frames import items_of, marching

from features.events import ItemId, UserId
from models.bundle import Bundle, train_counts
from models.catalogue import Catalogue
from models.interleaving import team_draft
from models.recommender import Pipeline, Query
from services.bundles import publish
from services.experiments import Experiment, assign
from services.settings import Settings
from streaming.log import Stream
from tests.services.conftest import NOW, Running, event, running, wait_until

_tenants = count()


@pytest.fixture(scope="module")
def bundles() -> tuple[Bundle, Bundle]:
    """Two, fitted on different users."""
    items = items_of({f"i{number}": [] for number in range(20)})
    first, second = (marching(users=60, items=20, length=6, seed=seed)[0] for seed in (0, 1))
    return train_counts(first, items, fingerprint="first"), train_counts(second, items, fingerprint="second")


def experiment(kind: str = "split", **bundles: str) -> Experiment:
    share = {"share": 1 / len(bundles)} if kind == "split" else {}
    variants = {name: {"bundle": bundle, **share} for name, bundle in bundles.items()}
    return Experiment.model_validate({"name": "toy", "kind": kind, "variants": variants})


def published(home: Path, redis_url: str, bundles: tuple[Bundle, Bundle], **more: Any) -> Settings:
    """A home with both bundles, the second in use."""
    settings = Settings(home=home, redis_url=redis_url, tenant=f"variants-{next(_tenants)}", explore=0.0, **more)
    for bundle in bundles:
        publish(settings, bundle)
    return settings


def users_of(experiment: Experiment, variant: str, most: int) -> list[str]:
    names = (f"user-{number}" for number in count())
    return list(islice((name for name in names if assign(UserId(name), experiment) == variant), most))


def recommended(app: Running, user: str, k: int = 10) -> dict[str, Any]:
    response = app.client.get(f"/v1/users/{user}/recommendations?k={k}")
    assert response.status_code == 200, response.text
    return response.json()


def impressions(app: Running) -> dict[str, dict[str, Any]]:
    """By recommendation id, all that were shown."""
    app.serving.impressions.flush()
    return {one["recommendation_id"]: one for one in map(orjson.loads, app.records(Stream.IMPRESSIONS))}


@pytest.fixture
def split_app(own_home: Path, redis_url: str, bundles: tuple[Bundle, Bundle]) -> Iterator[Running]:
    old, _ = bundles
    toy = experiment(control="current", old=old.name, plain="popular")
    with running(published(own_home, redis_url, bundles, experiment=toy)) as app:
        yield app


def test_users_are_answered_by_the_pipelines_of_their_variants(
    split_app: Running, bundles: tuple[Bundle, Bundle]
) -> None:
    old, current = bundles
    toy = split_app.serving.settings.experiment
    models = {"control": current.name, "old": old.name, "plain": "popularity"}
    asked = {name: users_of(toy, name, 3) for name in models}
    everybody = [user for users in zip(*asked.values(), strict=True) for user in users]  # variants mixed in one batch
    batch = split_app.client.post("/v1/recommendations", json={"users": everybody}).json()["recommendations"]
    for user, answer in zip(everybody, batch, strict=True):
        assert answer["model_version"] == models[assign(user, toy)]
        assert answer["degraded"] == []
        assert "variant" not in answer
        logged = impressions(split_app)[answer["recommendation_id"]]
        assert logged["experiment"] == "toy"
        assert logged["variant"] == assign(user, toy)
        assert (logged["user_id"], logged["model_version"]) == (user, answer["model_version"])
        ranked = split_app.client.post("/v1/rank", json={"user_id": user, "items": ["i3", "i4"]}).json()
        assert ranked["model_version"] == answer["model_version"]
    assert len(impressions(split_app)) == len(everybody)  # ranking shows nothing
    assert split_app.client.get("/v1/models").json()["experiment"] == {
        "name": "toy",
        "kind": "split",
        "on": True,
        "variants": {
            name: {"bundle": bundle, "share": 1 / 3, "model_version": models[name], "problem": None}
            for name, bundle in (("control", "current"), ("old", old.name), ("plain", "popular"))
        },
    }


def test_the_variant_of_the_bundle_in_use_follows_it(split_app: Running, bundles: tuple[Bundle, Bundle]) -> None:
    old, current = bundles
    toy = split_app.serving.settings.experiment
    models = {name: recommended(split_app, *users_of(toy, name, 1))["model_version"] for name in toy.names}
    assert models == {"control": current.name, "old": old.name, "plain": "popularity"}
    publish(split_app.serving.settings, old)
    [user] = users_of(toy, "control", 1)
    wait_until(lambda: recommended(split_app, user)["model_version"] == old.name)
    answer = recommended(split_app, user)
    assert impressions(split_app)[answer["recommendation_id"]]["variant"] == "control"


def test_somebody_unknown_is_in_no_experiment(split_app: Running, bundles: tuple[Bundle, Bundle]) -> None:
    body = {"events": [{"item_id": "i3"}]}
    [answer] = split_app.client.post("/v1/recommendations", json=body).json()["recommendations"]
    assert answer["model_version"] == bundles[1].name
    assert "experiment" not in impressions(split_app)[answer["recommendation_id"]]


def test_named_bundles_take_up_what_is_popular_now_like_the_one_in_use(split_app: Running) -> None:
    [stranger] = users_of(split_app.serving.settings.experiment, "old", 1)
    split_app.send([event(f"fan-{number}", "i13", NOW - 5) for number in range(200)])
    wait_until(lambda: recommended(split_app, stranger)["items"][0]["item_id"] == "i13")


def test_without_an_experiment_impressions_and_models_say_nothing_of_one(trained: Running) -> None:
    answer = recommended(trained, "nobody")
    assert not {"experiment", "variant", "teams"} & impressions(trained)[answer["recommendation_id"]].keys()
    assert "experiment" not in trained.client.get("/v1/models").json()


@pytest.mark.parametrize("fault", ["missing", "corrupt"])
def test_a_bundle_that_cannot_be_used_switches_the_experiment_off_and_the_server_says_so(
    own_home: Path, redis_url: str, bundles: tuple[Bundle, Bundle], fault: str
) -> None:
    old, current = bundles
    toy = experiment(control="current", old=old.name, plain="popular")
    settings = published(own_home, redis_url, bundles, experiment=toy)
    folder = own_home / "models" / old.name
    if fault == "missing":
        shutil.rmtree(folder)
    else:
        (folder / "vocabulary.json").write_text("[]")
    with running(settings) as app:
        for variant in toy.names:
            [user] = users_of(toy, variant, 1)
            answer = recommended(app, user)
            assert answer["model_version"] == current.name
            assert answer["degraded"] == [f"answered without the bundle {old.name}"] * (variant == "old")
            assert "experiment" not in impressions(app)[answer["recommendation_id"]]
        described = app.client.get("/v1/models").json()["experiment"]
        [lacking] = app.client.get("/readyz").json()["degraded"]
    assert lacking.startswith("the experiment toy is off: ")
    assert described["on"] is False
    assert old.name in described["variants"]["old"]["problem"]


def test_an_interleaved_list_is_a_draft_of_two_and_only_the_impression_says_of_which(
    own_home: Path, redis_url: str, bundles: tuple[Bundle, Bundle]
) -> None:
    old, current = bundles
    toy = experiment("interleave", control="current", old=old.name)
    with running(published(own_home, redis_url, bundles, experiment=toy)) as app:
        app.send([event("marcher", f"i{number}", NOW - 100 + number) for number in (3, 4, 5)])
        wait_until(lambda: app.serving.popularity.version > 0)
        answer = recommended(app, "marcher", k=6)
        logged = impressions(app)[answer["recommendation_id"]]
        ranked = app.client.post("/v1/rank", json={"user_id": "marcher", "items": ["i3", "i4"]}).json()
    history = tuple(map(ItemId, ("i3", "i4", "i5")))
    query = Query(UserId("marcher"), history, history, k=6)
    alone = [
        [candidate.item for candidate in Pipeline(one, Catalogue(), explore=0.0).recommend([query])[0].items]
        for one in (current, old)
    ]
    [draft] = team_draft([alone[0]], [alone[1]], [6], [answer["recommendation_id"]])
    assert [item["item_id"] for item in answer["items"]] == list(draft.items) == logged["items"]
    assert logged["teams"] == [toy.names[team] for team in draft.teams]
    assert (logged["experiment"], "variant" in logged, "teams" in answer) == ("toy", False, False)
    assert answer["model_version"] == f"{current.name}+{old.name}"
    assert ranked["model_version"] == current.name
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)  # who sorts by score keeps the order
