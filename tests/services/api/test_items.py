"""POST /v1/items, GET /v1/items/{id} and what is similar."""

import pytest

from tests.services.conftest import NOW, Running, wait_until


def post(app: Running, *items: dict[str, object]) -> None:
    response = app.client.post("/v1/items", json=list(items))
    assert response.status_code == 202, response.text
    assert response.json() == {"accepted": len(items)}


def get(app: Running, item: str) -> dict[str, object]:
    return app.client.get(f"/v1/items/{item}").json()


def test_an_item_comes_back_as_it_was_sent(app: Running) -> None:
    item = {
        "item_id": "whole",
        "title": "Amélie",
        "text": "Paris",
        "categories": ["love", "comedy"],
        "attributes": {"year": 2001},
        "hidden": True,
        "timestamp": NOW - 1,
    }
    app.put(item)
    assert get(app, "whole") == item


def test_one_item_needs_no_list(app: Running) -> None:
    assert app.client.post("/v1/items", json={"item_id": "single"}).json() == {"accepted": 1}
    wait_until(lambda: get(app, "single") == {"item_id": "single", "timestamp": NOW})


def test_the_last_version_wins_and_replaces_the_one_before_it_whole(app: Running) -> None:
    app.put({"item_id": "versions", "title": "First", "categories": ["love"], "text": "long", "timestamp": NOW - 2})
    post(app, {"item_id": "versions", "title": "Second", "timestamp": NOW - 1})
    wait_until(lambda: get(app, "versions") == {"item_id": "versions", "title": "Second", "timestamp": NOW - 1})


def test_an_older_version_that_arrives_later_changes_nothing(app: Running) -> None:
    app.put({"item_id": "late", "title": "New", "timestamp": NOW - 1})
    post(app, {"item_id": "late", "title": "Old", "timestamp": NOW - 2}, {"item_id": "late-after"})
    wait_until(lambda: app.client.get("/v1/items/late-after").status_code == 200)
    assert get(app, "late")["title"] == "New"


def test_the_store_has_the_catalogue_that_the_server_answers_from(app: Running) -> None:
    app.put({"item_id": "stored", "title": "Stored"})
    wait_until(lambda: "Stored" in [item.title for item in app.backends.patient.items()])


def test_an_unknown_item_is_not_found_and_the_answer_says_what_to_do(app: Running) -> None:
    response = app.client.get("/v1/items/nothing-like-it")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert "'nothing-like-it'" in response.json()["detail"]
    assert "POST /v1/items" in response.json()["detail"]


def test_hiding_an_item_takes_it_out_of_the_lists_and_showing_it_brings_it_back(app: Running, user: str) -> None:
    app.put({"item_id": "seesaw", "categories": ["seesaws"], "timestamp": NOW - 9})

    def is_recommended() -> bool:
        answer = app.client.get(f"/v1/users/{user}/recommendations", params={"category": "seesaws"})
        return [item["item_id"] for item in answer.json()["items"]] == ["seesaw"]

    wait_until(is_recommended)
    post(app, {"item_id": "seesaw", "categories": ["seesaws"], "hidden": True, "timestamp": NOW - 8})
    wait_until(lambda: not is_recommended())
    post(app, {"item_id": "seesaw", "categories": ["seesaws"], "timestamp": NOW - 7})
    wait_until(is_recommended)


def test_similar_items_of_a_trained_bundle_are_those_that_the_same_users_chose(trained: Running) -> None:
    answer = trained.client.get("/v1/items/i7/similar", params={"k": 4}).json()
    assert answer["item_id"] == "i7"
    # Users take five or so items in a row: the neighbours on the ring are chosen with it most often.
    assert {"i6", "i8"} <= {item["item_id"] for item in answer["items"]}
    assert len(answer["items"]) == 4
    assert "i7" not in [item["item_id"] for item in answer["items"]]
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    assert {item["reason"] for item in answer["items"]} == {"chosen with The i7"}


def test_without_a_bundle_similar_items_share_categories(shop: Running) -> None:
    answer = shop.client.get("/v1/items/alien/similar").json()["items"]
    assert {item["item_id"] for item in answer} == {"brazil", "dune", "eraserhead"}
    assert {item["reason"] for item in answer} == {"of the same categories as Alien"}


def test_hidden_items_are_similar_to_nothing(shop: Running) -> None:
    assert shop.client.get("/v1/items/casablanca/similar").json()["items"] == []


def test_nothing_is_similar_to_an_item_nobody_knows(shop: Running) -> None:
    response = shop.client.get("/v1/items/nothing-like-it/similar")
    assert (response.status_code, response.json()["items"]) == (200, [])


@pytest.mark.parametrize("odd", ["a/b", "a/b/similar/c", "100%", "é"])
def test_any_text_is_an_id(app: Running, odd: str) -> None:
    path = "".join(f"%{byte:02X}" for byte in odd.encode())
    post(app, {"item_id": odd, "title": "odd"})
    wait_until(lambda: get(app, path).get("item_id") == odd)
