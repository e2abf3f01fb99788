"""Erasing a user: from the log, the dead letters and the profile store, on disk too."""

from typing import Any

from features.events import Erasure, UserId, encode_erasure, user_digest
from features.profiles import ProfileStore
from streaming.dead_letters import DeadLetters
from streaming.log import EventLog, Stream


def erase(user: UserId, store: ProfileStore, log: EventLog, dead_letters: DeadLetters, now: float) -> dict[str, Any]:
    """Orders the user's erasure and deletes what the log holds; the profile goes when the order is applied.

    The order comes last, so that what is cut off in between is done whole by asking again. Its time is that of the
    user's newest event when a fast clock put that one after now, or it would stay.
    """
    [history] = store.read([user])
    newest = max((event.at for event in history.events), default=0.0)
    digest = user_digest(user)
    records = log.forget(user)
    letters = dead_letters.forget(user)
    [position] = log.append(Stream.EVENTS, [(digest, encode_erasure(Erasure(digest, max(now, newest))))], now)
    return {"erased": True, "log_records": records, "dead_letters": letters, "position": str(position)}
