from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_llama import toy_llama
from toy_streams import WORDS, streams, toy_adapter

from features.errors import InvalidInput
from models.soft_prompt.tasks import Task
from models.stream_adapter.lessons import SLACK, Lessons

DATA = streams()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_llama(tmp_path_factory.mktemp("llm") / "toy", words=WORDS)


def lessons(folder: Path, **more: object) -> Lessons:
    return Lessons(toy_adapter(folder, **more), DATA, 0)


def tokens_before(found: Lessons, place: int) -> list[int]:
    question = found.questions[place]
    return found.streams.tokens(question.user)[: found.streams.length(question.user, question.cut)].tolist()


def test_a_context_is_the_newest_full_chunks_before_the_question(folder: Path) -> None:
    found = lessons(folder)
    question = max(found.questions, key=lambda one: found.span(one, 0)[2])
    tokens = tokens_before(found, found.questions.index(question))
    full = len(tokens) // 8
    assert found.span(question, 2) == (question.user, full - 2, full)
    assert found.span(question, 0) == (question.user, 0, full)
    assert found.told((question.user, full - 2, full)) == tokens[8 * (full - 2) : 8 * full]


def test_contexts_that_begin_before_a_users_newest_chunks_are_left_out(folder: Path) -> None:
    both = replace(DATA, questions=[one for own in DATA.questions for one in (replace(own, cut=2), own)])
    found = Lessons(toy_adapter(folder, lengths="1", newest=1), both, 0)
    ends = {question.user: found.span(question, 1)[2] for question in DATA.questions}  # the later of each user's two
    left = [one for one in both.questions if found.span(one, 1)[2] == ends[one.user]]
    assert len(DATA.questions) <= len(left) < len(both.questions)
    assert found.questions == left
    assert {end - first for first, end in found._spans.values()} == {1}


@pytest.mark.parametrize("sees_previous", [False, True])
def test_memories_of_whole_streams_are_those_of_streaming(folder: Path, sees_previous: bool) -> None:
    found = lessons(folder, sees_previous=sees_previous, lengths="0")
    adapter = found.adapter
    memory = found.memory([found.span(question, 0) for question in found.questions[:9]])
    states = adapter.advance([adapter.fresh()] * 9, [tokens_before(found, place) for place in range(9)])
    np.testing.assert_allclose(memory, np.stack([one.memory_LQD for one in states]), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("batch", "lots"), [(7, 1), (64, 2)])
def test_every_question_is_asked_before_one_is_asked_again(folder: Path, batch: int, lots: int) -> None:
    found = lessons(folder, batch=batch, every=5, steps=17)
    rounds = [list(found.steps(number)) for number in range(4)]
    assert [len(one) for one in rounds] == [5, 5, 5, 2]
    assert all([len(lot) for lot in step] == [batch // lots] * lots for one in rounds for step in one)
    asked = [question.user for one in rounds for step in one for lot in step for question, _ in lot]
    counts = np.bincount(asked)
    assert counts.sum() == 17 * batch
    assert max(counts) - min(counts[counts > 0]) == 1


def test_tasks_take_as_much_of_the_time_and_not_as_many_questions(folder: Path) -> None:
    long = tuple(" war" * 8 + f" {name}" for name in ("love", "jazz", "space", "is"))
    titles = [replace(one, task=Task.NEXT_ITEM, choices=long[: len(one.choices)]) for one in DATA.questions]
    both = replace(DATA, questions=[*DATA.questions, *titles])
    found = Lessons(toy_adapter(folder, batch=10, every=40, steps=40), both, 0)
    taken: Counter[Task] = Counter()
    for [lot] in found.steps(0):
        for question, asked in lot:
            taken[question.task] += 1 + found.adapter.reads(asked)
    assert taken[Task.NEXT_ITEM] == pytest.approx(taken[Task.LONG_TERM], rel=0.1)


def test_users_come_as_many_at_a_time_as_there_is_room_for(folder: Path) -> None:
    chunk = 2 * 2 * 8 * 16 * 2  # bytes: two layers, keys and values, eight tokens
    found = lessons(folder, cache=12 * chunk / 1e9, batch=1, every=len(lessons(folder).questions), lengths="4")
    order = found._order(0)
    users = [found.questions[place].user for place in order]
    sizes = {user: end - first for user, (first, end) in found._spans.items()}
    assert sorted(order) == list(range(len(found.questions)))
    block: set[int] = set()
    blocks = 1
    for user in users:
        if sum(map(sizes.__getitem__, block | {user})) > 12:
            block, blocks = set(), blocks + 1
        block.add(user)
    assert blocks <= np.ceil(sum(sizes.values()) / (12 - max(sizes.values())))


def test_what_follows_begins_with_the_first_event_no_chunk_has_a_part_of(folder: Path) -> None:
    found = lessons(folder)
    question = found.questions[0]
    prompt, [tokens] = found.following(question)
    assert found.adapter.language.tokens.text(prompt) == "The user's next items:\nAnswer:"
    said, whole = (found.adapter.language.tokens.text(one) for one in (tokens, found.streams.tokens(question.user)))
    assert said.startswith("The i")
    assert said in whole
    assert len(tokens) <= 8


def test_the_bound_is_of_training_users(folder: Path) -> None:
    found = lessons(folder)
    assert found.adapter.absorption.bound_LK.isinf().all()
    said = found.bound()
    cores = found.cores([found.span(question, 4) for question in found.questions])
    assert found.adapter.checked(cores).all()
    assert said["largest"] == pytest.approx(cores.norms().max(), rel=1e-3)
    cores.cores_NLKQR[3] *= 1.5 * SLACK
    assert found.adapter.checked(cores).tolist().count(False) <= 1


def test_measured_values_are_of_one_size(folder: Path) -> None:
    found = lessons(folder)
    found.measure()
    read = found.adapter.mapping.read(torch.cat([found._learnt.chunks(*span) for span in some_spans(found)]))
    assert 0.05 < read.std() < 2


def some_spans(found: Lessons) -> list[tuple[int, int, int]]:
    return [found.span(question, 2) for question in found.questions]


def test_questions_with_too_little_before_them_are_left_out(folder: Path) -> None:
    some = replace(DATA, questions=[replace(DATA.questions[0], cut=0), *DATA.questions[1:]])
    assert len(Lessons(toy_adapter(folder), some, 0).questions) == len(DATA.questions) - 1
    for name in ("questions", "validation"):
        with pytest.raises(InvalidInput, match="smaller chunk"):
            Lessons(toy_adapter(folder), replace(DATA, **{name: []}), 0)
    with pytest.raises(InvalidInput, match="0 to learn from"):
        Lessons(toy_adapter(folder, chunk=200), DATA, 0)
