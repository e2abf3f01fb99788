"""Follows the events of a log into a store until it is killed, and says so after every batch.

python ingest_until_killed.py LOG DEAD_LETTERS REDIS_URL TENANT GROUP BATCH LIMIT
"""

import sys
import time
from pathlib import Path
from threading import Event as Signal

from features.profiles import ProfileStore, connect_for_ingest
from streaming.dead_letters import DeadLetters
from streaming.ingest import follow, into_profiles
from streaming.log import Stream
from streaming.sqlite_log import SqliteLog

log_path, letters_path, redis_url, tenant, group, batch, limit = sys.argv[1:]
store = ProfileStore(connect_for_ingest(redis_url), tenant, int(limit))
follow(
    SqliteLog(Path(log_path)).consumer(Stream.EVENTS, group),
    into_profiles(store, DeadLetters(Path(letters_path)), time.time),
    store,
    group,
    Signal(),
    batch=int(batch),
    report=lambda applied: print(applied.records, flush=True),
)
