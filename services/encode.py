"""The encode worker: keeps what is stored of every user, a vector or a soft prompt, that of the user's newest events.

It is a consumer group of the events stream that stays behind the ingest: a record counts once the ingest's checkpoint
has passed it, and then its user's profile is read, encoded with others in one batch, and the form stored beside the
profile. A profile that has moved on by then is left to the record that has moved it. The checkpoint is written after
the forms; a restart goes back a little before it, and finds those that are there already fresh.

Checkpoints are a model's own: a new model starts at the beginning of the log, and a user who comes up often is encoded
once, from what the profile is by then; a model that is rolled back to goes on where it was.

Shapes: B users, D dimensions.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event as Signal
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from features.errors import InvalidInput, LogUnavailable, StoreUnavailable
from features.events import UserId
from features.history import UserHistory
from features.profile import SoftPrompt, UserVector
from features.profiles import ProfileStore
from models.recommender import HISTORY_LENGTH, Query
from services.behind import PATIENCE_SECONDS, Fresh, behind, start_following
from services.behind import follow as follow_behind
from services.threads import Threads
from services.wiring import Backends
from streaming.log import Consumer, Record

if TYPE_CHECKING:  # torch, which a process without a soft prompt does not wait for
    from models.soft_prompt.bundle import SoftPrompter

GROUP: Final = "encode"
SOFT_PROMPTS_GROUP: Final = "soft-prompts"
AT_ONCE: Final = 256  # users in one call of the encoder

logger = logging.getLogger(__name__)


Made = TypeVar("Made", UserVector, SoftPrompt)


class Encodes(Protocol):
    """A pipeline, as far as encoding goes. encoder_model: what its vectors are kept under, None without an encoder."""

    @property
    def encoder_model(self) -> str | None: ...

    def vectors(self, queries: Sequence[Query]) -> NDArray[np.float32]: ...


class Form(Protocol[Made]):
    """What is made of users by one model. model: what it is kept under. group: whose records it is made behind."""

    @property
    def model(self) -> str: ...

    @property
    def group(self) -> str: ...

    def read(self, store: ProfileStore, users: Sequence[UserId]) -> list[tuple[UserHistory, Made | None]]:
        """Histories with what is stored of this model, stale or not."""
        ...

    def make(self, histories: Sequence[UserHistory]) -> list[Made | None]:
        """One a history, in their order; None where there is nothing to be made of one."""
        ...

    def write(self, store: ProfileStore, made: Sequence[tuple[UserId, Made]]) -> int:
        """How many were stored: those whose profile has not moved on."""
        ...


class Vectors:
    """The vectors of a pipeline's encoder."""

    group = GROUP

    def __init__(self, pipeline: Encodes, model: str) -> None:
        self.model = model
        self._pipeline = pipeline

    @classmethod
    def of(cls, pipeline: Encodes | None) -> "Vectors | None":
        """None while there is no encoder."""
        model = None if pipeline is None else pipeline.encoder_model
        return None if pipeline is None or model is None else cls(pipeline, model)

    def read(self, store: ProfileStore, users: Sequence[UserId]) -> list[tuple[UserHistory, UserVector | None]]:
        return store.read_with_vectors(users, self.model)

    def make(self, histories: Sequence[UserHistory]) -> list[UserVector | None]:
        vectors_BD = self._pipeline.vectors([query_of(history) for history in histories])
        return [
            None if history.as_of is None else UserVector(vector_D, self.model, history.as_of)
            for history, vector_D in zip(histories, vectors_BD, strict=True)
        ]

    def write(self, store: ProfileStore, made: Sequence[tuple[UserId, UserVector]]) -> int:
        return store.write_vectors(made)


class SoftPrompts:
    """The soft prompts of a prompter."""

    group = SOFT_PROMPTS_GROUP

    def __init__(self, prompter: "SoftPrompter") -> None:
        self.model = prompter.version
        self._prompter = prompter

    @classmethod
    def of(cls, prompter: "SoftPrompter | None") -> "SoftPrompts | None":
        """None while there is none, or while prompts are made for one question each."""
        return None if prompter is None or prompter.is_instructed else cls(prompter)

    def read(self, store: ProfileStore, users: Sequence[UserId]) -> list[tuple[UserHistory, SoftPrompt | None]]:
        return store.read_with_soft_prompts(users, self.model)

    def make(self, histories: Sequence[UserHistory]) -> list[SoftPrompt | None]:
        return self._prompter.prompts(histories)

    def write(self, store: ProfileStore, made: Sequence[tuple[UserId, SoftPrompt]]) -> int:
        return store.write_soft_prompts(made)


@dataclass(frozen=True, slots=True)
class Encoded:
    """What became of one batch of records: users of whom nothing fresh was stored, forms stored, users who failed."""

    records: int = 0
    users: int = 0
    written: int = 0
    failed: int = 0

    def __add__(self, other: "Encoded") -> "Encoded":
        return Encoded(
            self.records + other.records,
            self.users + other.users,
            self.written + other.written,
            self.failed + other.failed,
        )


def follow(
    consumer: Consumer,
    store: ProfileStore,
    current: Callable[[], Form[Made] | None],
    stop: Signal,
    *,
    until_end: bool = False,
    at_once: int = AT_ONCE,
    patience: float = PATIENCE_SECONDS,
    report: Callable[[Encoded], None] = lambda encoded: None,
) -> int:
    """Encodes the users of what the consumer reads until `stop` is set; how many records it leaves to the ingest.

    current: what the model in use makes. The rest is as `follow` of services/behind.py has it.
    """

    def work() -> _Encoding[Made] | None:
        form = current()
        return None if form is None else _Encoding(form, store, at_once)

    return follow_behind(consumer, store, work, stop, until_end=until_end, patience=patience, report=report)


def start_encoding(
    backends: Backends,
    threads: Threads,
    group: str,
    current: Callable[[], Form[Made] | None],
    at_once: int,
    report: Callable[[Encoded], None],
) -> None:
    """Follows the log in `threads`, as the form's group; while another process does, stands by to take its place."""

    def run(consumer: Consumer) -> None:
        follow(consumer, backends.patient, current, threads.stop, at_once=at_once, report=report)

    start_following(backends, threads, group, f"encoding users ({group})", run)


def encode_users(
    users: Sequence[UserId],
    store: ProfileStore,
    form: Form[Made],
    fresh: Fresh,
    stop: Signal,
    at_once: int = AT_ONCE,
) -> Encoded:
    """Stores the form of each of these users that has a history and no fresh one; ends early when `stop` is set.

    Users whose encoding fails are logged and left out: requests encode them, and say so when that fails too. What is
    stored goes into `fresh` as well.
    """
    done = Encoded()
    for first in range(0, len(users), at_once):
        if stop.is_set():
            break
        stale = _stale(users[first : first + at_once], store, form, fresh)
        if stale:
            done += _encode(stale, store, form, fresh)
    return done


@dataclass(frozen=True, slots=True, eq=False)
class _Encoding(Generic[Made]):
    """The users of records, encoded by one model."""

    form: Form[Made]
    store: ProfileStore
    at_once: int

    @property
    def group(self) -> str:
        return f"{self.form.group}:{self.form.model}"

    def do(self, records: Sequence[Record], fresh: Fresh, stop: Signal) -> Encoded:
        users = behind(records, fresh)
        return encode_users(users, self.store, self.form, fresh, stop, self.at_once) + Encoded(records=len(records))


def query_of(history: UserHistory) -> Query:
    """The query that says of a user what an encoder needs."""
    items, times_L, values_L = history.recent_events(HISTORY_LENGTH)
    return Query(history.user, items, as_of=history.as_of, times_L=times_L, values_L=values_L)


def _encode(histories: Sequence[UserHistory], store: ProfileStore, form: Form[Made], fresh: Fresh) -> Encoded:
    try:
        found = zip(histories, form.make(histories), strict=True)
        made = [(history.user, one) for history, one in found if one is not None]
        written = form.write(store, made)
    except (StoreUnavailable, LogUnavailable):
        raise
    except Exception as error:
        if isinstance(error, InvalidInput) and len(histories) > 1:  # of one user: the others have nothing to do with it
            half = len(histories) // 2
            return _encode(histories[:half], store, form, fresh) + _encode(histories[half:], store, form, fresh)
        logger.exception("%d users could not be encoded", len(histories))
        return Encoded(users=len(histories), failed=len(histories))
    if written == len(made):
        fresh |= {history.user: history.as_of for history in histories if history.as_of is not None}
    return Encoded(users=len(made), written=written)


def _stale(users: Sequence[UserId], store: ProfileStore, form: Form[Made], fresh: Fresh) -> list[UserHistory]:
    """The histories without a fresh form. The key of an erasure is no user's, and has none."""
    stale = []
    for history, made in form.read(store, users):
        if made is not None and made.as_of == history.as_of:
            fresh[history.user] = made.as_of
        elif history.encoded:
            stale.append(history)
    return stale
