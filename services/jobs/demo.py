"""The whole story on MovieLens 100K, in one command: import, evaluate, serve, update, erase."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import orjson
from rich.table import Table

from features.datasets import Dataset, fingerprint, load, pull
from features.errors import DemoFailed
from features.profile import Position
from models.bundle import train_counts
from models.evaluation import evaluate_ranking
from services.bundles import publish
from services.console import err, out, progress
from services.jobs.importing import import_dataset
from services.running import run_ingest
from services.settings import Settings

DATA: Final = "ml-100k"
MODELS: Final = ("popularity", "itemknn", "transitions", "ease", "pipeline-counts")
USER: Final = "196"
RATED_NOW: Final = 3
VISITOR_COPIES: Final = "405"
WAIT_SECONDS: Final = 10.0
START_SECONDS: Final = 120.0


def run_demo(settings: Settings) -> None:
    """Runs every step and prints a summary. Raises DemoFailed, and what the steps raise."""
    start = time.perf_counter()
    summary: dict[str, str] = {}
    dataset = _import(settings, summary)
    _evaluate(dataset, summary)
    _train(settings, dataset, summary)
    with _server(settings) as api:
        titles = dict(dataset.items.select("item", "title").iter_rows())
        before = _recommend(api, summary)
        _update(api, dataset, titles, before, summary)
        _history(api, titles)
        _erase(api, settings, dataset, summary)
    _heading("Summary")
    summary["all of it"] = f"{time.perf_counter() - start:.0f} s"
    for what, result in summary.items():
        out.print(f"  {what:<15} {result}")
    out.print(f"\n`make up` keeps serving what is in this home; http://127.0.0.1:{settings.port}/docs shows the API.")


def _import(settings: Settings, summary: dict[str, str]) -> Dataset:
    _heading("1. MovieLens 100K from the package index, through the log, into profiles")
    pull(DATA, settings.home, err.print if err.is_terminal else None)
    dataset = load(DATA, settings.home)
    sent = import_dataset(settings, DATA, None, None, None, None, time.time())
    applied = run_ingest(settings, until_end=True)
    if applied["problems"]:
        raise DemoFailed(f"the ingest did not end well: {'; '.join(applied['problems'])}")
    users = sent["users"]
    out.print(
        f"  {sent['events']:,} ratings by {users} users of {sent['items']:,} films: "
        f"to the log in {sent['seconds']:.1f} s, into the profiles in {applied['seconds']:.1f} s"
    )
    summary["events"] = f"{sent['events']:,} through the log into {users} profiles"
    return dataset


def _evaluate(dataset: Dataset, summary: dict[str, str]) -> None:
    _heading("2. Evaluation: each user's last film held out, ranked among all they have not seen")
    with progress("evaluating") as advance:
        report = evaluate_ranking(
            dataset.events, dataset.items, fingerprint=fingerprint(dataset), models=MODELS, progress=advance
        )
    table = Table("model", "NDCG@10", "HR@10", box=None, pad_edge=True)
    for name, measures in report["models"].items():
        table.add_row(name, f"{measures['ndcg@10']:.4f}", f"{measures['hr@10']:.4f}")
    out.print(table)
    best = report["models"]["pipeline-counts"]
    summary["pipeline-counts"] = f"NDCG@10 {best['ndcg@10']:.4f}, HR@10 {best['hr@10']:.4f} on held-out events"


def _train(settings: Settings, dataset: Dataset, summary: dict[str, str]) -> None:
    _heading("3. The same models, fitted on all but the held-out events, published as a bundle")
    with progress("fitting") as advance:
        bundle = train_counts(dataset.events, dataset.items, fingerprint=fingerprint(dataset), progress=advance)
    folder = publish(settings, bundle)
    out.print(f"  {bundle.name} in {folder}")
    summary["bundle"] = bundle.name


def _recommend(api: "_Api", summary: dict[str, str]) -> list[dict[str, Any]]:
    _heading(f"4. GET /v1/users/{USER}/recommendations")
    answer = api.get(f"/v1/users/{USER}/recommendations?k=8")
    for item in answer["items"]:
        out.print(f"  {item['title']:<48} {item['reason']}")
    out.print(f"  model {answer['model_version']}, as of {answer['as_of']}")
    summary["user " + USER] = f"{len(answer['items'])} films, each with its reason"
    return list(answer["items"])


def _update(
    api: "_Api",
    dataset: Dataset,
    titles: dict[str, str],
    before: Sequence[dict[str, Any]],
    summary: dict[str, str],
) -> None:
    """The most rated films that the user has not rated: a second demo in the same home rates the next ones."""
    known = {event["item_id"] for event in api.get(f"/v1/users/{USER}/history?limit=500")["events"]}
    most_rated = dataset.events["item"].value_counts(sort=True)["item"]
    liked = [item for item in most_rated if item not in known][:RATED_NOW]
    _heading(f"5. User {USER} gives five stars to {', '.join(titles[item] for item in liked)}")
    now = time.time()
    events = [
        {"event_id": f"demo-{item}", "user_id": USER, "item_id": item, "type": "rating", "value": 5, "timestamp": now}
        for item in liked
    ]
    start = time.perf_counter()
    [*_, last] = api.post("/v1/events", events)["positions"]
    while True:
        answer = api.get(f"/v1/users/{USER}/recommendations?k=8")
        if _covers(answer["as_of"], last):
            break
        if time.perf_counter() - start > WAIT_SECONDS:
            raise DemoFailed(f"the events at {last} are not in the answers after {WAIT_SECONDS:.0f} s")
    milliseconds = (time.perf_counter() - start) * 1000
    old = {item["item_id"] for item in before}
    for item in answer["items"]:
        mark = " " if item["item_id"] in old else "+"
        out.print(f"{mark} {item['title']:<48} {item['reason']}")
    new = {item["item_id"] for item in answer["items"]}
    gone = [item["title"] for item in before if item["item_id"] not in new]
    out.print(f"  gone: {', '.join(gone) or 'none'}")
    out.print(f"  {milliseconds:.1f} ms from the first byte of the events to the answer that knows them")
    summary["freshness"] = f"{milliseconds:.1f} ms from events posted to recommendations changed ({len(gone)} of 8)"


def _history(api: "_Api", titles: dict[str, str]) -> None:
    _heading(f"6. GET /v1/users/{USER}/history")
    for event in api.get(f"/v1/users/{USER}/history?limit=6")["events"]:
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(event["timestamp"]))
        out.print(f"  {when}  {event['value']:.0f} stars  {titles[event['item_id']]}")


def _erase(api: "_Api", settings: Settings, dataset: Dataset, summary: dict[str, str]) -> None:
    """A visitor with an id that can be searched for, and user 405's ratings: "196" stands in many a file by chance."""
    visitor = f"visitor-{token_hex(8)}"
    _heading(f"7. Erasing {visitor}, who has the ratings of user {VISITOR_COPIES}")
    copied = dataset.events.filter(dataset.events["user"] == VISITOR_COPIES).head(100)
    events = [
        {
            "event_id": f"{visitor}-{place}",
            "user_id": visitor,
            "item_id": item,
            "type": "rating",
            "value": value,
            "timestamp": at,
        }
        for place, (item, value, at) in enumerate(copied.select("item", "value", "at").iter_rows())
    ]
    [*_, last] = api.post("/v1/events", events)["positions"]
    _until(lambda: _covers(api.get(f"/v1/users/{visitor}/recommendations")["as_of"], last), "the visitor's profile")
    _until(lambda: len(_files_with(settings.home, visitor)) > 0, "the visitor in the log")
    found = _files_with(settings.home, visitor)
    out.print(f"  before: the id is in {', '.join(found)}")
    erased = api.delete(f"/v1/users/{visitor}")
    _until(lambda: api.get(f"/v1/users/{visitor}")["events"] == 0, "the empty profile")
    _until(lambda: not _files_with(settings.home, visitor), "files without the visitor")
    out.print(f"  erased {erased['log_records']} records of the log; the profile is empty")
    out.print(f"  after: no file under {settings.home} holds the id")
    out.print(
        "  Trained models are not retrained: what they counted stays counted until they are fitted without the user."
    )
    summary["erasure"] = f"{visitor}: in {len(found)} files before, in none after"


def _files_with(home: Path, text: str) -> list[str]:
    """The files under a folder that hold this text."""
    found = []
    for path in sorted(home.rglob("*")):
        try:
            if path.is_file() and text.encode() in path.read_bytes():
                found.append(str(path.relative_to(home)))
        except FileNotFoundError:
            continue  # a file that was replaced since it was listed
    return found


def _covers(as_of: str | None, position: str) -> bool:
    return as_of is not None and Position.parse(as_of).covers(Position.parse(position))


def _until(holds: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise DemoFailed(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)


class _Api:
    """JSON over one connection to the demo's own server."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(self, path: str) -> dict[str, Any]:
        return self._answer("GET", path)

    def post(self, path: str, body: Any) -> dict[str, Any]:
        return self._answer("POST", path, orjson.dumps(body))

    def delete(self, path: str) -> dict[str, Any]:
        return self._answer("DELETE", path)

    def is_ready(self) -> bool:
        try:
            self._connection.request("GET", "/readyz")
            response = self._connection.getresponse()
            response.read()
            return response.status == 200
        except OSError:
            self._connection.close()
            return False

    def has_caught_up(self) -> bool:
        """Whether the ingest has applied the newest event of the log."""
        self._connection.request("GET", "/metrics")
        lines = self._connection.getresponse().read().decode().splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        name = 'tasteprint_{}_newest_timestamp_seconds{{stream="events"}}'
        return values.get(name.format("ingest"), "") == values.get(name.format("log"))

    def _answer(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        self._connection.request(method, path, body)
        response = self._connection.getresponse()
        content: dict[str, Any] = orjson.loads(response.read())
        if response.status >= 300:
            raise DemoFailed(f"{method} {path} was answered with {response.status}: {content.get('detail')}")
        return content


@contextmanager
def _server(settings: Settings) -> Iterator[_Api]:
    """`tasteprint up` on a free port, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    log = settings.home / "demo-server.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.cli", "up", "--host", "127.0.0.1", "--port", str(port)],
            env=os.environ | {"TASTEPRINT_HOME": str(settings.home), "TASTEPRINT_VERB": "watched"},
            stderr=written,
        )
    try:
        api = _Api(port)
        _until(lambda: api.is_ready() or process.poll() is not None, f"the server; {log} says more", START_SECONDS)
        if process.poll() is not None:
            raise DemoFailed(f"the server did not start: {log.read_text()[-500:]}")
        # A consumer goes back a minute when it starts, which is the whole import: what it lags would be measured too.
        _until(api.has_caught_up, "the ingest", START_SECONDS)
        yield api
    finally:
        process.terminate()
        process.wait(30)


def _heading(text: str) -> None:
    out.print(f"\n[bold]{text}[/bold]")
