"""What is asked, slot by slot, of a user whose history one sees by eye."""

from collections.abc import Callable

import numpy as np
import pytest

from features.errors import InvalidInput
from models.p5.past import Past, Person
from models.p5.questions import RATED, Asker, ItemStars, Question, worded
from models.p5.templates import TEMPLATES, Task, Template, templates_of

NONE = float("nan")
TITLES = ["Kolya (1996)", "Babe", "Heat", "", "Big Night"]
CATEGORIES = [["Film Noir", "War"], ["Comedy"], ["War"], [], ["Comedy", "Drama"]]
OTHERS = ItemStars.of(np.array([0, 0, 1, 2, 2]), np.array([5, 4, 3, NONE, 2], np.float32), 5)
ASKER = Asker(TITLES, CATEGORIES, OTHERS, history=3)
ANN = Person([0, 1, 2, 4], [5, 2, NONE, 4])
NOBODY = Person([])

ASKS: dict[Task, Callable[[Past, int], Question]] = {
    Task.STARS: ASKER.stars,
    Task.GIVES: lambda past, item: ASKER.gives(past, item, 4),
    Task.LIKES: ASKER.likes,
    Task.NEXT: lambda past, _: ASKER.next(past),
    Task.PICK_NEXT: lambda past, item: ASKER.pick_next(past, [item]),
    Task.IS_NEXT: ASKER.is_next,
    Task.EXPLAIN: ASKER.explain,
    Task.EXPLAIN_RATED: lambda past, item: ASKER.explain_rated(past, item, 4),
    Task.EXPLAIN_BY: lambda past, item: ASKER.explain_by(past, item, "Film Noir"),
    Task.HEADLINE: lambda past, item: ASKER.headline("It is fine."),
    Task.REVIEW_STARS: lambda past, item: ASKER.review_stars("It is fine."),
    Task.SUITS: ASKER.suits,
    Task.PICK: lambda past, item: ASKER.pick(past, [item]),
}
OF_ITEM = [task for task in ASKS if task not in (Task.NEXT, Task.HEADLINE, Task.REVIEW_STARS)]
OF_USER = [task for task in ASKS if task not in (Task.HEADLINE, Task.REVIEW_STARS)]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda one: one.id)
@pytest.mark.parametrize("past", [ANN, NOBODY], ids=["ann", "nobody"])
def test_every_slot_of_a_template_is_filled_by_its_tasks_question(template: Template, past: Person) -> None:
    question = ASKS[template.task](past, 3)
    assert (question.task, question.family) == (template.task, template.family)
    prompt = worded(question, template)
    assert all(isinstance(word, int) or (word and "{" not in word and " " not in word) for word in prompt)
    assert all(question.values[slot] for slot in template.slots)


def test_a_prompt_is_its_words_with_the_slots_filled() -> None:
    template = Template("x-1", Task.IS_NEXT, "After {history} comes {item} named {title} or not?")
    assert worded(ASKER.is_next(ANN, 0), template) == (
        *("After", 1, 2, 4, "comes", 0, "named", "Kolya", "(1996)", "or", "not?"),
    )


def test_a_history_is_its_newest_items() -> None:
    assert ASKER.next(ANN).values == {"history": (1, 2, 4)}


def test_a_rating_is_asked_for_by_the_users_stars_and_those_of_others() -> None:
    assert ASKER.stars(ANN, 0).values == {
        "rated": (0, "5", 1, "2", 4, "4"),
        "mean": ("3.7",),
        "others": ("4.5",),
        "item": (0,),
        "title": ("Kolya", "(1996)"),
        "categories": ("Film", "Noir,", "War"),
    }
    assert ASKER.stars(ANN, 0, (5.0, 1)).values["others"] == ("4.0",)
    assert ASKER.stars(ANN, 0, (9.0, 2)).values["others"] == ("unknown",)
    assert ASKER.stars(ANN, 3).values["others"] == ("unknown",)
    assert ASKER.gives(ANN, 0, 3.5).values["stars"] == ("4",)


def test_only_the_newest_ratings_are_told() -> None:
    person = Person([4] * 20, [1] * 19 + [5])
    assert ASKER.stars(person, 0).values["rated"] == (4, "1") * (RATED - 1) + (4, "5")
    assert ASKER.stars(person, 0).values["mean"] == ("1.2",)


def test_a_taste_is_what_was_not_rated_low_and_the_categories_met_most() -> None:
    assert ASKER.suits(ANN, 1).values == {
        "history": (1, 2, 4),
        "liked": (0, 2, 4),
        "likes": ("War,", "Film", "Noir,", "Comedy"),
        "item": (1,),
        "title": ("Babe",),
        "categories": ("Comedy",),
    }
    assert ASKER.pick(ANN, [3, 1]).values["candidates"] == (3, 1)


def test_categories_that_most_items_have_tell_nothing() -> None:
    asker = Asker(TITLES[:4], [["All", "War"], ["All"], ["All", "War"], []], OTHERS)
    assert asker.is_next(Person([0]), 2).values["categories"] == ("War",)
    assert asker.is_next(Person([0]), 1).values["categories"] == ("unknown",)
    assert asker.reasons(Person([0, 1]), 1) == []


def test_a_choice_is_explained_by_what_was_liked_and_shares_a_category() -> None:
    reasons = ASKER.reasons(ANN, 0)
    assert reasons == [(2, 0)]
    assert ASKER.features(0, reasons) == ["War"]
    assert " ".join(ASKER.explanation(0, reasons)) == "You had Heat before and this is War too."
    assert " ".join(ASKER.explanation(2, ASKER.reasons(ANN, 2), "War")) == (
        "You rated Kolya (1996) high and this is War too."
    )
    assert ASKER.explanation(0, reasons, "Drama") == ()
    assert ASKER.explanation(0, []) == ()


def test_stars_are_explained_by_what_was_rated_alike() -> None:
    low = ASKER.reasons(ANN, 4, 1)
    assert " ".join(ASKER.explanation(4, low)) == "You rated Babe low and this is Comedy too."
    assert ASKER.reasons(ANN, 4, 3) == []
    assert ASKER.reasons(ANN, 1, 5) == [(4, 4)]


def test_what_has_no_title_is_no_reason() -> None:
    for title, reasons in (("Heat", [(0, 0)]), ("", [])):
        asker = Asker([title, "Babe", "A", "B"], [["War"], ["War"], [], []], OTHERS)
        assert asker.reasons(Person([0]), 1) == reasons


@pytest.mark.parametrize("task", OF_USER)
def test_an_empty_history_is_said_in_words(task: Task) -> None:
    values = ASKS[task](NOBODY, 0).values
    for slot in ("history", "rated", "liked"):
        assert values.get(slot, ("nothing",)) == ("nothing",)
    for slot in ("mean", "likes"):
        assert values.get(slot, ("unknown",)) == ("unknown",)


@pytest.mark.parametrize("row", [-1, 5, 10**9])
@pytest.mark.parametrize("task", OF_ITEM)
def test_an_item_that_is_no_row_is_refused(task: Task, row: int) -> None:
    with pytest.raises(InvalidInput, match=f"item: {row} is no row of the 5 items"):
        ASKS[task](ANN, row)


@pytest.mark.parametrize("row", [-1, 5])
@pytest.mark.parametrize("task", OF_USER)
def test_an_item_of_the_history_that_is_no_row_is_refused(task: Task, row: int) -> None:
    with pytest.raises(InvalidInput, match=f"item: {row} is no row"):
        ASKS[task](Person([0, row], [5, 5]), 0)
    with pytest.raises(InvalidInput):
        ASKER.reasons(Person([0, row], [5, 5]), 0)


def test_an_empty_review_or_feature_is_said_in_words() -> None:
    assert ASKER.headline("").values == {"review": ("nothing",)}
    assert ASKER.review_stars(" ").values == {"review": ("nothing",)}
    assert ASKER.explain_by(ANN, 0, "").values["feature"] == ("unknown",)


def test_a_template_of_another_task_is_refused() -> None:
    template = templates_of(Task.STARS)[0]
    with pytest.raises(InvalidInput, match=f"{template.id} has the slot 'rated', which a question of next"):
        worded(ASKER.next(ANN), template)
