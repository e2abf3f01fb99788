"""From `models promote` and `models rollback` to the first answer by the other bundle, under load."""

import http.client
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from _movielens import append_all, empty_home, free_port, movielens, running
from _report import measure, percentile, print_report, say

from services.promotions import pointer
from services.settings import Settings, load_settings
from services.wiring import open_log

ROUNDS, CONNECTIONS = 3, 4
DEADLINE_SECONDS = 60.0
SCRIPT = """
local users = {%s}
local place = 0
request = function()
  place = place %% #users + 1
  return wrk.format("GET", "/v1/users/" .. users[place] .. "/recommendations?k=10")
end
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %%d %%d\\n", summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(slots=True)
class Load:
    """What was asked while it went on."""

    requests: int = 0
    failed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def main() -> None:
    dataset = movielens()
    folder = str(load_settings().home / "datasets" / "ml-100k")
    load = Load()
    taken: dict[str, list[tuple[float, float, float]]] = {"promote": [], "rollback": []}
    with empty_home() as settings:
        log = open_log(settings)
        append_all(dataset, log, time.time())
        log.close()
        first, second = (trained(settings, folder, seed) for seed in (0, 1))
        users = dataset.events["user"].unique(maintain_order=True).to_list()
        port = free_port()
        command = [sys.executable, "-m", "services.cli", "up", "--port", str(port)]
        with running(command, port, "/readyz", {"TASTEPRINT_HOME": str(settings.home)}):
            for _ in range(ROUNDS):
                for arguments, name in ((("promote", second), second), (("rollback",), first)):
                    with under_load(port, users, load):
                        taken[arguments[0]].append(seconds_until_served(settings, port, arguments, name))
                    say(f"models {arguments[0]}: served after {taken[arguments[0]][-1][0]:.2f} s")
    measures = {}
    for what, rounds in taken.items():
        for place, since in enumerate(("command", "pointer")):
            measures[f"{what}_from_{since}"] = measure("s", percentile([figures[place] for figures in rounds], 0.5))
            measures[f"{what}_from_{since}_slowest"] = measure("s", max(figures[place] for figures in rounds))
        measures[f"{what}_whole_command"] = measure("s", percentile([figures[2] for figures in rounds], 0.5))
    measures["failed_requests"] = measure("requests", load.failed)
    print_report("promote", measures, requests=load.requests, rounds=ROUNDS, connections=CONNECTIONS)


def trained(settings: Settings, folder: str, seed: int) -> str:
    """The name of a bundle that `train counts` has registered."""
    arguments = ("train", "counts", "--data", folder, "--seed", str(seed), "--json")
    ended = subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments], env=environment(settings), capture_output=True, check=True
    )
    name = orjson.loads(ended.stdout)["model"]
    say(f"seed {seed}: {name}")
    return str(name)


def seconds_until_served(
    settings: Settings, port: int, arguments: tuple[str, ...], name: str
) -> tuple[float, float, float]:
    """Seconds until /v1/models names the bundle, from the command's start and from the pointer's move; and until the
    command's end."""
    start, began = time.perf_counter(), time.time()
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli", "models", *arguments, "--json"],
        env=environment(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while in_use(connection) != name:
        if time.perf_counter() - start > DEADLINE_SECONDS:
            raise RuntimeError(f"{name} is not served after {DEADLINE_SECONDS} s")
        time.sleep(0.02)
    served = time.perf_counter() - start
    moved = pointer(settings).stat().st_mtime - began
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"models {' '.join(arguments)}: {said.decode()}")
    return served, served - moved, time.perf_counter() - start


def in_use(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/v1/models")
    return str(orjson.loads(connection.getresponse().read())["in_use"])


def environment(settings: Settings) -> dict[str, str]:
    return os.environ | {"TASTEPRINT_HOME": str(settings.home)}


@contextmanager
def under_load(port: int, users: list[str], load: Load) -> Iterator[None]:
    """Requests without a pause while the block runs: wrk's, or those of threads where there is none."""
    with wrk(port, users, load) if shutil.which("wrk") else threads(port, users, load):
        time.sleep(0.5)
        yield
        time.sleep(0.5)


@contextmanager
def wrk(port: int, users: list[str], load: Load) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "rotate.lua"
        script.write_text(SCRIPT % ",".join(f'"{user}"' for user in users))
        url = f"http://127.0.0.1:{port}"
        process = subprocess.Popen(
            ["wrk", "-t1", f"-c{CONNECTIONS}", "-d1h", "-s", str(script), url], stdout=subprocess.PIPE, text=True
        )
        yield
        process.send_signal(2)  # at an interrupt it sums up
        said, _ = process.communicate()
    found = re.search(r"RESULT (\d+) (\d+)", said)
    if found is None:
        raise RuntimeError(f"wrk did not sum up: {said}")
    load.requests += int(found[1])
    load.failed += int(found[2])


@contextmanager
def threads(port: int, users: list[str], load: Load) -> Iterator[None]:
    stop = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for place in range(10**9):
            if stop.is_set():
                return
            try:
                connection.request("GET", f"/v1/users/{users[place % len(users)]}/recommendations?k=10")
                response = connection.getresponse()
                response.read()
                failed = response.status != 200
            except OSError:
                connection.close()
                failed = True
            with load.lock:
                load.requests += 1
                load.failed += failed

    started = [threading.Thread(target=ask) for _ in range(CONNECTIONS)]
    for thread in started:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in started:
            thread.join()


if __name__ == "__main__":
    main()
