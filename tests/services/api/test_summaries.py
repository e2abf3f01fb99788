"""GET and PATCH /v1/users/{id}/summary."""

from typing import Any

import pytest

from features.events import UserId
from features.profile import Claim, UserSummary
from features.summaries import with_version
from tests.services.conftest import NOW, Running, event, wait_until


@pytest.fixture
def viewer(app: Running, user: str) -> str:
    """A user who has seen six films, half of them Drama."""
    films = [
        {"item_id": f"s{number}", "title": f"Film {number}", "categories": ["Drama" if number % 2 else "Comedy"]}
        for number in range(6)
    ]
    app.put(films)
    app.send([event(user, film["item_id"], NOW - 100 + place) for place, film in enumerate(films)])
    return user


def get(app: Running, user: str, **parameters: object) -> dict[str, Any]:
    answer = app.client.get(f"/v1/users/{user}/summary", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def patch(app: Running, user: str, **body: object) -> Any:
    return app.client.patch(f"/v1/users/{user}/summary", json=body, params={"kind": "tagging"})


def test_a_summary_is_made_on_the_spot_with_its_evidence(app: Running, viewer: str) -> None:
    said = get(app, viewer, kind="tagging")
    events = app.client.get(f"/v1/users/{viewer}/history").json()
    assert said["text"] == "Often chooses Comedy, Drama."
    [claim] = said["claims"]
    assert (claim["by"], claim["facts"]) == ("template", ["liked_category:Comedy", "liked_category:Drama"])
    assert set(claim["evidence"]) == {one["event_id"] for one in events["events"]}
    assert (said["kind"], said["as_of"], said["made_at"]) == ("tagging", events["as_of"], NOW)
    assert (said["stale"], said["is_current"], said["version"], said["versions"]) == (None, True, None, [])


def test_an_unknown_user_has_no_claims(app: Running) -> None:
    said = get(app, "nobody-at-all")
    assert (said["text"], said["claims"], said["as_of"], said["is_current"]) == ("", [], None, False)


def test_what_is_stored_is_shown_with_its_versions_and_why_it_is_stale(app: Running, viewer: str) -> None:
    store = app.backends.patient
    [(history, said)] = store.read_with_summaries([UserId(viewer)])
    assert history.as_of is not None
    stored = said.of("style")
    for number in (1, 2):
        claims = (Claim(f"Words {number}.", ("recent",), ("e1",)),)
        version = UserSummary("style", claims, f"f{number}", "toy", "p1", NOW - 60 + number, history.as_of)
        stored = with_version(stored, version)
    store.write_summaries([(history, {"style": stored})])
    answer = get(app, viewer, kind="style")
    assert (answer["text"], answer["model"], answer["prompt"], answer["version"]) == ("Words 2.", "toy", "p1", 1)
    assert answer["versions"] == [
        {"version": 1, "model": "toy", "prompt": "p1", "made_at": NOW - 58},
        {"version": 2, "model": "toy", "prompt": "p1", "made_at": NOW - 59},
    ]
    assert get(app, viewer, kind="style", version=2)["text"] == "Words 1."
    refused = app.client.get(f"/v1/users/{viewer}/summary", params={"kind": "style", "version": 3})
    assert (refused.status_code, refused.json()["title"]) == (404, "Not found")


@pytest.mark.parametrize(("name", "value"), [("kind", "poem"), ("version", "0"), ("version", "6"), ("version", "x")])
def test_a_wrong_parameter_is_named(app: Running, name: str, value: str) -> None:
    refused = app.client.get("/v1/users/u/summary", params={name: value})
    assert (refused.status_code, refused.json()["field"]) == (422, name)


def test_an_operator_corrects_hides_pins_and_takes_back(app: Running, viewer: str) -> None:
    answer = patch(app, viewer, corrections=[{"fact": "liked_category:Drama", "text": " Acts\u200b in  plays. "}])
    assert answer.status_code == 200
    assert answer.json()["text"] == "Often chooses Comedy. Acts in plays."
    [by_template, by_operator] = answer.json()["claims"]
    assert (by_template["by"], by_operator["by"], by_operator["evidence"]) == ("template", "operator", [])
    assert answer.json() == get(app, viewer, kind="tagging")
    hidden = patch(app, viewer, corrections=[{"fact": "liked_category:Comedy", "text": None}]).json()
    assert hidden["text"] == "Acts in plays."
    pinned = patch(app, viewer, corrections=[{"fact": "note", "text": "Is a member.", "pinned": True}]).json()
    assert pinned["text"] == "Is a member. Acts in plays."
    assert [one["fact"] for one in pinned["corrections"]] == ["liked_category:Comedy", "liked_category:Drama", "note"]
    back = patch(app, viewer, removed=["note", "liked_category:Comedy", "liked_category:Drama"]).json()
    assert (back["text"], back["corrections"]) == ("Often chooses Comedy, Drama.", [])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "corrections"),
        ({"corrections": [{"fact": "liked_category:Drama"}]}, "corrections.0.text"),
        ({"corrections": [{"fact": "liked_category:Drama", "text": "\u200b \n"}]}, "corrections.0.text"),
        ({"corrections": [{"fact": "liked_category:Drama", "text": "x" * 301}]}, "corrections.0.text"),
        ({"corrections": [{"fact": "liked_category:Drama", "text": 5}]}, "corrections.0.text"),
        ({"corrections": [{"fact": "liked_category:War", "text": "x"}]}, "corrections.0.fact"),
        ({"corrections": [{"fact": "", "text": "x"}]}, "corrections.0.fact"),
        ({"corrections": [{"fact": "note", "pinned": True}]}, "corrections.0.text"),
        ({"corrections": [{"fact": "note", "text": "x", "pinned": 1}]}, "corrections.0.pinned"),
        ({"corrections": [{"fact": "note", "text": "x", "pinned": True}] * 2}, "corrections"),
        ({"corrections": [{"fact": "note", "text": "x", "pinned": True, "by": "me"}]}, "corrections.0.by"),
        ({"removed": ["liked_category:Drama"]}, "removed.0"),
    ],
)
def test_a_wrong_correction_is_named_and_changes_nothing(
    app: Running, viewer: str, body: dict[str, object], field: str
) -> None:
    refused = patch(app, viewer, **body)
    assert (refused.status_code, refused.json()["field"]) == (422, field), refused.text
    assert get(app, viewer)["corrections"] == []


def test_nothing_is_kept_of_a_user_nobody_has_heard_of(app: Running) -> None:
    refused = patch(app, "nobody-at-all", corrections=[{"fact": "note", "text": "x", "pinned": True}])
    assert refused.status_code == 404


def test_an_erasure_takes_corrections_and_summaries(app: Running, viewer: str) -> None:
    patch(app, viewer, corrections=[{"fact": "note", "text": "Is a member.", "pinned": True}])
    app.client.delete(f"/v1/users/{viewer}")
    wait_until(lambda: get(app, viewer)["corrections"] == [])
    assert get(app, viewer)["text"] == ""


def test_titles_and_corrections_are_text_in_an_answer_that_no_browser_takes_for_a_page(app: Running, user: str) -> None:
    title = "<script>alert('&')</script>"
    app.put({"item_id": "s-script", "title": title})
    app.send(event(user, "s-script", NOW))
    corrections = [{"fact": "note", "text": "<img src=x onerror=alert(1)>", "pinned": True}]
    app.client.patch(f"/v1/users/{user}/summary", json={"corrections": corrections})
    answer = app.client.get(f"/v1/users/{user}/summary", params={"kind": "ranking"})
    assert not {"<", ">", "&"} & set(answer.text)
    assert answer.json()["text"] == f"<img src=x onerror=alert(1)> Recent: {title}."
    assert answer.json()["text_html"].startswith("&lt;img src=x onerror=alert(1)&gt; Recent: &lt;script&gt;")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_user_whose_id_ends_in_the_routes_name_is_not_taken_for_another(app: Running) -> None:
    assert app.client.get("/v1/users/ada%2Fsummary").status_code == 422
