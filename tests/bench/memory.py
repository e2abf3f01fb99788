"""Bytes that the store spends on a user's profile, against a list of the same wire bytes."""

import time
from collections import defaultdict
from statistics import fmean
from threading import Event as Signal

from _movielens import append_all, empty_home, movielens
from _report import measure, print_report

from features.datasets import to_events
from features.embedded import EmbeddedServer
from features.events import UserId, encode_event
from features.profiles import HISTORY_LIMIT, ProfileStore, connect_for_ingest
from services.wiring import open_log
from streaming.dead_letters import DeadLetters
from streaming.ingest import follow, into_profiles
from streaming.log import Stream

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
        ours = fmean(store.memory(user) for user in users)
        print_report(
            "memory",
            {
                "bytes_per_user": measure("bytes", ours, fmean(lists), PEER),
                "bytes_per_event": measure("bytes", ours * len(users) / kept, fmean(lists) * len(users) / kept, PEER),
                "encoded_bytes_per_event": measure("bytes", encoded / kept),
            },
            users=len(users),
            events_kept=kept,
        )


if __name__ == "__main__":
    main()
