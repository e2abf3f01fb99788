"""Prompts for a user of the store: what is found, what is said of the user, and what has to be done without."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from features.errors import InvalidInput, ModelMissing, WeightsRefused
from features.events import Event, EventId, ItemId, UserId, user_digest
from features.items import Item
from features.profile import Position
from features.profiles import ProfileStore, UserBatch, connect_for_ingest, connect_for_serving
from models.catalogue import Catalogue
from models.language.counting import most_tokens
from models.summaries.fencing import parsed
from models.summaries.kinds import SummaryKind
from models.summaries.prompting import Layout, Task
from services.prompting import By, Embed, Prompted, Prompting, Retrievers, Wanted
from services.summaries import Summaries

NOW = 1_800_000_000.0
ANN = UserId("ann")
SHELF = {
    "1": ("Fargo (1996)", ("Crime", "Drama")),
    "2": ("Heat (1995)", ("Crime",)),
    "3": ("Clueless (1995)", ("Comedy",)),
    "4": ("Emma (1996)", ("Comedy", "Romance")),
}
QUESTION = Wanted(Task.QUESTION, "A crime film, or a comedy?", budget=4000)


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(Item(ItemId(item), title, "", names, added=1.0) for item, (title, names) in SHELF.items())


@pytest.fixture
def full_store(redis_url: str) -> Iterator[ProfileStore]:
    with closing(ProfileStore(connect_for_ingest(redis_url), tenant="prompting", limit=50)) as store:
        events = [
            Event(EventId(f"e{place}"), ANN, ItemId(item), "rating", value, NOW - 100 + place)
            for place, (item, value) in enumerate([("1", 5.0), ("2", 4.0), ("3", 1.0), ("1", 4.0), ("4", 2.0)])
        ]
        store.apply([UserBatch(user_digest(ANN), Position("log", 0, 5), events)])
        yield store


def making(store: ProfileStore, catalogue: Catalogue, embed: Embed | None = None) -> Prompting:
    summaries = Summaries(store, catalogue.get, lambda: NOW)
    return Prompting(summaries, catalogue, Retrievers(lambda: embed), most_tokens)


def letters(texts: Sequence[str]) -> NDArray[np.float32]:
    counts_ND = np.array([[text.count(letter) + 0.01 for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts])
    return (counts_ND / np.linalg.norm(counts_ND, axis=1, keepdims=True)).astype(np.float32)


def past(made: Prompted) -> tuple[str, ...]:
    return next((part.evidence for part in made.prompt.parts if part.name == "history"), ())


def test_the_events_that_bear_on_the_input_are_found_one_an_item(
    full_store: ProfileStore, catalogue: Catalogue
) -> None:
    making_prompts = making(full_store, catalogue)
    assert past(making_prompts.prompt(ANN, QUESTION)) == ("e2", "e4", "e1", "e3")
    two = Wanted(Task.QUESTION, "comedy", k=2, budget=4000)
    assert past(making_prompts.prompt(ANN, two)) == ("e2", "e4")
    newest = Wanted(Task.QUESTION, "crime", k=3, budget=4000, by=By.RECENCY)
    assert past(making_prompts.prompt(ANN, newest)) == ("e4", "e3", "e2")
    assert past(making_prompts.prompt(ANN, Wanted(Task.QUESTION, "crime", k=0, budget=4000))) == ()


def test_the_dense_retriever_needs_its_weights_and_the_hybrid_says_that_it_does_without(
    full_store: ProfileStore, catalogue: Catalogue
) -> None:
    dense, hybrid = (Wanted(Task.QUESTION, "heat", k=1, budget=4000, by=by) for by in (By.DENSE, By.HYBRID))
    with pytest.raises(ModelMissing, match="tasteprint weights pull all-MiniLM-L6-v2"):
        making(full_store, catalogue).prompt(ANN, dense)
    made = making(full_store, catalogue).prompt(ANN, hybrid)
    assert len(past(made)) == 1
    assert made.problems[0].startswith("found by words and age alone")
    with_weights = making(full_store, catalogue, letters)
    assert past(with_weights.prompt(ANN, dense)) == ("e1",)
    assert with_weights.prompt(ANN, hybrid).problems == ()


def test_weights_that_come_later_are_used_and_damaged_ones_read_once() -> None:
    opened: list[Embed | Exception | None] = [None, letters]
    tried: list[object] = []

    def open_next() -> Embed | None:
        tried.append(opened[0])
        one = opened.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    retrievers = Retrievers(open_next)
    with pytest.raises(ModelMissing):
        retrievers.get(By.DENSE)
    for _ in range(2):
        assert retrievers.get(By.DENSE)[1] == ()
    assert len(tried) == 2
    opened.append(WeightsRefused("model.safetensors is damaged"))
    damaged = Retrievers(open_next)
    for _ in range(2):
        with pytest.raises(ModelMissing, match="is damaged"):
            damaged.get(By.DENSE)
    assert len(tried) == 3


def test_what_is_said_of_the_user_is_of_the_tasks_kind_or_the_one_that_is_asked_for(
    full_store: ProfileStore, catalogue: Catalogue
) -> None:
    making_prompts = making(full_store, catalogue)
    made = making_prompts.prompt(ANN, Wanted(Task.RANKING, items=(ItemId("1"), ItemId("2")), budget=4000))
    assert made.kind is SummaryKind.RANKING
    assert made.told.summary is not None
    texts = [claim.text for claim in made.told.summary.claims]
    assert parsed(made.prompt.messages[1].content)[0] == texts != []
    other = making_prompts.prompt(ANN, Wanted(Task.QUESTION, "why", kind=SummaryKind.RANKING, budget=4000))
    assert parsed(other.prompt.messages[1].content)[0] == texts
    said = other.said()
    assert said["summary"] == {
        "kind": "ranking",
        "model": "template",
        "prompt": "",
        "made_at": NOW,
        "as_of": "log:0:5",
        "is_current": True,
        "stale": None,
    }
    assert said["as_of"] == "log:0:5"
    assert set(said["evidence"]) >= set(past(other))
    without = making_prompts.prompt(ANN, Wanted(Task.RANKING, choices=("a", "b"), has_summary=False, budget=4000))
    assert "summary" not in [part.name for part in without.prompt.parts]
    assert without.said()["summary"] is None


def test_the_same_is_asked_and_the_same_is_made(full_store: ProfileStore, catalogue: Catalogue) -> None:
    for layout in Layout:
        wanted = Wanted(Task.RATING, items=(ItemId("4"),), budget=900, layout=layout, by=By.HYBRID)
        made = making(full_store, catalogue).prompt(ANN, wanted)
        assert made.prompt == making(full_store, catalogue).prompt(ANN, wanted).prompt
        assert made.prompt.tokens <= 900


def test_somebody_nobody_has_heard_of_has_neither_a_past_nor_a_summary(
    full_store: ProfileStore, catalogue: Catalogue
) -> None:
    made = making(full_store, catalogue).prompt(UserId("nobody"), QUESTION)
    assert [part.name for part in made.prompt.parts] == ["system", "input", "task", "template"]
    assert made.said()["summary"] is made.said()["as_of"] is None
    assert made.problems == ()


def test_without_the_store_a_prompt_is_made_of_the_input_and_says_so(tmp_path: Path, catalogue: Catalogue) -> None:
    with closing(ProfileStore(connect_for_serving(f"unix://{tmp_path}/nobody-listens.sock"))) as dead:
        degraded: list[None] = []
        summaries = Summaries(dead, catalogue.get, lambda: NOW)
        prompting = Prompting(
            summaries, catalogue, Retrievers(lambda: None), most_tokens, lambda: degraded.append(None)
        )
        made = prompting.prompt(ANN, QUESTION)
    assert [part.name for part in made.prompt.parts] == ["system", "input", "task", "template"]
    assert made.problems[0].startswith("made without the user's history and summary: the profile store")
    assert degraded == [None]


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (Wanted(Task.QUESTION), "input"),
        (Wanted(Task.QUESTION, "\u200b \u202e"), "input"),
        (Wanted(Task.QUESTION, "why", choices=("a", "b")), "choices"),
        (Wanted(Task.QUESTION, "why", items=(ItemId("1"),)), "items"),
        (Wanted(Task.RATING, items=(ItemId("1"), ItemId("2"))), "items"),
        (Wanted(Task.RATING, "this", items=(ItemId("1"),)), "items"),
        (Wanted(Task.RATING, items=(ItemId("9"),)), "items.0"),
        (Wanted(Task.RANKING, choices=("a",)), "choices"),
        (Wanted(Task.RANKING, choices=("a", "\u200b\u2060")), "choices.1"),
        (Wanted(Task.TAGGING, choices=("a", "b")), "input"),
        (Wanted(Task.QUESTION, "why", budget=10), "budget"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_name(
    full_store: ProfileStore, catalogue: Catalogue, wanted: Wanted, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        making(full_store, catalogue).prompt(ANN, wanted)
    assert refused.value.field == field
