"""Liveness, readiness, metrics, and which model answers."""

import re

from tests.services.conftest import NOW, Running, event, wait_until


def metrics(app: Running) -> str:
    response = app.client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return response.text


def value(app: Running, series: str) -> float:
    """The value of a series as it stands in the text, 0 before its first count."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", metrics(app), re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_running_server_is_alive_and_ready(app: Running) -> None:
    assert app.client.get("/livez").json() == {"status": "ok"}
    response = app.client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ok", "problems": [], "degraded": []})


def test_requests_are_counted_by_route_and_status_and_never_by_user(app: Running, user: str) -> None:
    good = 'tasteprint_requests_total{method="GET",route="/v1/users/{user_id:path}/recommendations",status="200"}'
    bad = good.replace("200", "422")
    before = value(app, good), value(app, bad)
    for k in (1, 2, 0):
        app.client.get(f"/v1/users/{user}/recommendations?k={k}")
    assert (value(app, good), value(app, bad)) == (before[0] + 2, before[1] + 1)


def test_metrics_never_carry_the_id_of_a_user_or_an_item(app: Running, user: str) -> None:
    app.send(event(user, f"item-of-{user}", NOW, event_id=user))
    for path in ("", "/history", "/recommendations", "/recommendations?k=0", "/no/such/route"):
        app.client.get(f"/v1/users/{user}{path}")
    app.client.get(f"/v1/{user}")
    app.client.request("PROPFIND", f"/v1/users/{user}")
    app.client.delete(f"/v1/users/{user}")
    assert user not in metrics(app)


def test_unknown_paths_do_not_each_get_a_series(app: Running) -> None:
    for number in range(5):
        app.client.get(f"/nothing/{number}")
    assert len(re.findall(r"^tasteprint_requests_total\{.*unmatched.*404", metrics(app), re.MULTILINE)) == 1


def test_what_the_ingest_applied_is_counted_and_dated(app: Running, user: str) -> None:
    series = 'tasteprint_ingested_records_total{stream="events"}'
    before = value(app, series)
    app.send([event(user, f"i{number}", NOW) for number in range(3)])
    wait_until(lambda: value(app, series) >= before + 3)  # more when others' records were still on their way
    assert value(app, 'tasteprint_ingest_newest_timestamp_seconds{stream="events"}') == NOW
    wait_until(lambda: value(app, 'tasteprint_log_newest_timestamp_seconds{stream="events"}') == NOW)


def test_impressions_are_counted(app: Running, user: str) -> None:
    before = value(app, "tasteprint_impressions_written")
    app.client.get(f"/v1/users/{user}/recommendations")
    wait_until(lambda: value(app, "tasteprint_impressions_written") > before)
    assert value(app, "tasteprint_impressions_dropped") == 0


def test_the_model_in_use_is_told_with_its_manifest(trained: Running, app: Running) -> None:
    answer = trained.client.get("/v1/models").json()
    used = trained.client.get("/v1/users/nobody/recommendations").json()["model_version"]
    assert answer["in_use"] == answer["manifest"]["name"] == used
    assert answer["manifest"]["data"]["fingerprint"] == "toy"
    answer = app.client.get("/v1/models").json()
    assert (answer["in_use"], answer["manifest"], answer["refused"]) == ("popularity", None, None)
