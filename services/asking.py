"""From a user's question to the JSON of P5's answer: what each of the five families asks for, and what it says.

Shapes: L events of a history.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import astuple, dataclass, field
from typing import Any, Final

import orjson

from features.circuit_breaker import CircuitBreaker
from features.errors import InvalidInput, ModelMissing, StoreUnavailable
from features.events import ItemId, UserId
from features.history import UserHistory
from features.profiles import ProfileStore
from models.catalogue import Catalogue
from models.p5.asks import Answer, Ask
from models.p5.past import Person
from models.p5.templates import Family
from models.vocabulary import Vocabulary
from services.results import Key
from services.served import Answering, Served
from services.tasking import Tasks

EVENTS_MOST: Final = 10_000  # that a history may be set to keep
NO_P5: Final = (
    "no P5 is in use, and questions are its part; `tasteprint train p5` trains one, and `tasteprint models promote` "
    "puts it into use"
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, besides for whom. family: as on the wire; the rest as `Ask` has it, items by their ids."""

    family: str
    item: ItemId | None = None
    items: tuple[ItemId, ...] = ()
    text: str = ""
    stars: float | None = None
    k: int = 10
    template: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A question under way: its answer to come, and what the answer says beside it."""

    question: Question
    served: Served
    as_of: str | None
    problems: tuple[str, ...]
    answer: Future[Answer] = field(repr=False)


class Asking:
    """Takes questions, from any thread. answering: the bundle in use. on_degraded: told of each answer that does
    without something."""

    def __init__(
        self,
        store: ProfileStore,
        catalogue: Catalogue,
        tasks: Tasks,
        answering: Callable[[], Answering],
        on_degraded: Callable[[], None],
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._tasks = tasks
        self._answering = answering
        self._on_degraded = on_degraded
        self._breaker = CircuitBreaker()

    def ask(self, user: UserId, question: Question) -> Pending:
        """Reads the user's history and hands the question in. An unknown user has an empty history.

        Raises ModelMissing when no P5 is in use, InvalidInput that names the field, Overloaded.
        """
        answering = self._answering()
        served = answering.served
        if served is None or served.answerer is None:
            refused = answering.refused
            raise ModelMissing(NO_P5 + ("" if refused is None else f"; {refused.name} is refused: {refused.reason}"))
        problems: tuple[str, ...] = ()
        if answering.refused is not None:
            problems = (f"answered without the bundle {answering.refused.name}, which is refused",)
        try:
            with self._breaker.guard():
                [history] = self._store.read([user])
        except StoreUnavailable as error:
            history = UserHistory(user)
            problems = (*problems, f"answered without the user's history: {error}")
        key = Key(user, served.bundle.name, question.family, orjson.dumps(astuple(question)))
        answer = None if problems else self._tasks.at_hand(key, history.as_of)
        if answer is None:
            ask = _ask_of(question, history, served)
            served.answerer.check(ask)
            answer = self._tasks.ask(key, ask, history.as_of, history.oldest, keep=not problems)
        as_of = None if history.as_of is None else str(history.as_of)
        return Pending(question, served, as_of, problems, answer)

    def encode(self, pending: Pending, answer: Answer) -> bytes:
        """The JSON of an answer."""
        if pending.problems:
            self._on_degraded()
        return orjson.dumps(
            {
                "family": pending.question.family,
                **self._said(pending, answer),
                "template": answer.template,
                "made_from": answer.made_from,
                "model_version": pending.served.bundle.name,
                "as_of": pending.as_of,
                "degraded": pending.problems,
            }
        )

    def _said(self, pending: Pending, answer: Answer) -> dict[str, Any]:
        question = pending.question
        match question.family:
            case "rating":
                opinion = {"opinion": answer.text, "log_probability": answer.log_probability}
                return {"item_id": question.item, "stars": answer.stars, **opinion}
            case "explanation":
                return {"item_id": question.item, "text": answer.text}
            case "review":
                return {"headline": answer.text, "stars": answer.stars}
            case "direct" if question.item is not None:
                verdict = {"verdict": answer.text, "log_probability": answer.log_probability}
                return {"item_id": question.item, **verdict}
        items = self._items(pending.served.bundle.vocabulary, answer)
        if question.family == "direct":
            return {"pick": items[0]["item_id"], "items": items}
        return {"items": [item for item in items if not self._is_hidden(item["item_id"])]}

    def _items(self, vocabulary: Vocabulary, answer: Answer) -> list[dict[str, Any]]:
        names = [(vocabulary.items[row], log_probability) for row, log_probability in answer.items]
        return [
            {"item_id": item, "title": self._catalogue.title(item), "log_probability": log_probability}
            for item, log_probability in names
        ]

    def _is_hidden(self, item: ItemId) -> bool:
        found = self._catalogue.get(item)
        return found is not None and found.hidden


def _ask_of(question: Question, history: UserHistory, served: Served) -> Ask:
    """The question in rows; raises InvalidInput that names the item which has none."""
    vocabulary = served.bundle.vocabulary
    get = vocabulary.row_of.get
    items, _, stars_L = history.recent_events(EVENTS_MOST)
    known = [(row, star) for row, star in zip(map(get, items), stars_L.tolist(), strict=True) if row is not None]
    seen: Sequence[int] = ()
    if question.family == Family.SEQUENTIAL:
        seen = [*(row for row in map(get, history.seen) if row is not None), *served.pipeline.hidden().tolist()]
    return Ask(
        Family(question.family),
        Person([row for row, _ in known], [star for _, star in known]),
        None if question.item is None else _row(question.item, "item_id", vocabulary),
        tuple(_row(item, f"items.{place}", vocabulary) for place, item in enumerate(question.items)),
        question.text,
        question.stars,
        question.k,
        question.template,
        seen,
    )


def _row(item: ItemId, field_name: str, vocabulary: Vocabulary) -> int:
    row = vocabulary.row_of.get(item)
    if row is None:
        raise InvalidInput(field_name, f"{item!r} is not among the {len(vocabulary)} items that the model knows")
    return row
