"""Questions about users, and rankings for them, that the language model in this process answers by weights of their
own."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Event as Signal
from typing import TYPE_CHECKING, Any, Final

from features.errors import InvalidInput
from features.events import ItemId, UserId
from models.catalogue import Catalogue
from models.language.generator import IsWanted
from services.adapt import lines
from services.answering import Answers
from services.prompting import Prompting, Wanted
from services.soft_asking import answered, as_trained
from services.stream_adapters import Update, UserUpdates

if TYPE_CHECKING:  # torch, which a process without an adapter does not wait for
    from models.soft_prompt.replying import Reply
    from models.stream_adapter.replying import Ask, MergedWeights

AT_ONCE: Final = 8  # questions, of as many users, that are answered together
RANKED_MOST: Final = 100  # items: each is read, a dozen tokens long
NO_TOKENS: Final = 1  # of its own words that a ranking takes
SOURCE: Final = "stream_adapter"
REASON: Final = "what the user did makes its title likely to come next"


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A question under way: its answer to come, and what it was asked with."""

    update: Update
    choices: tuple[str, ...]
    reply: "Future[Reply]" = field(repr=False)

    def said(self, reply: "Reply") -> dict[str, Any]:
        """What there is to say of the answer, ready for JSON."""
        return {
            **answered(self.choices, reply),
            "model": self.update.loaded.version,
            **_told(self.update),
            "tokens": {"input": reply.input_tokens, "output": reply.output_tokens},
        }


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """A ranking under way. known: items of the catalogue with their titles, whose lifts are to come; unknown ones
    come last. reply: None where there is nothing to be asked."""

    update: Update
    known: tuple[tuple[ItemId, str], ...]
    unknown: tuple[ItemId, ...]
    reply: "Future[Reply] | None" = field(repr=False)

    def said(self, reply: "Reply | None") -> dict[str, Any]:
        """What there is to say of it, ready for JSON."""
        scores = () if reply is None else reply.lifts
        ranked = sorted(zip(self.known, scores, strict=True), key=lambda pair: -pair[1])
        items = [_item(item, title, score) for (item, title), score in ranked]
        return {
            "items": items + [_item(item, item, None) for item in self.unknown],
            "model_version": self.update.loaded.version,
            **_told(self.update),
        }


class AdaptedAsking:
    """Takes questions, from any thread, that the one in `run` answers. merged: users whose merged weights are kept."""

    def __init__(self, prompting: Prompting, catalogue: Catalogue, updates: UserUpdates, merged: int) -> None:
        self._prompting, self._catalogue, self._updates = prompting, catalogue, updates
        self._replies = _Replies(merged)
        self._answers: Answers[Ask, Reply] = Answers(self._replies, at_once=AT_ONCE)

    def run(self, stop: Signal) -> None:
        """Answers until `stop` is set."""
        self._answers.run(stop)

    def ask(self, user: UserId, wanted: Wanted, tokens: int) -> Pending:
        """Hands a question in, laid out as in training; the past is in the weights and nowhere else.

        Raises InvalidInput that names the field, ModelMissing when updates are off or no adapter is in use, Overloaded.
        """
        update = self._updates.read(user)
        adapter = update.loaded.adapter
        prompt, answers, choices = as_trained(self._prompting, wanted, adapter.config.style)
        from models.stream_adapter.replying import Ask  # here, for it imports torch, as the adapter has by now

        asked = Ask(adapter, (user, update.mark), update.state, prompt, answers)
        return Pending(update, choices, self._answers.ask(asked, tokens))

    def rank(self, user: UserId, items: Sequence[ItemId]) -> Ranking:
        """Hands items in, to be put in order by how much likelier a token of their titles is as what comes next.

        Raises as `ask` does.
        """
        if len(items) > RANKED_MOST:
            raise InvalidInput("items", f"{len(items)} were given; so ranked they are at most {RANKED_MOST}")
        update = self._updates.read(user)
        from models.stream_adapter.replying import next_items  # here, as above

        line, title = lines(self._catalogue), self._catalogue.title
        known = [item for item in items if self._catalogue.get(item) is not None]
        reply = None
        if known:
            key = user, update.mark
            asked = next_items(update.loaded.adapter, key, update.state, tuple(map(line, known)))
            reply = self._answers.ask(asked, NO_TOKENS)
        unknown = tuple(item for item in items if item not in known)
        return Ranking(update, tuple((item, title(item)) for item in known), unknown, reply)

    def forget(self, user: UserId) -> None:
        """Drops what is kept in memory of a user."""
        self._replies.forget(user)


class _Replies:
    name = "the language model behind weight updates"

    def __init__(self, merged: int) -> None:
        self._most = merged
        self._merged: MergedWeights | None = None

    def generate(self, prompts: "Sequence[Ask]", most: int, is_wanted: IsWanted) -> "list[Reply]":
        from models.stream_adapter.replying import MergedWeights, replies

        if self._merged is None:
            self._merged = MergedWeights(self._most)
        return replies(prompts, most, self._merged, is_wanted)

    def forget(self, user: UserId) -> None:
        if self._merged is not None:
            self._merged.forget(user)


def _told(update: Update) -> dict[str, Any]:
    return {
        "base_model": update.loaded.base,
        "is_adapted": update.state is not None,
        "as_of": None if update.as_of is None else str(update.as_of),
        "degraded": update.problems,
    }


def _item(item: ItemId, title: str, score: float | None) -> dict[str, Any]:
    source, reason = (SOURCE, REASON) if score is not None else (None, None)
    return {"item_id": item, "title": title, "score": score, "source": source, "reason": reason, "because": None}
