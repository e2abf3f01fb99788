"""POST /v1/events."""

import orjson
import pytest

from features.profile import Position
from streaming.log import Stream
from tests.services.conftest import NOW, Running, event, wait_until


def profile(app: Running, user: str) -> dict[str, object]:
    return app.client.get(f"/v1/users/{user}").json()


def test_an_accepted_event_comes_to_stand_in_the_profile_at_its_position(app: Running, user: str) -> None:
    response = app.client.post("/v1/events", json=event(user, "alien", NOW - 5))
    assert response.status_code == 202
    answer = response.json()
    [position] = answer["positions"]
    assert answer == {"accepted": 1, "event_ids": [f"{user}-alien-{NOW - 5:.0f}"], "positions": [position]}
    wait_until(lambda: profile(app, user)["as_of"] == position)
    assert profile(app, user) == {
        "user_id": user,
        "events": 1,
        "items_seen": 1,
        "first_at": NOW - 5,
        "last_at": NOW - 5,
        "as_of": position,
    }


def test_a_list_is_accepted_whole_with_an_id_and_a_position_for_each(app: Running, user: str) -> None:
    items = ["alien", "brazil", "casablanca"]
    answer = app.send([event(user, item, NOW - 30 + place) for place, item in enumerate(items)])
    assert answer["accepted"] == 3
    assert answer["event_ids"] == [f"{user}-{item}-{NOW - 30 + place:.0f}" for place, item in enumerate(items)]
    offsets = [Position.parse(position).offset for position in answer["positions"]]
    assert offsets == list(range(offsets[0], offsets[0] + 3))
    assert profile(app, user)["events"] == 3


def test_sending_again_changes_nothing(app: Running, user: str) -> None:
    events = [event(user, item, NOW - 9) for item in ("alien", "brazil")]
    app.send(events)
    before = app.client.get(f"/v1/users/{user}/history").json()["events"]
    for _ in range(3):
        app.send(events)
    assert app.client.get(f"/v1/users/{user}/history").json()["events"] == before
    assert profile(app, user)["events"] == 2


def test_an_event_without_an_id_gets_one_from_its_content(app: Running, user: str) -> None:
    sent = {"user_id": user, "item_id": "alien", "type": "view", "timestamp": NOW - 3}
    first, again, other = (app.send(body)["event_ids"] for body in (sent, sent, sent | {"item_id": "brazil"}))
    assert first == again != other
    assert profile(app, user)["events"] == 2


def test_an_event_without_a_time_happens_when_it_arrives(app: Running, user: str) -> None:
    app.send({"event_id": f"{user}-1", "user_id": user, "type": "view", "item_id": "alien"})
    assert profile(app, user)["last_at"] == NOW


def test_iso_times_with_a_zone_are_the_same_as_seconds(app: Running, user: str) -> None:
    app.send({"user_id": user, "type": "view", "timestamp": "2027-01-15T10:00:00+02:00"})
    assert profile(app, user)["last_at"] == NOW


def test_null_is_the_same_as_absent(app: Running, user: str) -> None:
    bare = {"user_id": user, "type": "view", "timestamp": NOW - 1}
    full = bare | dict.fromkeys(["event_id", "item_id", "value", "session_id", "recommendation_id", "properties"])
    assert app.send(bare)["event_ids"] == app.send(full)["event_ids"]


def test_what_was_sent_comes_back_whole(app: Running, user: str) -> None:
    sent = event(user, "Amélie 🎬", NOW - 2, value=4.5, session_id="s", recommendation_id="r") | {
        "properties": {"nested": {"list": [1, None, True, "é"]}, "a": 0.5}
    }
    app.send(sent)
    assert app.client.get(f"/v1/users/{user}/history").json()["events"] == [sent]


@pytest.mark.parametrize("odd", ["a/b", "ü ñ", "100%", "a?b#c", "..", "%2F", "\u0000", "'\"<>", "x" * 128])
def test_any_text_is_an_id(app: Running, odd: str) -> None:
    app.send({"event_id": f"e-{odd}"[:128], "user_id": odd, "item_id": odd, "type": odd[:64], "timestamp": NOW})
    path = "".join(f"%{byte:02X}" for byte in odd.encode())
    assert app.client.get(f"/v1/users/{path}/history").json()["events"][0]["user_id"] == odd
    assert app.client.get(f"/v1/users/{path}").json()["events"] == 1


def test_an_event_is_in_the_log_as_soon_as_it_is_accepted(app: Running, user: str) -> None:
    app.client.post("/v1/events", json=event(user, "alien", NOW))
    assert orjson.dumps(user) in b"".join(app.records(Stream.EVENTS))


def test_the_most_events_of_one_request_are_accepted(app: Running, user: str) -> None:
    most = app.serving.settings.batch_most
    assert app.send([event(user, f"i{number}", NOW - number) for number in range(most)])["accepted"] == most
    assert profile(app, user)["items_seen"] == most


def test_properties_are_applied_as_deep_as_they_are_accepted(app: Running, user: str) -> None:
    accepted = 0
    for depth in range(185, 206):
        body = b'{"event_id":"%s-%d","user_id":"%s","type":"view","properties":%s1%s}'
        body %= (user.encode(), depth, user.encode(), b'{"a":' * depth, b"}" * depth)
        response = app.client.post("/v1/events", content=body)
        if response.status_code == 202:
            accepted += 1
            app.applied([user], response.json()["positions"])
    assert 0 < accepted < 21
    assert app.backends.dead_letters.count() == 0
    assert len(app.client.get(f"/v1/users/{user}/history").json()["events"]) == accepted
