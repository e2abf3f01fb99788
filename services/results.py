"""What a model has worked out for users, kept in memory: stamped with what it has seen, and gone with the user."""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, NamedTuple

from features.events import UserDigest, UserId, user_digest
from features.profile import Position

KEPT: Final = 20_000  # results: a few kilobytes each
ERASURES: Final = 100_000  # remembered, newest first: work that was under way then ends long before


class Key(NamedTuple):
    """model: the bundle's name. asked: everything that the result depends on besides the history."""

    user: UserId
    model: str
    family: str
    asked: bytes = b""


@dataclass(frozen=True, slots=True)
class Result:
    """as_of: the position of the last event that it knows of; None for a user nobody had heard of.

    oldest: the time of the oldest event that it was made of, epoch seconds; None when it was made of none.
    """

    value: Any
    as_of: Position | None
    oldest: float | None


class Results:
    """The `most` results that were used last; safe to use from several threads.

    An erasure deletes what is there of a user, and keeps out what is still being made of events that it covers: of a
    profile that was read before the erasure reached it.
    """

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._lock = Lock()
        self._results: OrderedDict[Key, Result] = OrderedDict()
        self._keys: dict[UserDigest, set[Key]] = {}
        self._erased: OrderedDict[UserDigest, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._results)

    def latest(self, key: Key) -> Result | None:
        """The last result for this key, whether or not the history has moved on."""
        with self._lock:
            result = self._results.get(key)
            if result is not None:
                self._results.move_to_end(key)
            return result

    def fresh(self, key: Key, as_of: Position | None) -> Result | None:
        """The same when it has seen as much as the history that has this stamp."""
        result = self.latest(key)
        return result if result is not None and result.as_of == as_of else None

    def put(self, key: Key, result: Result) -> None:
        """Keeps a result, unless it was made of events that are to be forgotten."""
        digest = user_digest(key.user)
        with self._lock:
            if result.oldest is not None and result.oldest <= self._erased.get(digest, -1.0):
                return
            self._results[key] = result
            self._results.move_to_end(key)
            self._keys.setdefault(digest, set()).add(key)
            while len(self._results) > self._most:
                self._drop(next(iter(self._results)))

    def erase(self, digest: UserDigest, at: float) -> None:
        """Forgets everything of a user. at: epoch seconds; nothing made of an event up to then is kept any more."""
        with self._lock:
            for key in list(self._keys.get(digest, ())):
                self._drop(key)
            self._erased[digest] = max(at, self._erased.pop(digest, at))
            while len(self._erased) > ERASURES:
                self._erased.popitem(last=False)

    def keep_models(self, models: Collection[str]) -> None:
        """Drops the results of every other model."""
        with self._lock:
            for key in [key for key in self._results if key.model not in models]:
                self._drop(key)

    def of(self, user: UserId, family: str) -> list[Key]:
        """The keys of a user's results of one family."""
        if not self._keys:  # most events of a server that keeps nothing
            return []
        with self._lock:
            return [key for key in self._keys.get(user_digest(user), ()) if key.family == family]

    def _drop(self, key: Key) -> None:
        del self._results[key]
        digest = user_digest(key.user)
        keys = self._keys[digest]
        keys.discard(key)
        if not keys:
            del self._keys[digest]
