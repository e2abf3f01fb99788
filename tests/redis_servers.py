"""Servers of the Redis protocol for tests, beyond the embedded one: a cluster, and a master that sentinels watch."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis
from kafka_server import free_port

from features.embedded import server_binary

HOST = "127.0.0.1"
START_SECONDS = 30.0
SLOTS = 16384


@contextmanager
def started(folder: Path, port: int, *options: str, config: str = "") -> Iterator["redis.Redis"]:
    """A server that keeps nothing, as long as the block lasts."""
    folder.mkdir(parents=True)
    (folder / "server.conf").write_text(f"port {port}\nbind {HOST}\ndir {folder}\nsave ''\n{config}")
    command = [str(server_binary()), str(folder / "server.conf"), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with redis.Redis(HOST, port, retry=None) as client:
        try:
            until(lambda: _answers(client))
            yield client
        finally:
            process.kill()
            process.wait()


@contextmanager
def cluster(folder: Path, masters: int = 3) -> Iterator[str]:
    """The URL of a cluster of so many masters, each with its part of the slots."""
    with ExitStack() as stack:
        nodes = {}
        for number in range(masters):
            port, bus = free_port(), free_port()
            config = (
                f"cluster-enabled yes\ncluster-port {bus}\ncluster-node-timeout 5000\nzset-max-listpack-entries 512\n"
            )
            nodes[port, bus] = stack.enter_context(started(folder / str(number), port, config=config))
        (first, bus), *others = nodes
        for number, client in enumerate(nodes.values()):
            start, stop = SLOTS * number // masters, SLOTS * (number + 1) // masters
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", start, stop - 1)
        for port, other_bus in others:
            nodes[first, bus].execute_command("CLUSTER", "MEET", HOST, port, other_bus)

        def is_whole(client: "redis.Redis") -> bool:
            said = client.execute_command("CLUSTER INFO")
            return said["cluster_state"] == "ok" and int(said["cluster_known_nodes"]) == masters

        until(lambda: all(map(is_whole, nodes.values())))
        yield f"redis+cluster://{HOST}:{first}"


def until(holds: Callable[[], bool]) -> None:
    """Returns when the condition holds."""
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it has not come to hold"
        time.sleep(0.02)


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
