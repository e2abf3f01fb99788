"""Bytes that the store spends on a user's profile, against a list of the same wire bytes.

MovieLens for the comparison; for planning, USERS users who are made up, of EVENTS events each, on a server that holds
nothing else: what its memory grows by, keys, allocator and all.
"""

import time
from collections import defaultdict
from random import Random
from statistics import fmean
from threading import Event as Signal
from typing import Any

from _movielens import append_all, empty_home, movielens
from _report import measure, print_report, say

from features.datasets import to_events
from features.embedded import EmbeddedServer
from features.events import Event, EventId, ItemId, UserId, encode_event, user_digest
from features.profile import Position
from features.profiles import HISTORY_LIMIT, ProfileStore, UserBatch, connect_for_ingest
from services.wiring import open_log
from streaming.dead_letters import DeadLetters
from streaming.ingest import follow, into_profiles
from streaming.log import Stream

USERS, EVENTS, ITEMS, AT_ONCE = 100_000, 50, 20_000, 500
GIB = 1024**3
PEER = "a list of the same events' wire bytes, without what was seen before them"


def main() -> None:
    dataset = movielens()
    with empty_home() as settings, EmbeddedServer(settings.home) as server:
        log = open_log(settings)
        append_all(dataset, log, time.time())
        client = connect_for_ingest(server.url)
        store = ProfileStore(client)
        letters = DeadLetters(settings.home / "dead_letters.sqlite")
        consumer = log.consumer(Stream.EVENTS, "ingest")
        follow(consumer, into_profiles(store, letters, time.time), store, "ingest", Signal(), until_end=True)
        consumer.close()
        users = [UserId(user) for user in dataset.events["user"].unique(maintain_order=True)]
        histories = dict(zip(users, store.read(users), strict=True))
        kept = sum(len(history.events) for history in histories.values())
        encoded = sum(len(store.export(user)[0]) for user in users)

        wire = defaultdict(list)
        for events in to_events(dataset):
            for event in events:
                wire[event.user].append(encode_event(event))
        lists = []
        for user in users:
            client.lpush("peer", *wire[user])
            client.ltrim("peer", 0, HISTORY_LIMIT - 1)
            lists.append(client.memory_usage("peer", samples=0))
            client.delete("peer")
        letters.close()
        log.close()
        planned = growth(USERS)
        ours = fmean(store.memory(user) for user in users)
        print_report(
            "memory",
            {
                "bytes_per_user": measure("bytes", ours, fmean(lists), PEER),
                "bytes_per_event": measure("bytes", ours * len(users) / kept, fmean(lists) * len(users) / kept, PEER),
                "encoded_bytes_per_event": measure("bytes", encoded / kept),
                "made_up_bytes_per_user": measure("bytes", planned),
                "made_up_gib_per_million_users": measure("GiB", planned * 1_000_000 / GIB),
            },
            users=len(users),
            events_kept=kept,
            made_up={"users": USERS, "events": EVENTS, "items": ITEMS},
        )


def growth(users: int) -> float:
    """Bytes a user that a server grows by: events of a 16-byte id, an item, a type, a value and a time."""
    chance = Random(0)
    with empty_home() as settings, EmbeddedServer(settings.home) as server:
        client = connect_for_ingest(server.url)
        store = ProfileStore(client)
        before = used(client)
        for first in range(0, users, AT_ONCE):
            store.apply([made_up(number, chance) for number in range(first, min(first + AT_ONCE, users))])
            say(f"{first + AT_ONCE} of {users} users")
        return (used(client) - before) / users


def made_up(number: int, chance: Random) -> UserBatch:
    user = UserId(f"user-{number}")
    events = [
        Event(
            EventId(f"{number * EVENTS + step:016x}"),
            user,
            ItemId(f"item-{chance.randrange(ITEMS)}"),
            "rating",
            float(chance.randint(1, 5)),
            1_700_000_000.0 + chance.randrange(30_000_000),
        )
        for step in range(EVENTS)
    ]
    return UserBatch(user_digest(user), Position("0123456789ab", number % 4, number), events)


def used(client: Any) -> int:
    return int(client.info("memory")["used_memory"])


if __name__ == "__main__":
    main()
