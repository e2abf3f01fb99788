"""The profile store on the Redis protocol: every user's history, what was seen, and how far the log was applied.

Keys of one user, all in one hash slot (the digest keeps any character of a user id out of the key):

    tp:{TENANT:DIGEST}:h   string      the history, encoded as features/history.py says
    tp:{TENANT:DIGEST}:s   sorted set  items of events that left the history -> newest time, never trimmed
    tp:{TENANT:DIGEST}:m   hash        log positions applied, the time of an erasure
    tp:{TENANT:DIGEST}:v   string      vectors of two models, encoded as features/vectors.py says
    tp:{TENANT:DIGEST}:p   string      soft prompts of two models, encoded as features/soft_prompts.py says
    tp:{TENANT:DIGEST}:u   string      weight updates of two models, encoded as features/updates.py says
    tp:{TENANT:DIGEST}:y   hash        summaries and corrections, encoded as features/summaries.py says

Keys of a tenant: `tp:{TENANT}:items` (the catalogue), `tp:{TENANT}:checkpoint:GROUP` (where ingest goes on),
`tp:{TENANT}:generation` (of weight updates, how often all were reset) and `tp:{TENANT}:tokens:DAY` (what summaries have
cost on a day; kept for two).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from struct import Struct
from typing import Any, Final, cast

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import NoScriptError, RedisClusterException
from redis.retry import Retry

from features.errors import InvalidInput, StoreUnavailable
from features.events import Event, ItemId, UserDigest, UserId, user_digest
from features.history import UserHistory, encode_with_left
from features.items import Item, encode_item, parse_item, version
from features.profile import Correction, Position, SoftPrompt, StoredSummary, UserVector, WeightUpdate
from features.records import Records
from features.redis_clients import Command, Exchange, open_client
from features.soft_prompts import RECORDS as SOFT_PROMPTS
from features.soft_prompts import decode_soft_prompts, encode_soft_prompt, soft_prompt_of
from features.summaries import UserSummaries, correction_field, encode_correction, encode_summary, summary_field
from features.updates import RECORDS as UPDATES
from features.updates import StoredUpdate, decode_updates, encode_update, update_of
from features.vectors import RECORDS as VECTORS
from features.vectors import decode_vectors, encode_vector, vector_of

HISTORY_LIMIT: Final = 500
LEFT_READ: Final = 10_000
_TIME: Final = Struct(">d")
_TOKENS_SECONDS: Final = 2 * 86_400
_VERSION_BYTES: Final = 24  # time f64 and content hash, in front of an item's JSON: they compare as bytes


@dataclass(frozen=True, slots=True)
class UserBatch:
    """What one partition's batch says about one user. last: the position of the batch's last record of this user."""

    user: UserDigest
    last: Position
    events: Sequence[Event]
    erased_at: float | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Every record of the partition up to `position` was applied; appended: when the log took it, epoch seconds."""

    position: Position
    appended: float


def connect_for_serving(url: str) -> "redis.Redis":
    """A client for the request path: 50 ms, no retry, so that a dead store costs a degraded answer and not a wait.

    Raises StoreUnavailable when it is a cluster, and none of its nodes that the URL names is there.
    """
    with _translated():
        return open_client(url, 0.05, 0.05, None)


def connect_for_ingest(url: str) -> "redis.Redis":
    """A client for consumers and jobs: patient, a few retries; every write they make may be repeated."""
    with _translated():
        return open_client(url, 5.0, 30.0, Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), retries=3))


class ProfileStore:
    """Profiles of one tenant. Every method raises StoreUnavailable when the server does not answer."""

    def __init__(self, client: "redis.Redis", tenant: str = "default", limit: int = HISTORY_LIMIT) -> None:
        self._client = client
        self._tenant = tenant
        self._limit = limit
        self._exchange = Exchange(client)
        self._apply = _Script(client, "apply.lua")
        self._made = _Script(client, "made.lua")
        self._summaries = _Script(client, "summaries.lua")
        self._updates = _Script(client, "updates.lua")
        self._upsert = _Script(client, "upsert.lua")

    def apply(self, batches: Sequence[UserBatch]) -> int:
        """Folds each user's batch into the stored profile, one script a user; how many were new to their user.

        Any call may be repeated, split or reordered: the fold does not care, and the fence skips what was applied.
        """
        calls = [self._apply_call(batch) for batch in batches]
        return sum(self._apply.run(calls))

    def read(self, users: Sequence[UserId]) -> list[UserHistory]:
        """The histories of these users in one round trip; an unknown user has an empty one.

        Of the items that left it, the newest LEFT_READ: who has seen more is a robot, and would make others wait.
        """
        commands: list[Command] = []
        for user in users:
            commands += self._read_commands(user)
        replies = iter(self._send(commands))
        return [_history(user, *found) for user, *found in zip(users, replies, replies, replies, strict=True)]

    def read_with_vectors(self, users: Sequence[UserId], model: str) -> list[tuple[UserHistory, UserVector | None]]:
        """The same, each with the model's vector, in the same round trip.

        A vector is that of its history when both have one `as_of`; else it is stale, and newer events are not in it.
        """
        commands: list[Command] = []
        for user in users:
            commands += *self._read_commands(user), ("GET", self._vectors_key(user_digest(user)))
        replies = iter(self._send(commands))
        return [
            (_history(user, *found), vector_of(vectors or b"", model))
            for user, *found, vectors in zip(users, replies, replies, replies, replies, strict=True)
        ]

    def write_vectors(self, vectors: Sequence[tuple[UserId, UserVector]]) -> int:
        """Stores each vector whose `as_of` is that of its user's profile, one script a user; how many were stored.

        One that comes late, after another event or an erasure was applied, changes nothing. A user has room for two
        models: a third takes the place of the one that was written longer ago. Any call may be repeated. Raises
        InvalidInput, before anything is stored, for a vector that is no row of finite float32.
        """
        return self._write_made(self._vectors_key, VECTORS, [(user, one, encode_vector(one)) for user, one in vectors])

    def vectors(self, user: UserId) -> tuple[UserVector, ...]:
        """Every vector stored for this user, stale ones too."""
        with _translated():
            stored: Any = self._client.get(self._vectors_key(user_digest(user)))
        return decode_vectors(stored or b"")

    def read_with_soft_prompts(
        self, users: Sequence[UserId], model: str
    ) -> list[tuple[UserHistory, SoftPrompt | None]]:
        """The same with soft prompts."""
        commands: list[Command] = []
        for user in users:
            commands += *self._read_commands(user), ("GET", self._soft_prompts_key(user_digest(user)))
        replies = iter(self._send(commands))
        return [
            (_history(user, *found), soft_prompt_of(stored or b"", model))
            for user, *found, stored in zip(users, replies, replies, replies, replies, strict=True)
        ]

    def write_soft_prompts(self, prompts: Sequence[tuple[UserId, SoftPrompt]]) -> int:
        """Stores soft prompts as `write_vectors` does vectors. Raises InvalidInput, before anything is stored, for one
        that is too big, or is not finite in half precision."""
        encoded = [(user, one, encode_soft_prompt(one)) for user, one in prompts]
        return self._write_made(self._soft_prompts_key, SOFT_PROMPTS, encoded)

    def soft_prompts(self, user: UserId) -> tuple[SoftPrompt, ...]:
        """Every soft prompt stored for this user, stale ones too."""
        with _translated():
            stored: Any = self._client.get(self._soft_prompts_key(user_digest(user)))
        return decode_soft_prompts(stored or b"")

    def read_updates(self, users: Sequence[UserId], model: str) -> list[StoredUpdate]:
        """The model's weight update of each of these users, in one round trip."""
        commands: list[Command] = [("GET", self._generation_key())]
        for user in users:
            digest = user_digest(user)
            commands += ("HGETALL", self._keys(digest)[2]), ("GET", self._updates_key(digest))
        generation, *found = self._send(commands)
        replies, now = iter(found), int(generation or 0)
        return [
            _stored_update(user, update_of(stored or b"", model, now) or (None, 0), now, meta)
            for user, meta, stored in zip(users, replies, replies, strict=True)
        ]

    def write_updates(self, updates: Sequence[StoredUpdate]) -> list[bool]:
        """Stores updates that were read and put forward, one script a user; for each, whether it is stored.

        One whose user has been erased since it was read, is not known, or of which another was written since, changes
        nothing. A user has room for two models, as of vectors. Any call may be repeated. Raises InvalidInput, before
        anything is stored, for a state that is too big.
        """
        calls = [self._update_call(one) for one in updates]
        return [bool(stored) for stored in self._updates.run(calls)]

    def updates(self, user: UserId) -> tuple[StoredUpdate, ...]:
        """Every weight update stored for this user, of every model."""
        digest = user_digest(user)
        generation, meta, stored = self._send(
            [("GET", self._generation_key()), ("HGETALL", self._keys(digest)[2]), ("GET", self._updates_key(digest))]
        )
        now = int(generation or 0)
        return tuple(_stored_update(user, one, now, meta) for one in decode_updates(stored or b"", now))

    def reset_updates(self, user: UserId) -> int:
        """Takes the states out of the user's weight updates; of how many. What they have seen does not come back."""
        count = 0
        while held := [one for one in self.updates(user) if one.update is not None and one.update.state]:
            empty = [replace(one, update=replace(one.update, state=b"")) for one in held if one.update is not None]
            count += sum(self.write_updates(empty))  # again where a worker was faster
        return count

    def reset_all_updates(self) -> int:
        """The same for every user at once; how often that was done. Their bytes go with the next write of each."""
        with _translated():
            return int(cast("Any", self._client.incr(self._generation_key())))

    def forget_updates(self, group: str) -> int:
        """Deletes every weight update; of how many users. Before that, where the consumer groups stand whose names
        begin with `group`: whoever is killed in between makes anew what is gone, and finds the rest to be there."""
        with _translated():
            for key in self._client.scan_iter(f"{self._checkpoint_key(group)}*", count=1000):
                self._client.delete(key)
            return sum(self._client.unlink(key) for key in self._client.scan_iter(self._all_updates(), count=1000))

    def read_with_summaries(self, users: Sequence[UserId]) -> list[tuple[UserHistory, UserSummaries]]:
        """The histories, each with what is said about its user, in one round trip."""
        commands: list[Command] = []
        for user in users:
            commands += *self._read_commands(user), ("HGETALL", self._summaries_key(user_digest(user)))
        replies = iter(self._send(commands))
        return [
            (_history(user, *found), UserSummaries(_fields(said)))
            for user, *found, said in zip(users, replies, replies, replies, replies, strict=True)
        ]

    def write_summaries(self, summaries: Sequence[tuple[UserHistory, Mapping[str, StoredSummary]]]) -> list[bool]:
        """Stores summaries by their kind, those of one user together; for each user, whether they are stored.

        Each was made from the stored one that was read with this history. Those of a user who has been erased since,
        who is not known, or of whom somebody else has written since, change nothing. Any call may be repeated.
        """
        calls = [
            self._summaries_call(
                history,
                [(summary_field(kind), one.revision, encode_summary(one)) for kind, one in of_kinds.items()],
            )
            for history, of_kinds in summaries
        ]
        return [bool(stored) for stored in self._summaries.run(calls)]

    def write_corrections(
        self, history: UserHistory, corrections: Sequence[Correction], removed: Sequence[str] = ()
    ) -> bool:
        """Stores corrections, each in place of an earlier one of its fact, and removes those of the facts `removed`.

        False, and nothing has changed, when the user is not known or was erased since the history was read.
        """
        fields = [(correction_field(one.fact), "", encode_correction(one)) for one in corrections]
        fields += [(correction_field(fact), "", b"") for fact in removed]
        return bool(self._summaries.run([self._summaries_call(history, fields)])[0])

    def tokens_spent(self, day: str) -> int:
        """The tokens that summaries have cost on a day."""
        with _translated():
            return int(cast("Any", self._client.get(self._tokens_key(day))) or 0)

    def spend_tokens(self, day: str, tokens: int) -> None:
        """Adds to what summaries have cost on a day, which is remembered for two days."""
        with _translated():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.incrby(self._tokens_key(day), tokens)
            pipeline.expire(self._tokens_key(day), _TOKENS_SECONDS)
            pipeline.execute()

    def upsert_items(self, items: Iterable[Item]) -> int:
        """Puts versions of items into the catalogue; how many were newer than what was there."""
        key = f"tp:{{{self._tenant}}}:items"
        fields: list[str | bytes] = []
        for item in items:
            at, digest = version(item)
            fields += [item.id, _TIME.pack(at) + digest + encode_item(item)]
        return sum(self._upsert.run([((key,), fields)])) if fields else 0

    def items(self) -> Iterator[Item]:
        """The whole catalogue, in no particular order."""
        with _translated():
            for _, stored in self._client.hscan_iter(f"tp:{{{self._tenant}}}:items", count=1000):
                yield parse_item(stored[_VERSION_BYTES:], _TIME.unpack_from(stored)[0])

    def checkpoint(self, group: str, checkpoints: Sequence[Checkpoint]) -> None:
        """Records how far a consumer group has applied its partitions; call it after `apply` has returned."""
        fields: dict[Any, Any] = {
            f"{mark.position.log_id}:{mark.position.partition}": f"{mark.position.offset} {mark.appended!r}"
            for mark in checkpoints
        }
        with _translated():
            self._client.hset(self._checkpoint_key(group), mapping=fields)

    def checkpoints(self, group: str) -> list[Checkpoint]:
        """Where the group's partitions stand, of every log it ever read."""
        with _translated():
            stored: dict[Any, Any] = self._client.hgetall(self._checkpoint_key(group))
        marks = []
        for field, value in stored.items():
            offset, appended = value.decode().split(" ")
            marks.append(Checkpoint(Position.parse(f"{field.decode()}:{offset}"), float(appended)))
        return marks

    def export(self, user: UserId) -> tuple[bytes, tuple[tuple[bytes, float], ...]]:
        """What the fold has made of this user, as stored: the history, and (item, newest time) of what left it."""
        history, left, _ = self._keys(user_digest(user))
        with _translated():
            encoded: Any = self._client.get(history)
            scored: Any = self._client.zrange(left, 0, -1, withscores=True)
        return encoded or b"", tuple((item, at) for item, at in scored)

    def memory(self, user: UserId) -> int:
        """Bytes that the server spends on this user, keys and bookkeeping included."""
        with _translated():
            digest = user_digest(user)
            keys = (*self._keys(digest), *self._made_keys(digest))
            return sum(self._client.memory_usage(key, samples=0) or 0 for key in keys)

    def rewrite_append_only_file(self) -> bool:
        """Asks the server to rewrite its append-only file, so that what was deleted leaves the disk too.

        False when a rewrite is running that may have begun before the deletion: ask again later.
        """
        with _translated():
            state = self._client.info("persistence")
            if state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"]:
                return False
            if state["aof_enabled"]:
                self._client.bgrewriteaof()
            return True

    def rewriting(self) -> bool:
        """Whether a rewrite of the append-only file is under way."""
        with _translated():
            state = self._client.info("persistence")
            return bool(state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"])

    def ping(self) -> None:
        """Returns when the server answers."""
        with _translated():
            self._client.ping()

    def close(self) -> None:
        self._client.close()

    def _send(self, commands: Sequence[Command]) -> list[Any]:
        with _translated():
            return self._exchange.send(commands)

    def _apply_call(self, batch: UserBatch) -> tuple[Sequence[str], Sequence[Any]]:
        folded, left = encode_with_left(batch.events, self._limit, batch.erased_at)
        field = f"{batch.last.log_id}:{batch.last.partition}"
        erased = "" if batch.erased_at is None else repr(batch.erased_at)
        keys = self._keys(batch.user)
        if batch.erased_at is not None:  # an erasure takes these with it; no other batch touches them
            keys += self._made_keys(batch.user)
        return keys, (
            self._limit,
            field,
            batch.last.offset,
            erased,
            folded,
            *(part for item, at in left.items() for part in (at, item)),
        )

    def _write_made(
        self,
        key_of: Callable[[UserDigest], str],
        records: Records,
        made: Sequence[tuple[UserId, UserVector | SoftPrompt, bytes]],
    ) -> int:
        """Stores records, each while its user's profile is the one that it was made from; how many were stored."""
        calls: list[tuple[Sequence[str], Sequence[Any]]] = []
        for user, one, record in made:
            digest, as_of = user_digest(user), one.as_of
            keys = self._keys(digest)[2], key_of(digest)
            calls.append((keys, (f"{as_of.log_id}:{as_of.partition}", as_of.offset, one.model, record, records.head)))
        return sum(self._made.run(calls))

    def _update_call(self, one: StoredUpdate) -> tuple[Sequence[str], Sequence[Any]]:
        if one.update is None:
            raise InvalidInput("update", f"none was given for {one.user!r}")
        digest = user_digest(one.user)
        erased = "" if one.erased_at is None else repr(one.erased_at)
        record = encode_update(one.update, one.revision + 1, one.generation)
        keys = self._keys(digest)[2], self._updates_key(digest)
        return keys, (erased, one.revision, one.update.model, record, UPDATES.head)

    def _summaries_call(
        self, history: UserHistory, fields: Sequence[tuple[bytes, int | str, bytes]]
    ) -> tuple[Sequence[str], Sequence[Any]]:
        digest = user_digest(history.user)
        erased = "" if history.erased_at is None else repr(history.erased_at)
        keys = (self._keys(digest)[2], self._summaries_key(digest))
        return keys, (erased, *(part for field in fields for part in field))

    def _read_commands(self, user: UserId) -> tuple[Command, ...]:
        """The stamps first: what is applied in between may make a history look older than it is, and never newer."""
        history, left, meta = self._keys(user_digest(user))
        return ("HGETALL", meta), ("GET", history), ("ZRANGE", left, -LEFT_READ, -1)

    def _keys(self, user: UserDigest) -> tuple[str, ...]:
        prefix = f"tp:{{{self._tenant}:{user}}}:"
        return f"{prefix}h", f"{prefix}s", f"{prefix}m"

    def _made_keys(self, user: UserDigest) -> tuple[str, ...]:
        """What was made of the history, in the order of apply.lua."""
        return (
            self._vectors_key(user),
            self._summaries_key(user),
            self._soft_prompts_key(user),
            self._updates_key(user),
        )

    def _vectors_key(self, user: UserDigest) -> str:
        return f"tp:{{{self._tenant}:{user}}}:v"

    def _summaries_key(self, user: UserDigest) -> str:
        return f"tp:{{{self._tenant}:{user}}}:y"

    def _soft_prompts_key(self, user: UserDigest) -> str:
        return f"tp:{{{self._tenant}:{user}}}:p"

    def _updates_key(self, user: UserDigest) -> str:
        return f"tp:{{{self._tenant}:{user}}}:u"

    def _all_updates(self) -> str:
        return f"tp:{{{self._tenant}:*}}:u"

    def _generation_key(self) -> str:
        return f"tp:{{{self._tenant}}}:generation"

    def _tokens_key(self, day: str) -> str:
        return f"tp:{{{self._tenant}}}:tokens:{day}"

    def _checkpoint_key(self, group: str) -> str:
        return f"tp:{{{self._tenant}}}:checkpoint:{group}"


class _Script:
    """A Lua script beside this module, sent once and called by its hash."""

    def __init__(self, client: "redis.Redis", name: str) -> None:
        self._client = client
        self._source = files("features").joinpath(name).read_text()
        self._sha: str | None = None

    def run(self, calls: Iterable[tuple[Sequence[str], Sequence[Any]]]) -> list[int]:
        """Runs the script for each (keys, arguments) in one pipeline; safe to repeat, as the scripts are."""
        calls = list(calls)
        with _translated():
            try:
                return self._pipeline(calls)
            except NoScriptError:  # a new or restarted server
                self._sha = None
                return self._pipeline(calls)

    def _pipeline(self, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[int]:
        if self._sha is None:
            self._sha = str(self._client.script_load(self._source))
        pipeline = self._client.pipeline(transaction=False)
        for keys, arguments in calls:
            pipeline.execute_command("EVALSHA", self._sha, len(keys), *keys, *arguments)  # a cluster's has no evalsha
        return pipeline.execute()


def _history(user: UserId, meta: Any, encoded: bytes | None, left: list[bytes]) -> UserHistory:
    items = cast("frozenset[ItemId]", frozenset(map(bytes.decode, left)))
    return UserHistory(user, encoded or b"", items, *_stamps(meta))


def _stored_update(user: UserId, written: tuple[WeightUpdate | None, int], generation: int, meta: Any) -> StoredUpdate:
    return StoredUpdate(user, *written, generation, *_stamps(meta))


def _stamps(meta: Any) -> tuple[Position | None, float | None]:
    """(position of the last event applied, time of the last erasure)."""
    fields = _fields(meta)
    if not fields:
        return None, None
    log_id, _, partition = fields[b"a"].decode().rpartition(":")
    as_of = Position(log_id, int(partition), int(fields[fields[b"a"]]))
    return as_of, float(fields[b"t"]) if b"t" in fields else None


def _fields(reply: Any) -> dict[bytes, bytes]:
    """A hash as RESP 3 or RESP 2 gives it."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, RedisClusterException) as error:
        raise StoreUnavailable(f"the profile store does not answer: {error}") from error
