"""GET /v1/users/{id}, its history, and forgetting."""

from pathlib import Path

import pytest

from features.events import UserId
from services.settings import Settings
from streaming.log import Stream
from tests.services.conftest import NOW, Running, event, running, wait_until


def pages(app: Running, user: str, limit: int) -> list[list[str]]:
    """The event ids of every page, following the cursors."""
    found, cursor = [], None
    while True:
        params = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        page = app.client.get(f"/v1/users/{user}/history", params=params).json()
        found.append([one["event_id"] for one in page["events"]])
        cursor = page["next_cursor"]
        if cursor is None:
            return found
        assert len(found) < 50, "the pages have no end"


def test_an_unknown_user_has_an_empty_profile(app: Running) -> None:
    assert app.client.get("/v1/users/nobody-at-all").json() == {
        "user_id": "nobody-at-all",
        "events": 0,
        "items_seen": 0,
        "first_at": None,
        "last_at": None,
        "as_of": None,
    }
    assert app.client.get("/v1/users/nobody-at-all/history").json() == {
        "user_id": "nobody-at-all",
        "events": [],
        "next_cursor": None,
        "as_of": None,
    }


def test_the_history_is_newest_first_with_the_position_of_the_last_event(app: Running, user: str) -> None:
    sent = [event(user, item, NOW - age) for item, age in (("b", 20), ("c", 10), ("a", 30))]
    last = app.send(sent)["positions"][-1]
    history = app.client.get(f"/v1/users/{user}/history").json()
    assert [one["item_id"] for one in history["events"]] == ["c", "b", "a"]
    assert history["as_of"] == last
    assert history["next_cursor"] is None


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 500])
def test_the_pages_of_a_history_have_every_event_exactly_once(app: Running, user: str, limit: int) -> None:
    # Three events share a time and their ids hold the characters that a cursor is made of.
    at = [NOW - 9, NOW - 0.1, NOW - 7, NOW - 7, NOW - 7, NOW - 1 / 3, NOW - 8]
    sent = [event(user, f"i{place}", when, event_id=f"{place}:é+ &{limit}:") for place, when in enumerate(at)]
    app.send(sent)
    found = pages(app, user, limit)
    newest_first = sorted(sent, key=lambda one: (one["timestamp"], one["event_id"]), reverse=True)
    assert [one for page in found for one in page] == [one["event_id"] for one in newest_first]
    assert all(0 < len(page) <= limit for page in found)


def test_paging_goes_on_where_it_was_when_events_arrive_in_between(app: Running, user: str) -> None:
    app.send([event(user, f"i{number}", NOW - number) for number in range(10, 14)])
    first = app.client.get(f"/v1/users/{user}/history", params={"limit": 2}).json()
    app.send(event(user, "newer", NOW))
    rest = app.client.get(f"/v1/users/{user}/history", params={"cursor": first["next_cursor"]}).json()
    assert [one["item_id"] for one in first["events"] + rest["events"]] == ["i10", "i11", "i12", "i13"]


def test_a_history_keeps_the_newest_events_and_every_item_seen(own_home: Path) -> None:
    with running(Settings(home=own_home, history_limit=3)) as app:
        app.send([event("u", f"i{number}", NOW - 100 + number) for number in range(8)])
        history = app.client.get("/v1/users/u/history").json()["events"]
        assert [one["item_id"] for one in history] == ["i7", "i6", "i5"]
        profile = app.client.get("/v1/users/u").json()
        assert (profile["events"], profile["items_seen"]) == (3, 8)
        # What was trimmed away is still seen.
        answer = app.client.get("/v1/users/u/recommendations").json()
        assert answer["items"] == []


DISTINCTIVE = "Wilhelmina-Zzyzx-4711"


def files_that_name_her(home: Path) -> list[str]:
    return [path.name for path in home.rglob("*") if DISTINCTIVE.encode() in content(path)]


def content(path: Path) -> bytes:
    """Of a file; nothing of a folder, a socket, or what the store has removed in the meantime."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except FileNotFoundError:
        return b""


def test_after_forgetting_a_user_nothing_is_left_not_in_any_file_either(own_home: Path) -> None:
    with running(Settings(home=own_home)) as app:
        app.put({"item_id": "alien", "title": "Alien"})
        events = [event(DISTINCTIVE, item, NOW - 50 + place) for place, item in enumerate(["alien", "brazil"])]
        app.send([*events, event("neighbour", "alien", NOW - 5)])
        # A dead letter that names her, too: a record that only a broken producer could have written.
        app.log.append(Stream.EVENTS, [(DISTINCTIVE, b'{"user_id":"%b"}' % DISTINCTIVE.encode())], NOW)
        wait_until(lambda: app.backends.dead_letters.count() == 1)
        app.client.get(f"/v1/users/{DISTINCTIVE}/recommendations")
        wait_until(lambda: len(app.records(Stream.IMPRESSIONS)) == 1)
        assert files_that_name_her(own_home)  # the search would find her

        response = app.client.delete(f"/v1/users/{DISTINCTIVE}")
        assert response.status_code == 202
        answer = response.json()
        assert answer["erased"] is True
        assert answer["dead_letters"] == 1
        wait_until(lambda: app.client.get(f"/v1/users/{DISTINCTIVE}").json()["events"] == 0)

        profile = app.client.get(f"/v1/users/{DISTINCTIVE}").json()
        assert (profile["events"], profile["items_seen"], profile["last_at"]) == (0, 0, None)
        assert app.client.get(f"/v1/users/{DISTINCTIVE}/history").json()["events"] == []
        assert app.backends.patient.export(UserId(DISTINCTIVE)) == (b"", ())
        assert not any(DISTINCTIVE.encode() in value for stream in Stream for value in app.records(stream))
        wait_until(lambda: not files_that_name_her(own_home))

        # Others keep what they have.
        assert app.client.get("/v1/users/neighbour").json()["events"] == 1

        # What happened before the erasure and arrives late is dropped; what happens afterwards counts.
        app.send(event(DISTINCTIVE, "alien", NOW - 60))
        assert app.client.get(f"/v1/users/{DISTINCTIVE}").json()["events"] == 0
        app.send(event(DISTINCTIVE, "alien", NOW + 60))
        assert app.client.get(f"/v1/users/{DISTINCTIVE}").json()["events"] == 1

        # And again, with an event that a fast clock put after now.
        app.client.delete(f"/v1/users/{DISTINCTIVE}")
        wait_until(lambda: app.client.get(f"/v1/users/{DISTINCTIVE}").json()["events"] == 0)
        wait_until(lambda: not files_that_name_her(own_home))
    assert not files_that_name_her(own_home)


def test_forgetting_somebody_nobody_has_heard_of_is_accepted(app: Running) -> None:
    response = app.client.delete("/v1/users/never-was-here")
    assert response.status_code == 202
    assert response.json()["log_records"] == 0
    assert app.client.get("/v1/users/never-was-here").json()["events"] == 0


def test_what_was_shown_to_a_user_a_moment_before_forgetting_is_forgotten_too(app: Running, user: str) -> None:
    app.client.get(f"/v1/users/{user}/recommendations")
    app.client.delete(f"/v1/users/{user}")
    # What is shown afterwards to somebody else is written after all that waited before.
    app.client.get(f"/v1/users/{user}-neighbour/recommendations")
    wait_until(lambda: any(f'"{user}-neighbour"'.encode() in value for value in app.records(Stream.IMPRESSIONS)))
    assert not any(f'"{user}"'.encode() in value for value in app.records(Stream.IMPRESSIONS))
