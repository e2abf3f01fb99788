"""Which questions are asked in a training, and in which company."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_favourites import favourites, quick
from toy_llama import toy_llama
from toy_sequences import CPU

from models.soft_prompt.course import RIVALS, Course, contrasted
from models.soft_prompt.language import Language
from models.soft_prompt.tasks import Task
from models.soft_prompt.trained import Aligned

DATA = favourites()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_llama(tmp_path_factory.mktemp("llm") / "toy")


@pytest.mark.parametrize(("batch", "lots"), [(7, 1), (64, 2)])
def test_every_question_is_asked_before_one_is_asked_again(folder: Path, batch: int, lots: int) -> None:
    aligned = Aligned(quick(batch=batch, every=5, steps=17), DATA.encoder, Language(folder, CPU))
    course = Course.of(aligned, DATA.questions, 0)
    rounds = [list(course.steps(number)) for number in range(4)]
    assert [len(one) for one in rounds] == [5, 5, 5, 2]
    assert all([len(lot) for lot in step] == [batch // lots] * lots for one in rounds for step in one)
    asked = [question.user for one in rounds for step in one for lot in step for question, _ in lot]
    counts = np.bincount(asked, minlength=len(DATA.questions))
    assert counts.sum() == 17 * batch
    assert counts.max() - counts.min() == 1
    again = [question.user for step in course.steps(1) for lot in step for question, _ in lot]
    assert again == asked[5 * batch : 10 * batch]


def test_tasks_take_as_much_of_the_time_and_not_as_many_questions(folder: Path) -> None:
    long = tuple(" war" * 8 + f" {name}" for name in ("love", "jazz", "space", "is"))
    titles = [replace(one, task=Task.NEXT_ITEM, choices=long[: len(one.choices)]) for one in DATA.questions]
    aligned = Aligned(quick(batch=10, every=40, steps=40), DATA.encoder, Language(folder, CPU))
    course = Course.of(aligned, [*DATA.questions, *titles], 0)
    taken: Counter[Task] = Counter()
    asked: Counter[Task] = Counter()
    for [lot] in course.steps(0):
        for question, (_, answers) in lot:
            asked[question.task] += 1
            taken[question.task] += 1 + aligned.config.tokens + sum(len(answer) - 1 for answer in answers)
    (usual, usual_took), (titled, titled_took) = sorted(taken.items(), key=lambda one: asked[one[0]], reverse=True)
    assert titled is Task.NEXT_ITEM
    assert asked[usual] > 2 * asked[titled]
    assert titled_took == pytest.approx(usual_took, rel=0.1)


def test_of_long_choices_few_are_contrasted_and_the_true_one_always() -> None:
    rng = np.random.default_rng(0)
    question = replace(DATA.questions[0], choices=("a", "b", "c", "d"), truth=2, ranks=(3, 1, 0, 2))
    short = [[place] for place in range(4)]
    assert contrasted(question, ([9], short), rng) == (question, ([9], short))
    others = set()
    for _ in range(20):
        fewer, (words, answers) = contrasted(question, ([9], [[place] * RIVALS for place in range(4)]), rng)
        assert words == [9]
        assert len(answers) == len(fewer.choices) == 2
        assert fewer.choices[fewer.truth] == "c"
        assert [question.choices[answer[0]] for answer in answers] == list(fewer.choices)
        assert [question.ranks[answer[0]] for answer in answers] == list(fewer.ranks)
        others |= {answer[0] for answer in answers}
    assert others == {0, 1, 2, 3}
