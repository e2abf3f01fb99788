"""Adapts the users of a log, one at a time, until it is killed; asks before each step of a state and each write.

python adapt_until_killed.py LOG REDIS_URL TENANT
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event as Signal

from toy_adapter import ToyAdapter

from features.profiles import Checkpoint, ProfileStore, connect_for_ingest
from features.updates import StoredUpdate
from models.stream_adapter.state import State
from services.adapt import GROUP, Adapting
from services.behind import follow
from streaming.log import Stream
from streaming.sqlite_log import SqliteLog


def ask(what: str) -> None:
    print(what, flush=True)
    sys.stdin.readline()


class Asking(ToyAdapter):
    def advance(self, states: Sequence[State], tokens: Sequence[Sequence[int]]) -> list[State]:
        ask("advance")
        return super().advance(states, tokens)


class AskingStore(ProfileStore):
    def write_updates(self, updates: Sequence[StoredUpdate]) -> list[bool]:
        ask("write")
        return super().write_updates(updates)

    def checkpoint(self, group: str, checkpoints: Sequence[Checkpoint]) -> None:
        ask("checkpoint")
        super().checkpoint(group, checkpoints)


log_path, redis_url, tenant = sys.argv[1:]
store = AskingStore(connect_for_ingest(redis_url), tenant)
adapting = Adapting(Asking(), "toy", str, store, at_once=1)
follow(SqliteLog(Path(log_path)).consumer(Stream.EVENTS, GROUP), store, lambda: adapting, Signal())
