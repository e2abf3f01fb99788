"""The index against plain loops over templates and exams, one answer at a time."""

import numpy as np
import pytest
from toy_p5 import read
from toy_p5_asked import log_probability, told, untrained

from models.p5.exams import exams
from models.p5.questions import worded
from models.p5.replies import replies
from models.p5.sensitivity import changes, over_pairs
from models.p5.templates import Task, templates_of

DATA, _ = read(*told(users=12))


@pytest.mark.parametrize("task", [Task.LIKES, Task.PICK, Task.HEADLINE])
def test_it_is_the_mean_change_of_what_was_answered(task: Task) -> None:
    p5, corpus = untrained(DATA, indexing="collaborative-independent")
    of_task = exams(corpus, task)[:5]
    templates = [*templates_of(task), *templates_of(task, held_out=True)]
    said = {template: replies(p5, corpus, of_task, template) for template in templates}
    sums: dict[str, list[float]] = {"seen": [], "held_out": []}
    for i in templates:
        for j in templates:
            if i is j:
                continue
            own = []
            for number, one in enumerate(of_task):
                answer = said[i][number].tokens
                at_i, at_j = (log_probability(p5, worded(one.question, each), answer) for each in (i, j))
                own.append(abs(at_i - at_j) / len(answer))
            sums["held_out" if i.held_out or j.held_out else "seen"].append(float(np.mean(own)))
    found = over_pairs(changes(p5, of_task, said), templates)
    assert found == {kind: pytest.approx(np.mean(values), abs=1e-3) for kind, values in sums.items()}
    assert found["seen"]


def test_the_same_wording_twice_changes_nothing() -> None:
    p5, corpus = untrained(DATA)
    of_task = exams(corpus, Task.SUITS)
    [template] = templates_of(Task.SUITS, held_out=True)
    again = type(template)("again", template.task, template.prompt)
    said = {one: replies(p5, corpus, of_task, one) for one in (template, again)}
    assert np.abs(changes(p5, of_task, said)).max() < 1e-5


def test_without_pairs_there_is_nothing_to_say() -> None:
    one, *_ = templates_of(Task.NEXT)
    assert over_pairs(np.zeros((1, 1)), [one]) == {"seen": None, "held_out": None}
