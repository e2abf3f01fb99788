"""Encodes the users of a log, two at a time, until it is killed; asks before each call of the encoder.

python encode_until_killed.py LOG REDIS_URL TENANT
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event as Signal

import numpy as np
from numpy.typing import NDArray
from toy_encoder import ToyEncoder

from features.profiles import ProfileStore, connect_for_ingest
from models.recommender import Query
from services.encode import GROUP, Vectors, follow
from streaming.log import Stream
from streaming.sqlite_log import SqliteLog


class Asking(ToyEncoder):
    def vectors(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        print(len(queries), flush=True)
        sys.stdin.readline()
        return super().vectors(queries)


log_path, redis_url, tenant = sys.argv[1:]
follow(
    SqliteLog(Path(log_path)).consumer(Stream.EVENTS, GROUP),
    ProfileStore(connect_for_ingest(redis_url), tenant),
    lambda: Vectors.of(Asking()),
    Signal(),
    at_once=2,
)
