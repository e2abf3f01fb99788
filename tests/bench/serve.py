"""GET /v1/users/{id}/recommendations under wrk, against a bare application that reads Redis and searches an index."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from _movielens import free_port, running, serving
from _report import alternate, measure, print_report, say

from features.datasets import Dataset
from features.embedded import EmbeddedServer

SECONDS, ROUNDS = 5, 5
PEER = "FastAPI, async Redis LRANGE 50 + GET, HNSW32 of 100k x 64 with efSearch 64, orjson"
SCRIPT = """
local users = {%s}
local place = 0
request = function()
  place = place %% #users + 1
  return wrk.format("GET", "/v1/users/" .. users[place] .. "/recommendations?k=10")
end
done = function(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.status + summary.errors.timeout
  io.write(string.format("RESULT %%f %%f %%f %%d\\n", latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    summary.requests / summary.duration * 1e6, failed))
end
"""


def main() -> None:
    if shutil.which("wrk") is None:
        sys.exit(
            "bench serve: wrk is not on PATH; install it (Debian and Ubuntu: apt install wrk, macOS: brew install wrk)"
        )
    print_report("serve", {**measured("", encoder=False), **measured("_encoder", encoder=True)})


def measured(suffix: str, *, encoder: bool) -> dict[str, Any]:
    """The measures of a server with a bundle that counts, or with one that has an encoder too."""
    with serving(encoder=encoder) as (dataset, settings, port), EmbeddedServer(settings.home) as store:
        users = dataset.events["user"].unique(maintain_order=True).to_list()
        with bare_application(dataset, users, store.url) as bare_port, tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "rotate.lua"
            script.write_text(SCRIPT % ",".join(f'"{user}"' for user in users))
            one, bare_one = alternate(lambda: wrk(port, 1, script), lambda: wrk(bare_port, 1, script), ROUNDS)
            many, bare_many = alternate(lambda: wrk(port, 16, script), lambda: wrk(bare_port, 16, script), ROUNDS)
    return {
        f"p50_c1{suffix}": measure("ms", one[0], bare_one[0], PEER),
        f"p99_c1{suffix}": measure("ms", one[1], bare_one[1], PEER),
        f"rate_c16{suffix}": measure("requests/s", many[2], bare_many[2], PEER),
    }


@contextmanager
def bare_application(dataset: Dataset, users: list[str], url: str) -> Iterator[int]:
    """The peer's port; it finds its users' histories and random vectors in the same Redis server."""
    import redis

    rng = np.random.default_rng(1)
    with redis.Redis.from_url(url) as client:
        pipeline = client.pipeline(transaction=False)
        for (user,), events in dataset.events.group_by("user"):
            pipeline.rpush(f"bare:{user}:history", *events["item"].to_list())
        for user in users:
            pipeline.set(f"bare:{user}:vector", rng.standard_normal(64, np.float32).tobytes())
        pipeline.execute()
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("_bare.py")), url, str(port)]
    path = f"/v1/users/{users[0]}/recommendations"
    with running(command, port, path, {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}):
        yield port


def wrk(port: int, connections: int, script: Path) -> tuple[float, float, float]:
    """(p50 in ms, p99 in ms, requests a second)."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "-s", str(script), f"http://127.0.0.1:{port}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+)", said)
    if found is None or int(found[4]):
        raise RuntimeError(f"requests failed: {said}")
    say(f"port {port}, {connections} connections: p50 {found[1]} ms, {float(found[3]):.0f} requests/s")
    return float(found[1]), float(found[2]), float(found[3])


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
