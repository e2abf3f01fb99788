"""Prompts that wait for a text generator are answered together, by one thread, in the order in which they came."""

import html
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Condition
from threading import Event as Signal
from typing import Final, Generic, Protocol, TypeVar

from features.cleaning import cleaned
from features.errors import InvalidInput, Overloaded
from models.language.generator import Completion, IsWanted

AT_ONCE: Final = 16
WAITING_MOST: Final = 128
ANSWER_SECONDS: Final = 120.0  # that an answer is waited for: a small model on one core writes 14 tokens a second
SERVER_SECONDS: Final = 60.0  # that a server is asked for answers: who waits behind others has as long left
LINE_MOST: Final = 4000  # characters of a line of an answer
ENDED: Final = "prompts are not answered here any more; ask again later"

Prompt = TypeVar("Prompt")
Said = TypeVar("Said", bound=Completion)
Prompt_contra = TypeVar("Prompt_contra", contravariant=True)
Said_co = TypeVar("Said_co", bound=Completion, covariant=True)

logger = logging.getLogger(__name__)


class Generates(Protocol[Prompt_contra, Said_co]):
    """What answers prompts of some kind, as a StoppableGenerator (models/language/generator.py) does chat messages."""

    @property
    def name(self) -> str: ...

    def generate(self, prompts: Sequence[Prompt_contra], most: int, is_wanted: IsWanted) -> Sequence[Said_co]: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[Prompt, Said]):
    prompt: Prompt
    most: int
    future: Future[Said] = field(default_factory=Future)


class Answers(Generic[Prompt, Said]):
    """Prompts and their answers to come; `run` is one thread's, the rest may be called from any.

    at_once: prompts that the generator is given together; 1 for one that answers them one after the other, so that none
    waits for those behind it.
    """

    def __init__(
        self, generator: Generates[Prompt, Said], waiting_most: int = WAITING_MOST, at_once: int = AT_ONCE
    ) -> None:
        self.model = generator.name
        self._generator = generator
        self._waiting_most = waiting_most
        self._at_once = at_once
        self._waiting: deque[_Waiting[Prompt, Said]] = deque()
        self._changed = Condition()
        self._ended = False

    def ask(self, prompt: Prompt, most: int) -> Future[Said]:
        """The answer to come, of at most `most` tokens; an error of the generator comes in its place. It is written no
        further once the future is cancelled.

        Raises Overloaded when too much waits, and when `run` has ended.
        """
        one: _Waiting[Prompt, Said] = _Waiting(prompt, most)
        with self._changed:
            if self._ended:
                raise Overloaded(ENDED)
            if len(self._waiting) >= self._waiting_most:
                raise Overloaded(f"{self._waiting_most} prompts wait for {self.model}; ask again later")
            self._waiting.append(one)
            self._changed.notify()
        return one.future

    def run(self, stop: Signal) -> None:
        """Answers until `stop` is set; what still waits then, or is being written, is refused."""
        try:
            while not stop.is_set():
                self._answer(self._next(), stop)
        finally:
            with self._changed:
                self._ended = True
                for one in self._waiting:
                    _refuse(one, Overloaded(ENDED))
                self._waiting.clear()

    def _next(self) -> list[_Waiting[Prompt, Said]]:
        """Those that have waited longest, as far as their answers may be equally long."""
        with self._changed:
            if not self._waiting:
                self._changed.wait(0.05)
            taken: list[_Waiting[Prompt, Said]] = []
            while self._waiting and len(taken) < self._at_once:
                if self._waiting[0].most != (taken or self._waiting)[0].most:
                    break
                taken.append(self._waiting.popleft())
        return taken

    def _answer(self, asked: Sequence[_Waiting[Prompt, Said]], stop: Signal) -> None:
        some = [one for one in asked if not one.future.cancelled()]
        if not some:
            return

        def is_wanted(place: int) -> bool:
            return not (stop.is_set() or some[place].future.cancelled())

        try:
            answers = self._generator.generate([one.prompt for one in some], some[0].most, is_wanted)
            for one, answer in zip(some, answers, strict=True):
                if stop.is_set() and not answer.is_finished:
                    _refuse(one, Overloaded(ENDED))
                    continue
                with suppress(InvalidStateError):  # whoever asked has gone
                    one.future.set_result(answer)
        except InvalidInput as error:  # of one prompt: the others have nothing to do with it
            if len(some) == 1:
                _refuse(some[0], error)
                return
            for one in some:
                self._answer([one], stop)
        except Exception as error:  # noqa: BLE001 - goes to those who have asked
            logger.warning("%d prompts were not answered: %s", len(some), error)
            for one in some:
                _refuse(one, error)


def _refuse(one: _Waiting[Prompt, Said], error: Exception) -> None:
    with suppress(InvalidStateError):  # whoever asked has gone
        one.future.set_exception(error)


def shown(text: str) -> str:
    """What a generator has written without unseen characters, line by line."""
    return "\n".join(cleaned(line, LINE_MOST) for line in text.split("\n")).strip()


def as_html(text: str) -> str:
    """The same for a page: no tag, no attribute, no entity of the generator's making."""
    return html.escape(text).replace("\n", "<br>\n")
