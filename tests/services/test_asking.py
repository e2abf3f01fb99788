"""Questions as they come from outside: in rows for the model, in item ids for people, as of the history."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event as Signal
from threading import Thread
from typing import Any

import orjson
import pytest
from toy_frames import marching
from toy_generator import ToyP5

from features.errors import InvalidInput, ModelMissing
from features.events import Event, EventId, ItemId, UserId, user_digest
from features.frames import ordered
from features.items import Item
from features.profile import Position
from features.profiles import ProfileStore, UserBatch, connect_for_serving
from models.bundle import fit_bundle, train_counts
from models.catalogue import Catalogue
from models.counts.fitting import CountsConfig, texts_of
from models.p5.asks import Ask
from models.recommender import Pipeline
from models.vocabulary import Vocabulary
from services.asking import Asking, Question
from services.served import Answering, Refusal, Served
from services.tasking import LocalWorker, Tasks

NOW = 1_800_000_000.0
ITEMS = 20
ANN = UserId("ann")
EVENTS, FRAME = marching(users=30, items=ITEMS, length=6)
VOCABULARY = Vocabulary.of(FRAME["item"])
ROWS = VOCABULARY.row_of
FITTED = {"fingerprint": "toy", "fit": "serve", "config": CountsConfig(), "seed": 0}


@pytest.fixture(scope="module")
def served() -> Served:
    toy = ToyP5(range(ITEMS))
    texts = texts_of(FRAME, VOCABULARY)
    bundle = fit_bundle(ordered(EVENTS), VOCABULARY, texts, p5=toy, **FITTED)
    catalogue = Catalogue(Item(ItemId(f"i{n}"), f"Item {n}", added=1.0) for n in range(ITEMS))
    return Served(bundle, Pipeline(bundle, catalogue), toy.answerer)


@pytest.fixture
def catalogue(served: Served) -> Catalogue:
    return served.pipeline._catalogue


@pytest.fixture
def tasks(store: ProfileStore, served: Served) -> Iterator[Tasks]:
    tasks, stop = Tasks(store), Signal()
    tasks.use({served.bundle.name: LocalWorker(served.pipeline, served.answerer)})
    thread = Thread(target=tasks.run, args=(stop,))
    thread.start()
    yield tasks
    stop.set()
    thread.join()


@pytest.fixture
def degraded() -> list[None]:
    return []


@pytest.fixture
def asking(store: ProfileStore, catalogue: Catalogue, tasks: Tasks, served: Served, degraded: list[None]) -> Asking:
    return Asking(store, catalogue, tasks, lambda: Answering(served, NOW), lambda: degraded.append(None))


def chose(store: ProfileStore, *items: str, value: float | None = None, offset: int = 0) -> None:
    events = [
        Event(EventId(f"e{offset + step}"), ANN, ItemId(item), "view", value, NOW + offset + step)
        for step, item in enumerate(items)
    ]
    store.apply([UserBatch(user_digest(ANN), Position("log", 0, offset + len(items)), events)])


def answered(asking: Asking, question: Question, user: UserId = ANN) -> dict[str, Any]:
    pending = asking.ask(user, question)
    return orjson.loads(asking.encode(pending, pending.answer.result(20)))


def asked(served: Served) -> Ask:
    return served.answerer.asked[-1]


def test_a_rating_is_asked_in_rows_and_answered_with_what_it_was_made_of(
    asking: Asking, store: ProfileStore, served: Served
) -> None:
    chose(store, "i3", "gone", "i4", value=4.0)
    answer = answered(asking, Question("rating", ItemId("i7")))
    assert answer == {
        "family": "rating",
        "item_id": "i7",
        "stars": 2.0 * ROWS[ItemId("i7")],
        "opinion": f"it is {ROWS[ItemId('i7')]}",
        "log_probability": -0.5,
        "template": "rating-1",
        "made_from": "model",
        "model_version": served.bundle.name,
        "as_of": "log:0:3",
        "degraded": [],
    }
    assert list(asked(served).person.items) == [ROWS[ItemId("i3")], ROWS[ItemId("i4")]]
    assert list(asked(served).person.stars or ()) == [4.0, 4.0]


def test_next_items_are_neither_seen_nor_hidden(
    asking: Asking, store: ProfileStore, served: Served, catalogue: Catalogue
) -> None:
    chose(store, *(f"i{n}" for n in range(8)))  # more than the history keeps
    shown = catalogue.get(ItemId("i12"))
    assert shown is not None
    catalogue.put([replace(shown, hidden=True, added=2.0)])
    items = answered(asking, Question("sequential", k=ITEMS))["items"]
    assert {item["item_id"] for item in items} == {f"i{n}" for n in range(8, ITEMS)} - {"i12"}
    assert items[0]["log_probability"] == -1.0
    assert items[0]["title"] == f"Item {items[0]['item_id'][1:]}"
    hidden = catalogue.get(ItemId("i9"))
    assert hidden is not None
    catalogue.put([replace(hidden, hidden=True, added=2.0)])  # the answer is kept, and the item is not shown
    answers = len(served.answerer.asked)
    again = answered(asking, Question("sequential", k=ITEMS))["items"]
    assert [item["item_id"] for item in again] == [item["item_id"] for item in items if item["item_id"] != "i9"]
    assert len(served.answerer.asked) == answers
    catalogue.put([replace(shown, added=3.0), replace(hidden, added=3.0)])


def test_explanations_reviews_and_choices_say_what_they_are_of(asking: Asking, served: Served) -> None:
    why = answered(asking, Question("explanation", ItemId("i7"), stars=2.0))
    assert (why["item_id"], why["text"]) == ("i7", f"it is {ROWS[ItemId('i7')]}")
    assert asked(served).stars == 2.0
    review = answered(asking, Question("review", text="a fine film"))
    assert set(review) >= {"headline", "stars"}
    assert asked(served).text == "a fine film"
    suits = answered(asking, Question("direct", ItemId("i7")))
    assert (suits["item_id"], suits["verdict"], suits["log_probability"]) == ("i7", f"it is {ROWS[ItemId('i7')]}", -0.5)
    picked = answered(asking, Question("direct", items=(ItemId("i1"), ItemId("i2"), ItemId("i3"))))
    greatest_first = sorted(("i1", "i2", "i3"), key=lambda item: -ROWS[ItemId(item)])
    assert [item["item_id"] for item in picked["items"]] == greatest_first
    assert picked["pick"] == greatest_first[0]


def test_somebody_nobody_has_heard_of_is_somebody_without_a_history(asking: Asking, served: Served) -> None:
    answer = answered(asking, Question("rating", ItemId("i7")), UserId("nobody"))
    assert answer["as_of"] is None
    assert answer["degraded"] == []
    assert list(asked(served).person.items) == []


def test_an_answer_is_kept_until_the_history_moves_on_or_something_else_is_asked(
    asking: Asking, store: ProfileStore, served: Served
) -> None:
    answers = served.answerer.asked
    chose(store, "i3")
    before = len(answers)
    for _ in range(3):
        assert answered(asking, Question("rating", ItemId("i7")))["as_of"] == "log:0:1"
    assert len(answers) == before + 1
    answered(asking, Question("rating", ItemId("i8")))
    answered(asking, Question("rating", ItemId("i7"), template="rating-2"))
    answered(asking, Question("rating", ItemId("i7")), UserId("bob"))
    assert len(answers) == before + 4
    chose(store, "i4", offset=10)
    assert answered(asking, Question("rating", ItemId("i7")))["as_of"] == "log:0:11"
    assert len(answers) == before + 5


def test_an_answer_that_is_at_hand_is_given_without_a_look_at_the_question(
    asking: Asking, store: ProfileStore, served: Served
) -> None:
    chose(store, "i3")
    first = answered(asking, Question("rating", ItemId("i7")))
    checks = len(served.answerer.checked)
    assert answered(asking, Question("rating", ItemId("i7"))) == first
    assert len(served.answerer.checked) == checks


@pytest.mark.parametrize(
    ("question", "field"),
    [
        (Question("rating", ItemId("nothing")), "item_id"),
        (Question("direct", items=(ItemId("i1"), ItemId("nothing"))), "items.1"),
        (Question("rating", ItemId("i1"), template="direct-1"), "template"),
    ],
)
def test_what_the_model_does_not_know_is_refused_by_its_name(asking: Asking, question: Question, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        asking.ask(ANN, question)
    assert refused.value.field == field


def test_without_a_p5_in_use_the_answer_is_how_to_get_one(
    store: ProfileStore, catalogue: Catalogue, tasks: Tasks
) -> None:
    counts = train_counts(EVENTS, FRAME, fingerprint="toy")
    for served in (None, Served(counts, Pipeline(counts, catalogue))):
        asking = Asking(store, catalogue, tasks, lambda served=served: Answering(served, NOW), lambda: None)
        with pytest.raises(ModelMissing, match="tasteprint train p5"):
            asking.ask(ANN, Question("rating", ItemId("i1")))


def test_without_the_store_questions_are_answered_without_a_history_and_say_so(
    tmp_path: Path, catalogue: Catalogue, tasks: Tasks, served: Served, degraded: list[None]
) -> None:
    with closing(ProfileStore(connect_for_serving(f"unix://{tmp_path}/nobody-listens.sock"))) as dead:
        asking = Asking(dead, catalogue, tasks, lambda: Answering(served, NOW), lambda: degraded.append(None))
        [problem] = answered(asking, Question("rating", ItemId("i7")))["degraded"]
    assert problem.startswith("answered without the user's history: the profile store")
    assert len(degraded) == 1
    assert len(tasks.results) == 0


def test_an_older_bundle_that_answers_for_a_refused_one_says_so(
    store: ProfileStore, catalogue: Catalogue, tasks: Tasks, served: Served
) -> None:
    answering = Answering(served, NOW, Refusal("p5-new", "damaged"))
    asking = Asking(store, catalogue, tasks, lambda: answering, lambda: None)
    answer = answered(asking, Question("rating", ItemId("i7")))
    assert answer["degraded"] == ["answered without the bundle p5-new, which is refused"]
