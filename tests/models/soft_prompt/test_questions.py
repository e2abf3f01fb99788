"""A question as a language model reads it."""

import pytest

from models.soft_prompt.questions import Question, Style, rendered
from models.soft_prompt.tasks import Dimension, Task

QUESTION = Question(Task.LONG_TERM, 0, 9, "Which does the user like?", ("War", "Crime", "Drama"), 1, (2, 1, 0))


def test_words_are_scored_as_what_follows_the_prompt() -> None:
    prompt, answers = rendered(QUESTION, "words")
    assert prompt == "Which does the user like?\n- War\n- Crime\n- Drama"
    assert answers == (" War", " Crime", " Drama")


def test_letters_stand_before_the_choices() -> None:
    prompt, answers = rendered(QUESTION, Style.LETTERS)
    assert prompt == "Which does the user like?\nA. War\nB. Crime\nC. Drama"
    assert answers == (" A", " B", " C")


def test_of_an_open_question_the_choices_are_not_told() -> None:
    prompt, answers = rendered(QUESTION, "open")
    assert prompt == "Which does the user like?"
    assert answers == (" War", " Crime", " Drama")


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ValueError, match="numbers"):
        rendered(QUESTION, "numbers")


def test_a_question_knows_its_dimension_the_popular_guess_and_the_rank_of_its_truth() -> None:
    assert QUESTION.dimension is Dimension.INTEREST
    assert QUESTION.guess == 2
    assert QUESTION.popularity_rank == 1
