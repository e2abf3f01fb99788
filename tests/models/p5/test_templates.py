"""The wordings: enough of each family, and none held out whose words the others lack."""

import re
from collections import Counter

import pytest

from models.p5.templates import TEMPLATES, Family, Task, Template, family_of, tasks_of, templates_of


def words(template: Template) -> set[str]:
    return set(re.findall(r"[\w']+", re.sub(r"\{\w+\}", " ", template.prompt)))


def test_every_family_has_at_least_six_wordings_one_of_them_held_out() -> None:
    for family in Family:
        own = [one for one in TEMPLATES if one.family is family]
        assert len(own) >= 6
        assert any(one.held_out for one in own)


@pytest.mark.parametrize("task", Task)
def test_every_task_has_several_wordings_to_train_on_and_one_held_out(task: Task) -> None:
    assert len(templates_of(task)) >= (3 if task in (Task.NEXT, Task.STARS) else 2)
    assert len(templates_of(task, held_out=True)) >= 1


def test_the_words_of_held_out_wordings_are_trained() -> None:
    trained = set().union(*(words(one) for one in TEMPLATES if not one.held_out))
    for one in TEMPLATES:
        assert words(one) <= trained, one.id


def test_ids_and_wordings_are_there_once() -> None:
    assert max(Counter(one.id for one in TEMPLATES).values()) == 1
    assert max(Counter(one.prompt for one in TEMPLATES).values()) == 1
    assert all(one.id.rpartition("-")[0] == one.family for one in TEMPLATES)


def test_a_prompt_is_cut_at_its_slots() -> None:
    template = Template("x-1", Task.NEXT, "A user had {history} so what? {item} {stars}")
    assert template.parts == (("A", "user", "had"), "history", ("so", "what?"), "item", "stars")
    assert template.slots == {"history", "item", "stars"}


def test_slots_stand_alone() -> None:
    for one in TEMPLATES:
        assert re.findall(r"\S*\{\w+\}\S*", one.prompt) == re.findall(r"\{\w+\}", one.prompt), one.id
        assert one.answers not in one.slots


def test_tasks_and_families_fit() -> None:
    for family in Family:
        assert all(family_of(task) is family for task in tasks_of(family))
    assert sum(len(tasks_of(family)) for family in Family) == len(Task)
