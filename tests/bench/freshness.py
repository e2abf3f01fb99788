"""How long until an event that was posted has changed the user's recommendations."""

import http.client
import time

import orjson
from _movielens import serving
from _report import measure, percentile, print_report, say

EVENTS = 500
DEADLINE_SECONDS = 5.0


def main() -> None:
    with serving() as (dataset, _, port):
        users = dataset.events["user"].unique(maintain_order=True).head(EVENTS).to_list()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        waits = [after_event(connection, user) * 1000 for user in users]
        say(f"{len(waits)} events")
    print_report(
        "freshness",
        {"p50": measure("ms", percentile(waits, 0.5)), "p99": measure("ms", percentile(waits, 0.99))},
        events=len(waits),
        slowest_ms=round(max(waits), 3),
    )


def after_event(connection: http.client.HTTPConnection, user: str) -> float:
    """Seconds from posting an event with the first recommended item to the first answer without it."""
    [first] = recommended(connection, user)
    event = {"user_id": user, "item_id": first, "type": "rating", "value": 5, "timestamp": time.time()}
    start = time.perf_counter()
    answer(connection, "POST", "/v1/events", orjson.dumps(event))
    while recommended(connection, user) == [first]:
        if time.perf_counter() - start > DEADLINE_SECONDS:
            raise RuntimeError(f"user {user} still gets {first} after {DEADLINE_SECONDS} s")
    return time.perf_counter() - start


def recommended(connection: http.client.HTTPConnection, user: str) -> list[str]:
    items = answer(connection, "GET", f"/v1/users/{user}/recommendations?k=1")["items"]
    return [item["item_id"] for item in items]


def answer(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> dict:
    connection.request(method, path, body)
    response = connection.getresponse()
    content = response.read()
    if response.status >= 300:
        raise RuntimeError(f"{method} {path}: {response.status} {content!r}")
    return orjson.loads(content)


if __name__ == "__main__":
    main()
