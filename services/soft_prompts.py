"""The soft prompt in use: which one it is, and users' soft prompts by it, as requests and the encode worker take them.

Trained ones are in HOME/soft-prompts (services/in_use.py); beside them, in `unfinished`, what trainings go on from, and
in `arms` what evaluations by questions keep.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from features.circuit_breaker import CircuitBreaker
from features.errors import BundleRefused, InvalidInput, ModelMissing, UnknownName, WeightsRefused
from features.events import UserId
from features.history import UserHistory
from features.profile import SoftPrompt
from features.profiles import ProfileStore
from models.language.weights import find_weights
from services.in_use import FollowingName, name_in_use, put_into_use, stamp
from services.settings import Settings

if TYPE_CHECKING:  # torch, which a process without a soft prompt does not wait for
    from models.soft_prompt.bundle import SoftPrompter
    from models.soft_prompt.trained import Aligned

NONE_IN_USE: Final = "no soft prompt is in use; `tasteprint train soft-prompt` trains one"
REWORDED: Final = "the question's words go with an update, which is not in these vectors; `ask` applies it"


def soft_prompts_folder(settings: Settings) -> Path:
    """Where trained soft prompts are kept, a folder each."""
    return settings.home / "soft-prompts"


def soft_prompt_in_use(settings: Settings) -> str | None:
    """The name of the one in use, None when none ever was."""
    return name_in_use(soft_prompts_folder(settings))


def put_soft_prompt_into_use(settings: Settings, name: str) -> None:
    """Makes this one the one in use, at once; whoever follows takes it up within a second."""
    put_into_use(soft_prompts_folder(settings), name)


class FollowingSoftPrompt(FollowingName["SoftPrompter"]):
    """Follows the soft prompt in use."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(soft_prompts_folder(settings), _load, "soft prompt", "tasteprint train soft-prompt")

    @property
    def prompter(self) -> "SoftPrompter | None":
        return self.model


def _load(folder: Path) -> "SoftPrompter":
    from models.soft_prompt.bundle import load_soft_prompt  # here, for it imports torch

    return load_soft_prompt(folder)


@dataclass(frozen=True, slots=True, eq=False)
class Prompted:
    """A user's soft prompt as it is at hand. problems: what it has to do without."""

    prompter: "SoftPrompter"
    history: UserHistory
    prompt: SoftPrompt
    problems: tuple[str, ...] = ()

    @property
    def is_current(self) -> bool:
        """Whether it has seen all that the history has."""
        return self.prompt.as_of == self.history.as_of

    @property
    def lacking(self) -> tuple[str, ...]:
        """The problems, and what the vectors do without where they are all that is handed out."""
        return (*self.problems, REWORDED) if self.prompter.config.kind == "dept" else self.problems


class UserSoftPrompts:
    """Soft prompts of users, for any thread. on_degraded: told of each that does without something."""

    def __init__(
        self,
        settings: Settings,
        store: ProfileStore,
        following: FollowingSoftPrompt,
        on_degraded: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._following = following
        self._on_degraded = on_degraded
        self._breaker = CircuitBreaker()
        self._asked: Aligned | None = None
        self._asked_of: SoftPrompter | None = None
        self._refused: tuple[SoftPrompter, tuple[tuple[int, ...], ...], str] | None = None
        self._loading = Lock()

    def read(self, user: UserId, text: str | None = None, prompter: "SoftPrompter | None" = None) -> Prompted:
        """The user's soft prompt: the stored one while it is fresh, else one made of the history as it is now.

        text: what is to stand behind it, word for word, which prompts that are made for one question hang on; such a
        prompt is made each time. prompter: the one in use when None. Raises ModelMissing when none is in use or it is
        unsound, UnknownName for a user of whom it knows no event, InvalidInput for a text where none is looked at or
        none where one is, StoreUnavailable.
        """
        prompter = prompter or self.in_use()
        if text is None and prompter.is_instructed:
            raise InvalidInput("question", "none was given; the soft prompts in use are made for one question each")
        if text is not None and not prompter.is_instructed:
            raise InvalidInput("question", "was given; the soft prompts in use are the same for every question")
        with self._breaker.guard():
            [(history, stored)] = self._store.read_with_soft_prompts([user], prompter.version)
        problems = () if not self._following.refused else (f"another was put into use: {self._following.refused}",)
        prompt = stored
        if text is not None:
            [prompt] = prompter.instructed([history], [text], self.aligned(prompter))
        elif stored is None or stored.as_of != history.as_of:
            try:
                [prompt] = prompter.prompts([history])
            except InvalidInput as error:  # numbers that are not finite
                if stored is None:
                    raise ModelMissing(f"the soft prompt in use makes none of this user: {error}") from None
                problems = (*problems, f"the newest events are not in it: {error}")
        if prompt is None:
            raise UnknownName(
                f"there is no event of {user!r} that the soft prompt in use knows of; ask the language model without"
            )
        if problems:
            self._on_degraded()
        return Prompted(prompter, history, prompt, problems)

    def aligned(self, prompter: "SoftPrompter") -> "Aligned":
        """The language model behind the prompter's prompts, read from disk when it is first asked for.

        Raises ModelMissing when the weights are not there, or are not those that the prompts were trained for.
        """
        with self._loading:
            if self._asked is None or self._asked_of is not prompter:
                self._asked = self._asked_of = None  # two at once would take twice the memory
                self._asked, self._asked_of = self._with_language(prompter), prompter
            return self._asked

    def _with_language(self, prompter: "SoftPrompter") -> "Aligned":
        name = prompter.base["name"]
        folder = find_weights(Path(name).name, self._settings.home)
        if folder is None:
            raise ModelMissing(
                f"{name}, which the soft prompt in use was trained for, is not there; `tasteprint weights pull {name}` "
                "brings it"
            )
        weights = tuple(stamp(path) for path in sorted(folder.iterdir()))
        if self._refused is not None and self._refused[:2] == (prompter, weights):
            raise ModelMissing(self._refused[2])  # without reading them whole for every question
        try:
            return prompter.with_language(folder)
        except WeightsRefused as error:
            self._refused = prompter, weights, str(error)
            raise ModelMissing(str(error)) from None
        except BundleRefused as error:
            raise ModelMissing(str(error)) from None

    def in_use(self) -> "SoftPrompter":
        """What makes them. Raises ModelMissing when nothing does."""
        prompter = self._following.prompter
        if prompter is None:
            refused = self._following.refused
            raise ModelMissing(NONE_IN_USE + (f"; the one in use by name is refused: {refused}" if refused else ""))
        return prompter
