"""Recommendations for a user, for many, for somebody unknown; and ranking."""

import orjson
import pytest

from streaming.log import Stream
from tests.services.conftest import CATEGORIES, NOW, Running, event, wait_until

POPULAR = ["alien", "brazil", "casablanca", "dune", "eraserhead"]  # of the shop, most chosen first


def ask(shop: Running, user: str, **params: object) -> dict[str, object]:
    response = shop.client.get(f"/v1/users/{user}/recommendations", params=params)
    assert response.status_code == 200, response.text
    return response.json()


def names(answer: dict[str, object]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_somebody_nobody_has_heard_of_gets_what_is_popular(shop: Running) -> None:
    answer = ask(shop, "nobody", k=5)
    assert names(answer) == POPULAR
    assert answer["as_of"] is None
    assert answer["model_version"] == "popularity"
    assert answer["degraded"] == []
    assert answer["items"][0] == {
        "item_id": "alien",
        "title": "Alien",
        "score": answer["items"][0]["score"],
        "source": "popular",
        "reason": "popular",
        "because": None,
    }
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(("user", "unseen"), [("dov", ["casablanca", "dune", "eraserhead"]), ("bob", ["eraserhead"])])
def test_what_a_user_has_seen_is_never_recommended(shop: Running, user: str, unseen: list[str]) -> None:
    answer = ask(shop, user)
    assert names(answer) == [*unseen, "fresh"]
    assert answer["removed"]["seen"] == 5 - len(unseen) + 1
    assert answer["as_of"] == shop.client.get(f"/v1/users/{user}").json()["as_of"] is not None


@pytest.mark.parametrize("k", [1, 2, 5])
def test_k_is_how_many(shop: Running, k: int) -> None:
    assert names(ask(shop, "nobody", k=k)) == POPULAR[:k]


def test_ten_is_how_many_when_nothing_is_said(app: Running, user: str) -> None:
    app.put([{"item_id": f"ten-{number}", "categories": ["tens"]} for number in range(15)])
    assert len(names(ask(app, user, category="tens"))) == 10


def test_a_list_is_shorter_where_fewer_items_are_left(shop: Running) -> None:
    assert sorted(names(ask(shop, "nobody", k=100))) == sorted(set(CATEGORIES) - {"hidden"})


def test_an_item_without_events_fills_the_list_as_new(shop: Running) -> None:
    last = ask(shop, "nobody", k=6)["items"][-1]
    assert (last["item_id"], last["source"], last["reason"]) == ("fresh", "new", "new in horror")


def test_hidden_items_are_not_recommended_however_popular(shop: Running) -> None:
    answer = ask(shop, "nobody")
    assert "hidden" not in names(answer)
    assert answer["removed"] == {"hidden": 1}


def test_excluded_items_are_left_out(shop: Running) -> None:
    answer = ask(shop, "nobody", k=5, exclude=["alien", "casablanca", "fresh"])
    assert names(answer) == ["brazil", "dune", "eraserhead"]
    assert answer["removed"]["excluded"] == 2


@pytest.mark.parametrize(
    ("category", "kept"),
    [
        (["space"], ["alien", "brazil", "dune"]),
        (["love"], ["casablanca"]),
        (["love", "horror"], ["alien", "casablanca", "eraserhead", "fresh"]),
        (["nothing like it"], []),
    ],
)
def test_only_items_with_one_of_the_categories_are_recommended(
    shop: Running, category: list[str], kept: list[str]
) -> None:
    assert names(ask(shop, "nobody", category=category)) == kept


def test_what_was_removed_can_be_asked_for_with_the_reason(shop: Running) -> None:
    answer = ask(shop, "dov", removed=True, exclude="dune", category="space")
    reasons = {removed["item_id"]: removed["reason"] for removed in answer["removed_items"]}
    assert reasons == {
        "alien": "seen",
        "brazil": "seen",
        "hidden": "seen",
        "dune": "excluded",
        "casablanca": "category",
        "eraserhead": "category",
    }
    assert answer["removed"] == {"seen": 3, "excluded": 1, "category": 2}
    assert "removed_items" not in ask(shop, "dov")


def test_as_of_covers_what_was_posted_and_what_was_posted_is_seen(app: Running, user: str) -> None:
    app.put([{"item_id": f"fence-{letter}", "categories": ["fences"]} for letter in "ab"])
    assert sorted(names(ask(app, user, category="fences"))) == ["fence-a", "fence-b"]
    for item, left in (("fence-a", ["fence-b"]), ("fence-b", [])):
        [position] = app.client.post("/v1/events", json=event(user, item, NOW)).json()["positions"]
        wait_until(lambda position=position: ask(app, user)["as_of"] == position)
        assert names(ask(app, user, category="fences")) == left


def test_every_answer_has_an_id_of_its_own_and_becomes_an_impression(app: Running, user: str) -> None:
    answers = [ask(app, user) for _ in range(3)]
    assert len({answer["recommendation_id"] for answer in answers}) == 3

    def shown() -> dict[str, dict[str, object]]:
        impressions = map(orjson.loads, app.records(Stream.IMPRESSIONS))
        return {one["recommendation_id"]: one for one in impressions if one["user_id"] == user}

    wait_until(lambda: len(shown()) == 3)
    assert shown()[answers[0]["recommendation_id"]] == {
        "recommendation_id": answers[0]["recommendation_id"],
        "user_id": user,
        "items": names(answers[0]),
        "model_version": answers[0]["model_version"],
        "timestamp": NOW,
    }


def test_a_bundle_recommends_what_comes_next_and_says_because_of_what(trained: Running) -> None:
    answer = ask(trained, "marcher", k=3)
    assert answer["model_version"] == trained.serving.answering.served.bundle.name
    first = answer["items"][0]
    assert first["item_id"] == "i6"  # the next on the ring after i3, i4, i5
    assert first["source"] == "counts"
    assert first["because"] in {"i3", "i4", "i5"}
    assert first["reason"] == f"because you chose The {first['because']}"
    assert not {"i3", "i4", "i5"} & set(names(answer))


def test_many_users_are_answered_in_their_order(shop: Running) -> None:
    users = ["dov", "nobody", "bob", "dov"]
    response = shop.client.post("/v1/recommendations", json={"users": users, "k": 3})
    assert response.status_code == 200
    many = response.json()["recommendations"]
    for user, answer in zip(users, many, strict=True):
        alone = ask(shop, user, k=3)
        assert names(answer) == names(alone)
        assert (answer["as_of"], answer["removed"]) == (alone["as_of"], alone["removed"])
    assert len({answer["recommendation_id"] for answer in many}) == 4


def test_more_users_than_one_batch_holds_are_answered_in_their_order(shop: Running) -> None:
    users = [("ann", "bob", "cem", "dov", "eva")[place % 5] for place in range(200)]
    many = shop.client.post("/v1/recommendations", json={"users": users}).json()["recommendations"]
    unseen = {"ann": 0, "bob": 1, "cem": 2, "dov": 3, "eva": 4}
    assert [len(answer["items"]) for answer in many] == [unseen[user] + 1 for user in users]


def test_many_users_are_asked_for_with_the_same_filters(shop: Running) -> None:
    body = {"users": ["nobody"], "k": 2, "exclude": ["alien"], "categories": ["space"]}
    [answer] = shop.client.post("/v1/recommendations", json=body).json()["recommendations"]
    assert names(answer) == ["brazil", "dune"]


@pytest.mark.parametrize(
    "events",
    [
        [{"item_id": "alien"}, {"item_id": "brazil"}],
        [
            {"item_id": "brazil", "timestamp": NOW - 1, "type": "rating", "value": 5},
            {"item_id": "alien", "timestamp": "2027-01-15T07:00:00Z", "user_id": "me", "event_id": "1"},
        ],
    ],
)
def test_somebody_unknown_is_answered_by_inline_events(shop: Running, events: list[dict[str, object]]) -> None:
    before = shop.appended()
    [answer] = shop.client.post("/v1/recommendations", json={"events": events, "k": 3}).json()["recommendations"]
    assert names(answer) == ["casablanca", "dune", "eraserhead"]
    assert answer["as_of"] is None
    assert shop.appended() == before  # they are not kept
    assert shop.client.get("/v1/users/me").json()["events"] == 0


def test_inline_events_without_a_time_happened_in_the_order_of_the_list(trained: Running) -> None:
    def first(*items: str) -> str:
        body = {"events": [{"item_id": item} for item in items], "k": 1}
        return names(trained.client.post("/v1/recommendations", json=body).json()["recommendations"][0])[0]

    assert first("i3", "i11") == "i12"
    assert first("i11", "i3") == "i4"


def test_inline_events_of_known_times_happened_in_the_order_of_the_times(trained: Running) -> None:
    body = {"events": [{"item_id": "i11", "timestamp": NOW}, {"item_id": "i3", "timestamp": NOW - 9}], "k": 1}
    [answer] = trained.client.post("/v1/recommendations", json=body).json()["recommendations"]
    assert names(answer) == ["i12"]


def test_somebody_without_any_event_gets_what_is_popular(shop: Running) -> None:
    [answer] = shop.client.post("/v1/recommendations", json={"events": [], "k": 2}).json()["recommendations"]
    assert names(answer) == ["alien", "brazil"]


def rank(shop: Running, user: str, items: list[str]) -> dict[str, object]:
    response = shop.client.post("/v1/rank", json={"user_id": user, "items": items})
    assert response.status_code == 200, response.text
    return response.json()


def test_items_are_ranked_as_given_with_nothing_filtered_and_unknown_ones_last(shop: Running) -> None:
    answer = rank(shop, "ann", ["unknown-1", "dune", "alien", "unknown-2", "casablanca", "alien"])
    assert names(answer) == ["alien", "casablanca", "dune", "unknown-1", "unknown-2"]
    assert [item["source"] for item in answer["items"][-2:]] == ["unknown", "unknown"]
    assert answer["as_of"] == shop.client.get("/v1/users/ann").json()["as_of"]
    assert set(answer) == {"items", "model_version", "as_of", "degraded"}


def test_a_bundle_ranks_by_the_history(trained: Running) -> None:
    assert names(rank(trained, "marcher", ["i14", "i6", "i10"]))[0] == "i6"


def test_ranking_shows_nothing_and_so_leaves_no_impression(app: Running, user: str) -> None:
    rank(app, user, ["alien"])
    ask(app, f"{user}-after")
    wait_until(lambda: any(orjson.dumps(f"{user}-after") in value for value in app.records(Stream.IMPRESSIONS)))
    assert not any(orjson.dumps(user) in value for value in app.records(Stream.IMPRESSIONS))
