"""The adapt worker: keeps every user's weight update that of the user's events, in the order of the log.

It is a consumer group of the events stream that stays behind the ingest. A user's new events are told in words, and
their tokens put behind the state that is stored (models/stream_adapter/state.py): a chunk that is full by then takes
one step, and nothing of what came before is read again. The state is stored with the position of the last event, and
what stands at or before that position has had its turn: a batch that is read twice, after a kill at any point or since
the group has started anew, changes nothing. What was erased or reset while a step was taken is not brought back.

The guard looks at a user's weights after every event that has changed them. An event after which they are not finite,
or larger than training users' let expect, is passed over: the state stays as it was, and nobody else's is touched.
Which events count does not depend on how the log was cut into batches, and so a state can be made again from the log:
the same position and tail, and the same bytes when users are taken one at a time.

States are of one log: in another, whose positions do not compare, a user's begins anew. They are of an adapter's
version too, so that a new one makes everybody's from the beginning of the log. An event that was sent twice counts
twice, and one that came between the order to erase its user and its execution counts only once all are made anew.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event as Signal
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from features.errors import InvalidInput
from features.events import Event, ItemId, UserId, parse_record
from features.profile import Position, WeightUpdate
from features.profiles import ProfileStore
from features.updates import StoredUpdate
from models.catalogue import Catalogue
from models.stream_adapter.state import State
from services.behind import Fresh
from streaming.log import Record

if TYPE_CHECKING:  # torch, which a process without an adapter does not wait for
    from models.stream_adapter.absorption import Cores
    from models.stream_adapter.context import Context

GROUP: Final = "adapt"
AT_ONCE: Final = 64  # users whose chunks are read together

Line = Callable[[ItemId], str]  # an item in words

logger = logging.getLogger(__name__)


class Adapts(Protocol):
    """A stream adapter, as far as states go (models/stream_adapter/trained.py)."""

    @property
    def context(self) -> "Context": ...

    def fresh(self) -> State: ...

    def advance(self, states: Sequence[State], tokens: Sequence[Sequence[int]]) -> list[State]: ...

    def cores(self, states: Sequence[State]) -> "Cores": ...

    def checked(self, cores: "Cores") -> NDArray[np.bool_]: ...


@dataclass(frozen=True, slots=True)
class Adapted:
    """What became of one batch of records: users whose update was stored, events that the guard has refused, users who
    failed. newest: when the log took the last record, epoch seconds."""

    records: int = 0
    users: int = 0
    refused: int = 0
    failed: int = 0
    newest: float = 0.0

    def __add__(self, other: "Adapted") -> "Adapted":
        return Adapted(
            self.records + other.records,
            self.users + other.users,
            self.refused + other.refused,
            self.failed + other.failed,
            max(self.newest, other.newest),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Due:
    """A user with new events: what is stored, the state it stands for, the new events' tokens and the last position."""

    stored: StoredUpdate
    state: State
    events: Sequence[Sequence[int]]
    last: Position

    def with_state(self, state: State, model: str) -> StoredUpdate:
        content = state.to_bytes() if state.chunks or len(state.tail_T) else b""
        return replace(self.stored, update=WeightUpdate(content, model, self.last))


class Adapting:
    """What the worker does with records, by one adapter. model: what its states are kept under. line: of an item."""

    def __init__(self, adapter: Adapts, model: str, line: Line, store: ProfileStore, at_once: int = AT_ONCE) -> None:
        self.group = f"{GROUP}:{model}"
        self._adapter, self._model, self._line = adapter, model, line
        self._store, self._at_once = store, at_once

    def do(self, records: Sequence[Record], fresh: Fresh, stop: Signal) -> Adapted:
        """Puts the updates of these records' users forward; ends early when `stop` is set."""
        done = Adapted(len(records), newest=max(record.appended for record in records))
        of_users = _by_user(records)
        users = list(of_users)
        for first in range(0, len(users), self._at_once):
            if stop.is_set():
                break
            done += self._adapt({user: of_users[user] for user in users[first : first + self._at_once]})
        return done

    def _adapt(self, events: Mapping[UserId, Sequence[tuple[Position, Event]]]) -> Adapted:
        done = Adapted()
        while events:
            read = self._store.read_updates(list(events), self._model)
            due = [one for stored in read if (one := self._due(stored, events[stored.user])) is not None]
            forward, counted = self._put_forward(due)
            is_stored = dict(zip(forward, self._store.write_updates(list(forward.values())), strict=True))
            done += replace(counted, users=sum(is_stored.values()))
            # Whose was erased or reset meanwhile is read again, and what is left of the events tried once more.
            events = {user: events[user] for user, was_first in is_stored.items() if not was_first}
        return done

    def _due(self, stored: StoredUpdate, events: Sequence[tuple[Position, Event]]) -> _Due | None:
        """None where there is nothing new, or nobody has heard of the user."""
        as_of = None if stored.update is None else stored.update.as_of
        erased_at = -np.inf if stored.erased_at is None else stored.erased_at
        new = [(at, event) for at, event in events if event.at > erased_at and not (as_of and as_of.covers(at))]
        if not new or stored.seen is None:
            return None
        last = new[-1][0]
        is_of_this_log = as_of is not None and as_of.log_id == last.log_id
        state = self._state(stored) if is_of_this_log else self._adapter.fresh()
        tell, line = self._adapter.context.event, self._line
        return _Due(stored, state, [tell(line(one.item), one.value) for _, one in new if one.item is not None], last)

    def _state(self, stored: StoredUpdate) -> State:
        fresh = self._adapter.fresh()
        if stored.update is None or not stored.update.state:
            return fresh
        try:
            state = State.from_bytes(stored.update.state)
        except InvalidInput as error:
            logger.warning("a stored update begins anew: %s", error)
            return fresh
        return state if state.memory_LQD.shape == fresh.memory_LQD.shape else fresh

    def _put_forward(self, due: Sequence[_Due]) -> tuple[dict[UserId, StoredUpdate], Adapted]:
        """The updates after each user's events; without those of users with whom the adapter fails."""
        if not due:
            return {}, Adapted()
        try:
            states, refused = self._through(due)
            forward = {
                one.stored.user: one.with_state(state, self._model) for one, state in zip(due, states, strict=True)
            }
        except Exception:
            if len(due) == 1:
                logger.exception("a user's weight update was not put forward")
                return {}, Adapted(failed=1)
            half = len(due) // 2
            parts = [self._put_forward(due[:half]), self._put_forward(due[half:])]
            return parts[0][0] | parts[1][0], parts[0][1] + parts[1][1]
        return forward, Adapted(refused=refused)

    def _through(self, due: Sequence[_Due]) -> tuple[list[State], int]:
        """The states after each user's events, and how many of these were refused; the n-th of all users together."""
        states, refused = [one.state for one in due], 0
        for turn in range(max(len(one.events) for one in due)):
            places = [place for place, one in enumerate(due) if turn < len(one.events)]
            before = [states[place] for place in places]
            after = self._adapter.advance(before, [due[place].events[turn] for place in places])
            is_trusted = self._trusted(before, after)
            refused += is_trusted.count(False)
            for place, state, trusted in zip(places, after, is_trusted, strict=True):
                if trusted:
                    states[place] = state
        return states, refused

    def _trusted(self, before: Sequence[State], after: Sequence[State]) -> list[bool]:
        """Of each user; weights that have not changed are as they were."""
        is_trusted = [True] * len(after)
        grown = [place for place, (old, new) in enumerate(zip(before, after, strict=True)) if new.chunks > old.chunks]
        if grown:
            checked_N = self._adapter.checked(self._adapter.cores([after[place] for place in grown]))
            for place, is_within in zip(grown, checked_N.tolist(), strict=True):
                is_trusted[place] = is_within
        return is_trusted


def lines(catalogue: Catalogue) -> Line:
    """Items in words, as they stand in the catalogue; one that is not there by its id."""
    from models.stream_adapter.context import line  # here, for it imports transformers, as the adapter has by now

    def told(item: ItemId) -> str:
        found = catalogue.get(item)
        return line(catalogue.title(item), () if found is None else found.categories)

    return told


def _by_user(records: Sequence[Record]) -> dict[UserId, list[tuple[Position, Event]]]:
    """The events of each user, in the order of the log. Erasures are the ingest's to carry out, and what is no event
    is among the dead letters."""
    of_users: dict[UserId, list[tuple[Position, Event]]] = {}
    for record in records:
        try:
            said = parse_record(record.value, record.appended)
        except InvalidInput:
            continue
        if isinstance(said, Event):
            of_users.setdefault(said.user, []).append((record.position, said))
    return of_users
