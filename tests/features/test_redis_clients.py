"""Clients by URL: what a URL says, slots that move, masters that change, and servers that are not there."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from time import monotonic

import pytest
import redis
from kafka_server import free_port
from redis_servers import HOST, SLOTS, started, until

from features.errors import InvalidInput, StoreUnavailable
from features.events import Event, EventId, ItemId, UserId, user_digest
from features.profile import Position
from features.profiles import ProfileStore, UserBatch, connect_for_ingest, connect_for_serving
from features.redis_clients import RedisUrl, parse_redis_url

USERS = [UserId(f"user-{number}") for number in range(30)]


def batches(offset: int, users: Sequence[UserId] = USERS) -> list[UserBatch]:
    return [
        UserBatch(
            user_digest(user),
            Position("log", 0, offset),
            [Event(EventId(f"e{offset}"), user, ItemId(f"{user} {offset}"), "view", None, float(offset))],
        )
        for user in users
    ]


def seen(store: ProfileStore) -> list[int]:
    """How many items each user has seen, after looking that they are the user's own."""
    histories = store.read(USERS)
    assert all(item.startswith(f"{history.user} ") for history in histories for item in history.seen)
    return [len(history.seen) for history in histories]


# URLs


def test_urls_of_one_server_are_left_to_the_client() -> None:
    assert [parse_redis_url(url) for url in ("redis://host", "rediss://host:1/2", "unix:///socket")] == [None] * 3


def test_a_cluster_is_named_by_some_of_its_nodes() -> None:
    said = RedisUrl((("one", 7000), ("two", 6379), ("::1", 7001)), "ada", "p@ss", True, True)
    assert parse_redis_url("rediss+cluster://ada:p%40ss@one:7000,two,[::1]:7001") == said


def test_a_master_is_named_behind_its_sentinels() -> None:
    said = RedisUrl((("one", 26379), ("two", 7000)), None, "pass", False, False, "mine", 2)
    assert parse_redis_url("redis+sentinel://:pass@one,two:7000/mine/2") == said


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://host", "a profile store is redis://"),
        ("redis+cluster://", "redis\\+cluster://HOST:PORT"),
        ("redis+cluster://host/1", "nothing behind it"),
        ("redis+cluster://host:many", "host:many is no HOST:PORT"),
        ("redis+cluster://host:70000", "host:70000 is no HOST:PORT"),
        ("redis+sentinel://host", "name the master"),
        ("redis+sentinel://host/mine/two", "name the master"),
    ],
)
def test_a_wrong_url_is_refused_and_told_what_would_do(url: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        parse_redis_url(url)


# Clusters


def test_users_of_every_node_come_back_in_the_order_of_the_question(cluster_url: str) -> None:
    with closing(ProfileStore(connect_for_ingest(cluster_url), "spread")) as store:
        store.apply(batches(0, USERS[:20]))
        nodes = {store._client.get_node_from_key(store._keys(user_digest(user))[0]).name for user in USERS}  # type: ignore[attr-defined]
        assert len(nodes) == 3
        assert seen(store) == [1] * 20 + [0] * 10


def test_all_keys_of_a_user_are_in_one_slot(cluster_url: str) -> None:
    with closing(ProfileStore(connect_for_ingest(cluster_url), "slots")) as store:
        for user in [*USERS, UserId("a}b{c"), UserId("{}"), UserId("é")]:
            digest = user_digest(user)
            keys = (*store._keys(digest), *store._made_keys(digest))
            assert len({store._client.keyslot(key) for key in keys}) == 1  # type: ignore[attr-defined]


def test_slots_that_move_while_a_client_is_connected_are_found_again(tmp_path: Path) -> None:
    with ExitStack() as stack:
        ports = [free_port() for _ in range(2)]
        nodes = [
            stack.enter_context(
                started(tmp_path / str(port), port, config=f"cluster-enabled yes\ncluster-port {free_port()}\n")
            )
            for port in ports
        ]
        nodes[0].execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        bus = nodes[1].config_get("cluster-port")["cluster-port"]
        nodes[0].execute_command("CLUSTER", "MEET", HOST, ports[1], bus)
        until(lambda: all(node.execute_command("CLUSTER INFO")["cluster_known_nodes"] == "2" for node in nodes))
        until(lambda: all(node.execute_command("CLUSTER INFO")["cluster_state"] == "ok" for node in nodes))
        store = stack.enter_context(closing(ProfileStore(connect_for_ingest(f"redis+cluster://{HOST}:{ports[0]}"))))
        assert seen(store) == [0] * 30  # nothing is stored, so that slots can go by their owner's word alone
        target = nodes[1].execute_command("CLUSTER MYID")
        for node in nodes:
            node.execute_command("CLUSTER", "SETSLOT", 0, "NODE", target)
        slots = [store._client.keyslot(store._keys(user_digest(user))[0]) for user in USERS]  # type: ignore[attr-defined]
        for slot in set(slots[:15]):
            for node in reversed(nodes):
                node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target)
        assert seen(store) == [0] * 30
        store.apply(batches(0))
        store.apply(batches(1))
        assert seen(store) == [2] * 30
        assert nodes[1].dbsize() >= 30  # a history and stamps of each of 15 users


def test_a_cluster_that_is_not_there_is_said_to_be_away_at_once() -> None:
    start = monotonic()
    with pytest.raises(StoreUnavailable, match="does not answer"):
        connect_for_serving(f"redis+cluster://{HOST}:{free_port()}")
    assert monotonic() - start < 5.0


# Sentinels


def test_when_its_sentinels_name_another_master_the_store_goes_on_there(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second, watching = free_port(), free_port(), free_port()
        master = stack.enter_context(started(tmp_path / "first", first))
        replica = stack.enter_context(started(tmp_path / "second", second, config=f"replicaof {HOST} {first}\n"))
        config = f"sentinel monitor mine {HOST} {first} 1\nsentinel down-after-milliseconds mine 300\n"
        config += "sentinel failover-timeout mine 3000\n"
        sentinel = stack.enter_context(started(tmp_path / "sentinel", watching, "--sentinel", config=config))
        until(lambda: int(replica.info("replication")["master_link_status"] == "up"))  # type: ignore[arg-type,return-value]
        until(lambda: len(sentinel.sentinel_slaves("mine")) == 1)
        store = stack.enter_context(
            closing(ProfileStore(connect_for_ingest(f"redis+sentinel://{HOST}:{watching}/mine")))
        )
        store.apply(batches(0))
        assert master.wait(1, 10_000) == 1
        master.shutdown(nosave=True, force=True)

        def goes_on() -> bool:
            try:
                store.apply(batches(1))
            except StoreUnavailable:
                return False
            return True

        until(goes_on)
        assert seen(store) == [2] * 30
        assert replica.info("replication")["role"] == "master"


def test_sentinels_that_are_not_there_are_said_to_be_away() -> None:
    client = connect_for_serving(f"redis+sentinel://{HOST}:{free_port()}/mine")
    with closing(ProfileStore(client)) as store, pytest.raises(StoreUnavailable, match="does not answer"):
        store.read(USERS)


def test_nothing_is_left_of_a_thread_that_reads_when_a_server_goes(tmp_path: Path) -> None:
    port = free_port()
    with closing(ProfileStore(connect_for_serving(f"redis://{HOST}:{port}"))) as store:
        with started(tmp_path / "first", port):
            store.apply(batches(0))
            assert seen(store) == [1] * 30
        with pytest.raises(StoreUnavailable):
            store.read(USERS)
        with started(tmp_path / "again", port) as client:
            assert isinstance(client, redis.Redis)
            assert seen(store) == [0] * 30
