"""Summarises the users of a log, two at a time, until it is killed; asks before each call of the generator.

python summarise_until_killed.py LOG REDIS_URL TENANT

Prints the facts of the call's users, one JSON list a call, and goes on with the next line of its input.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event as Signal

from toy_summaries import ITEMS
from toy_writers import Writer

from features.profiles import ProfileStore, connect_for_ingest
from models.language.generator import Completion, Message
from models.summaries.kinds import SummaryKind
from services.summarising import GROUP, SummaryWriter, follow
from streaming.log import Stream
from streaming.sqlite_log import SqliteLog


class Asking(Writer):
    def generate(self, prompts: Sequence[Sequence[Message]], most: int) -> list[Completion]:
        said = super().generate(prompts, most)
        print(json.dumps(self.asked[-1]), flush=True)
        sys.stdin.readline()
        return said


log_path, redis_url, tenant = sys.argv[1:]
store = ProfileStore(connect_for_ingest(redis_url), tenant)
follow(
    SqliteLog(Path(log_path)).consumer(Stream.EVENTS, GROUP),
    store,
    SummaryWriter(store, ITEMS, [SummaryKind.RANKING], Asking(), lambda: 1.8e9, at_once=2),
    Signal(),
)
