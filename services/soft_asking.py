"""Questions about a user that the language model in this process answers behind the user's soft prompt."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Event as Signal
from typing import TYPE_CHECKING, Any, Final

from features.cleaning import cleaned
from features.errors import InvalidInput
from features.events import UserId
from models.language.generator import IsWanted
from models.soft_prompt.questions import Style, put
from models.soft_prompt.tasks import WORDINGS
from models.soft_prompt.tasks import Task as Asked
from models.summaries.prompting import Quoted, Task
from services.answering import Answers, as_html, shown
from services.prompting import Prompting, Wanted
from services.soft_prompts import Prompted, UserSoftPrompts

if TYPE_CHECKING:  # torch, which a process without a soft prompt does not wait for
    from models.soft_prompt.replying import Ask, Reply

TASKS: Final = (Task.QUESTION, Task.RANKING, Task.TAGGING)
NAME_MOST: Final = 80  # characters of an item's title among the choices, as in training


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A question under way: its answer to come, and what it was asked with."""

    prompted: Prompted
    choices: tuple[str, ...]
    reply: "Future[Reply]" = field(repr=False)

    def said(self, reply: "Reply") -> dict[str, Any]:
        """What there is to say of the answer, ready for JSON."""
        prompt, prompter = self.prompted.prompt, self.prompted.prompter
        return {
            **answered(self.choices, reply),
            "model": prompt.model,
            "base_model": prompter.base,
            "tokens": {"soft": len(prompt.vectors_KD), "input": reply.input_tokens, "output": reply.output_tokens},
            "as_of": str(prompt.as_of),
            "degraded": self.prompted.problems,
        }


class SoftAsking:
    """Takes questions, from any thread, that the one in `run` answers."""

    def __init__(self, prompting: Prompting, soft_prompts: UserSoftPrompts) -> None:
        self._prompting = prompting
        self._soft_prompts = soft_prompts
        self._answers: Answers[Ask, Reply] = Answers(_Replies(), at_once=1)

    def run(self, stop: Signal) -> None:
        """Answers until `stop` is set."""
        self._answers.run(stop)

    def ask(self, user: UserId, wanted: Wanted, tokens: int) -> Pending:
        """Hands a question in, laid out as in training; the past is in the soft prompt and nowhere else.

        Raises InvalidInput that names the field, ModelMissing when no soft prompt is in use or the language model that
        it was trained for is not there, UnknownName for a user without a soft prompt, Overloaded, StoreUnavailable.
        """
        prompter = self._soft_prompts.in_use()
        prompt, answers, choices = as_trained(self._prompting, wanted, prompter.config.style)
        prompted = self._soft_prompts.read(user, prompt if prompter.is_instructed else None, prompter)
        from models.soft_prompt.replying import Ask  # here, for it imports torch, as the prompter has by now

        aligned = self._soft_prompts.aligned(prompter)
        asked = Ask(aligned, prompted.prompt.vectors_KD, prompt, answers)
        return Pending(prompted, choices, self._answers.ask(asked, tokens))


def as_trained(
    prompting: Prompting, wanted: Wanted, style: Style | str
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """(prompt, answers, choices) of what is wanted, laid out as in training. Raises InvalidInput that names the
    field."""
    if wanted.task not in TASKS:
        raise InvalidInput("task", f"{wanted.task} was given; asked so it is one of {', '.join(TASKS)}")
    given, offered = prompting.given(wanted)
    choices = tuple(map(_named, offered))
    text = WORDINGS[Asked.NEXT_ITEM][0] if given is None else _named(given)
    return *put(text, choices, style), choices


def answered(choices: Sequence[str], reply: "Reply") -> dict[str, Any]:
    """What every such answer says, ready for JSON: the likeliest of the choices, or words."""
    ranked = sorted(zip(choices, reply.lifts, strict=True), key=lambda pair: -pair[1])
    text = ranked[0][0] if ranked else shown(reply.text)
    return {
        "answer": text,
        "answer_html": as_html(text),
        "is_finished": reply.is_finished,
        "choices": [{"choice": choice, "lift": lift} for choice, lift in ranked],
    }


class _Replies:
    name = "the language model behind soft prompts"

    def generate(self, prompts: "Sequence[Ask]", most: int, is_wanted: IsWanted) -> "list[Reply]":
        from models.soft_prompt.replying import replies

        return replies(prompts, most, is_wanted)


def _named(given: Quoted) -> str:
    return given if isinstance(given, str) else cleaned(given[0], NAME_MOST)
