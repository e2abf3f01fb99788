"""The stream adapter in use: which one it is, and users' weight updates by it, as requests take them.

Trained ones are in HOME/stream-adapters (services/in_use.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from features.circuit_breaker import CircuitBreaker
from features.errors import BundleRefused, InvalidInput, ModelMissing, StoreUnavailable
from features.events import UserId
from features.profile import Position
from features.profiles import ProfileStore
from features.updates import StoredUpdate
from models.kept import load_parts
from models.language.weights import SMOLLM2, find_weights
from models.stream_adapter.state import State
from services.in_use import FollowingName, name_in_use, put_into_use
from services.settings import Settings

if TYPE_CHECKING:  # torch, which a process without an adapter does not wait for
    from models.stream_adapter.trained import StreamAdapter

COMMAND: Final = "tasteprint train stream-adapter"
NONE_IN_USE: Final = f"no stream adapter is in use; `{COMMAND}` trains one"
OFF: Final = (
    "answers by weight updates are off here; once `tasteprint evaluate adaptation` has shown them to be better than "
    "those of the frozen model, TASTEPRINT_ADAPTED=true turns them on"
)


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """An adapter with its language model. version: what its states are kept under. base: the language model's "name"
    and "sha256"."""

    adapter: "StreamAdapter"
    version: str
    base: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """A user's weight update as it is at hand. state: None where the frozen model is to answer. mark: which of the
    user's states it is. problems: why there is none, and what else an answer has to do without."""

    loaded: Loaded
    user: UserId
    state: State | None
    mark: str
    as_of: Position | None
    problems: tuple[str, ...] = ()


def stream_adapters_folder(settings: Settings) -> Path:
    """Where trained stream adapters are kept, a folder each."""
    return settings.home / "stream-adapters"


def stream_adapter_in_use(settings: Settings) -> str | None:
    """The name of the one in use, None when none ever was."""
    return name_in_use(stream_adapters_folder(settings))


def put_stream_adapter_into_use(settings: Settings, name: str) -> None:
    """Makes this one the one in use, at once; whoever follows takes it up within a second."""
    put_into_use(stream_adapters_folder(settings), name)


class FollowingStreamAdapter(FollowingName[Loaded]):
    """Follows the stream adapter in use, and reads it with its language model."""

    def __init__(self, settings: Settings) -> None:
        weights = settings.home / "weights"

        def load(folder: Path) -> Loaded:
            return _load(settings, folder)

        super().__init__(stream_adapters_folder(settings), load, "stream adapter", COMMAND, lambda: (weights,))

    def in_use(self) -> Loaded:
        """Raises ModelMissing when there is none."""
        if self.model is None:
            raise ModelMissing(
                NONE_IN_USE + (f"; the one in use by name is refused: {self.refused}" if self.refused else "")
            )
        return self.model


class UserUpdates:
    """Weight updates of users, for any thread. on_degraded: told of each that is not there."""

    def __init__(
        self,
        settings: Settings,
        store: ProfileStore,
        following: FollowingStreamAdapter,
        on_degraded: Callable[[], None] = lambda: None,
    ) -> None:
        self._is_on = settings.adapted
        self._store = store
        self._following = following
        self._on_degraded = on_degraded
        self._breaker = CircuitBreaker()

    def read(self, user: UserId) -> Update:
        """The user's update, and why there is none where there is none.

        Raises ModelMissing when updates are off in this deployment, or no adapter is in use.
        """
        if not self._is_on:
            raise ModelMissing(OFF)
        loaded, refused = self.in_use(), self._following.refused
        problems = (f"another was put into use: {refused}",) if refused else ()
        try:
            with self._breaker.guard():
                [stored] = self._store.read_updates([user], loaded.version)
                state, why_not = self._state(loaded, stored)
        except StoreUnavailable as error:
            stored, state, why_not = StoredUpdate(user), None, str(error)
        if state is None:
            problems = (*problems, f"answered by the frozen model: {why_not}")
        if problems:
            self._on_degraded()
        as_of = stored.update.as_of if stored.update is not None and state is not None else None
        return Update(loaded, user, state, f"{stored.generation}:{stored.revision}:{as_of}", as_of, problems)

    def in_use(self) -> Loaded:
        """What makes them. Raises ModelMissing when nothing does."""
        return self._following.in_use()

    def _state(self, loaded: Loaded, stored: StoredUpdate) -> tuple[State | None, str]:
        """The state, or why there is none to be used."""
        adapter, update = loaded.adapter, stored.update
        if update is None:
            others = [one.update.model for one in self._store.updates(stored.user) if one.update is not None]
            of_others = f"; there is one of {others[0]}, which is not in use" if others else ""
            return None, f"there is no update of this user by {loaded.version} yet{of_others}"
        if not update.state:
            return None, "the user's update was reset, or no event has said anything yet"
        try:
            state = State.from_bytes(update.state)
            cores = adapter.cores([state])
        except InvalidInput as error:
            return None, f"the user's update is damaged: {error}"
        if not state.chunks:
            return None, f"the user's events do not fill a chunk of {adapter.config.chunk} tokens yet"
        if not adapter.checked(cores).all():
            return None, "the user's update is larger than training users' let expect"
        return state, ""


def _load(settings: Settings, folder: Path) -> Loaded:
    """Raises ModelMissing when the language model was not pulled, WeightsRefused when it is another, BundleRefused."""
    from models.stream_adapter.trained import StreamAdapter  # here, for it imports torch

    name = str(load_parts(folder, {})[1].get("base", SMOLLM2))
    weights = find_weights(Path(name).name, settings.home)
    if weights is None:
        raise ModelMissing(
            f"{name}, which it was trained for, is not there; `tasteprint weights pull {name}` brings it"
        )
    adapter = StreamAdapter.load(folder, weights)
    if adapter.config.source != "user":
        raise BundleRefused(f"{folder}: a control, with nothing of a user in it; it is not served")
    return Loaded(adapter, adapter.version, {"name": name, "sha256": adapter.base})
