"""Clients of the Redis protocol by URL: one server, the master that sentinels name, or a cluster.

    redis://[USER:PASSWORD@]HOST:PORT[/DB]   rediss:// over TLS   unix://PATH
    redis+sentinel://[USER:PASSWORD@]HOST:PORT[,HOST:PORT...]/MASTER[/DB]   rediss+sentinel://
    redis+cluster://[USER:PASSWORD@]HOST:PORT[,HOST:PORT...]   rediss+cluster://

Of sentinels and of a cluster the URL names some; the others are found through them. User and password are the
data's servers'.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import redis
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import AskError, MovedError
from redis.retry import Retry
from redis.sentinel import Sentinel

from features.errors import InvalidInput

SCHEMES: Final = (
    *("redis://", "rediss://", "unix://"),
    *("redis+sentinel://", "rediss+sentinel://", "redis+cluster://", "rediss+cluster://"),
)
PORTS: Final = {"sentinel": 26379, "cluster": 6379}

Command = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """What the URL of sentinels or of a cluster says. master: what the sentinels call it."""

    hosts: tuple[tuple[str, int], ...]
    user: str | None
    password: str | None
    is_tls: bool
    is_cluster: bool
    master: str = ""
    database: int = 0


def parse_redis_url(url: str) -> RedisUrl | None:
    """Reads a URL, None when it is one server's, which the client reads itself. Raises InvalidInput."""
    if not url.startswith(SCHEMES):
        raise InvalidInput("redis_url", f"a profile store is {', '.join(SCHEMES)}")
    scheme, _, kind = url.partition("://")[0].partition("+")
    if not kind:
        return None
    parts = urlsplit(url)
    secret, _, netloc = parts.netloc.rpartition("@")
    user, _, password = map(unquote, secret.partition(":"))
    hosts = tuple(_host(one, PORTS[kind]) for one in netloc.split(",") if one)
    path = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    if not hosts or parts.query or (kind == "cluster" and path):
        raise InvalidInput("redis_url", f"redis+{kind}://HOST:PORT,HOST:PORT is expected, and nothing behind it")
    if kind == "sentinel" and not (1 <= len(path) <= 2 and (len(path) == 1 or path[1].isdecimal())):
        raise InvalidInput("redis_url", "name the master behind the sentinels: redis+sentinel://HOST:PORT/MASTER")
    master, database = (*path, "0")[:2] if path else ("", "0")
    return RedisUrl(hosts, user or None, password or None, scheme == "rediss", kind == "cluster", master, int(database))


def open_client(url: str, connect_seconds: float, seconds: float, retry: Retry | None) -> "redis.Redis":
    """A client of the URL's servers. A cluster is asked at once what it consists of; others with the first command.

    connect_seconds, seconds: how long a connection and an answer may take. Raises InvalidInput and what redis does.
    """
    patience: dict[str, Any] = {"socket_connect_timeout": connect_seconds, "socket_timeout": seconds, "retry": retry}
    said = parse_redis_url(url)
    if said is None:
        return redis.Redis.from_url(url, **patience)
    patience["retry"] = retry or Retry(NoBackoff(), 0)  # here none is the client's own, of seconds
    asked = patience
    patience = patience | {"username": said.user, "password": said.password} | ({"ssl": True} if said.is_tls else {})
    if not said.is_cluster:
        found = Sentinel(said.hosts, sentinel_kwargs=asked, db=said.database, **patience)
        return cast("redis.Redis", found.master_for(said.master))
    nodes = [ClusterNode(host, port) for host, port in said.hosts]
    # It has the commands of the other, and sends each to where its keys are.
    return cast("redis.Redis", RedisCluster(startup_nodes=nodes, **patience))


class Exchange:
    """Sends commands together on connections that stay each thread's own: what a pipeline does, at a third of its time.

    The second part of a command is its key.
    """

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._own = threading.local()

    def send(self, commands: Sequence[Command]) -> list[Any]:
        """The raw replies, in order. Raises what redis does."""
        try:
            return self._send(commands)
        except redis.ConnectionError:  # as after a restart of the server: a new connection tells
            return self._send(commands)
        except (MovedError, AskError):  # slots have gone to another node: the client finds out where
            pipeline = self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return pipeline.execute()

    def _send(self, commands: Sequence[Command]) -> list[Any]:
        if not isinstance(self._client, RedisCluster):
            return self._exchange({"": commands})[""]
        places: list[str] = []
        of_node: dict[str, list[Command]] = {}
        for command in commands:
            node = self._client.get_node_from_key(command[1]).name
            places.append(node)
            of_node.setdefault(node, []).append(command)
        replies = {node: iter(replied) for node, replied in self._exchange(of_node).items()}
        return [next(replies[node]) for node in places]

    def _exchange(self, of_node: dict[str, Any]) -> dict[str, list[Any]]:
        """Writes to every node before it reads from any."""
        connections = {node: self._connection(node) for node in of_node}
        try:
            for node, commands in of_node.items():
                connections[node].send_packed_command([b"".join(map(pack_command, commands))])
            return {node: [connections[node].read_response() for _ in commands] for node, commands in of_node.items()}
        except BaseException:
            for connection in connections.values():  # unread replies would be taken for those of the next request
                connection.disconnect()
            raise

    def _connection(self, node: str) -> Any:
        held: dict[str, Any] = self._own.__dict__.setdefault("connections", {})
        if node not in held:
            client: Any = self._client
            if node:
                client = client.get_redis_connection(client.get_node(node_name=node))
            held[node] = client.connection_pool.get_connection()
        return held[node]


def _host(said: str, port: int) -> tuple[str, int]:
    host, _, given = said.rpartition(":") if ":" in said.rpartition("]")[2] else (said, "", str(port))
    if not host or not given.isdecimal() or not 0 < int(given) < 65536:
        raise InvalidInput("redis_url", f"{said} is no HOST:PORT")
    return host.strip("[]"), int(given)
