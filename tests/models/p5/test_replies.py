"""What a P5 replies, against transformers' own forward pass of the same weights."""

import numpy as np
import pytest
from toy_p5 import read
from toy_p5_asked import all_log_probabilities, log_probability, told, untrained

from models.p5.corpus import Corpus
from models.p5.exams import Exam, exams
from models.p5.questions import worded
from models.p5.replies import ANSWERS, K, Reply, log_probabilities, padded, replies
from models.p5.replies import read as in_batches
from models.p5.templates import Task, Template, templates_of
from models.p5.tokens import END
from models.p5.trained import P5

DATA, _ = read(*told(users=20))


@pytest.fixture(scope="module", params=["independent", "collaborative-independent"])
def asked(request: pytest.FixtureRequest) -> tuple[P5, Corpus]:
    return untrained(DATA, indexing=request.param)


def said(p5: P5, corpus: Corpus, task: Task) -> tuple[Template, list[Exam], list[Reply]]:
    template = templates_of(task)[1]
    of_task = exams(corpus, task)[:12]
    return template, of_task, replies(p5, corpus, of_task, template)


def test_answers_are_as_likely_as_one_by_one(asked: tuple[P5, Corpus]) -> None:
    p5 = asked[0]
    template, of_task, _ = said(*asked, Task.EXPLAIN)
    prompts = [worded(one.question, template) for one in of_task]
    answers = [[(5, 6, 7, END), (8,), (5, 9, END)], [(END,), (11, 12), (13, 14, 15, 16, END)]] * 6
    seen = set()
    for places, states_BTD, mask_BT in in_batches(p5, prompts):
        seen.update(places)
        given = padded([answers[place] for place in places], p5.decoder.device)
        found_BW = log_probabilities(p5.decoder, states_BTD, mask_BT, given)
        for place, found_W in zip(places, found_BW.tolist(), strict=True):
            expected = [log_probability(p5, prompts[place], answer) for answer in answers[place]]
            assert found_W == pytest.approx(expected, abs=1e-3)
    assert seen == set(range(len(prompts)))


@pytest.mark.parametrize("task", [Task.STARS, Task.REVIEW_STARS, Task.LIKES, Task.GIVES, Task.IS_NEXT, Task.SUITS])
def test_words_that_may_answer_share_the_probability(asked: tuple[P5, Corpus], task: Task) -> None:
    p5 = asked[0]
    template, of_task, found = said(*asked, task)
    for one, reply in zip(of_task, found, strict=True):
        prompt = worded(one.question, template)
        tokens = [p5.tokenizer.encode((word,))[0] for word in ANSWERS[task]]
        likely = np.exp([log_probability(p5, prompt, answer) for answer in tokens])
        shares = likely / likely.sum()
        value = sum(stars * share for stars, share in enumerate(shares, start=1)) if len(shares) == 5 else shares[0]
        assert reply.value == pytest.approx(value, abs=1e-3)
        assert reply.tokens == tuple(tokens[int(shares.argmax())])


def test_next_items_are_ranked_among_all_that_the_user_has_not_had(asked: tuple[P5, Corpus]) -> None:
    p5, corpus = asked
    template, of_task, found = said(*asked, Task.NEXT)
    for one, reply in zip(of_task, found, strict=True):
        prompt = worded(one.question, template)
        rows = [row for row in range(p5.n_items) if row not in corpus.had(one.user)]
        codes = {row: tuple(p5.tokenizer.encode((row,))[0][:-1]) for row in rows}
        likely = {row: log_probability(p5, prompt, codes[row]) for row in rows}
        order = sorted(rows, key=likely.__getitem__, reverse=True)
        rank = order.index(one.item) + 1 if one.item in order[:K] else K + 1
        assert (reply.value, reply.tokens) == (rank, codes[order[0]])


def test_picks_are_ranked_among_their_candidates(asked: tuple[P5, Corpus]) -> None:
    p5 = asked[0]
    for task in (Task.PICK_NEXT, Task.PICK):
        template, of_task, found = said(*asked, task)
        for one, reply in zip(of_task, found, strict=True):
            prompt = worded(one.question, template)
            codes = {row: p5.tokenizer.encode((row,))[0][:-1] for row in one.question.values["candidates"]}
            order = sorted(codes, key=lambda row: log_probability(p5, prompt, codes[row]), reverse=True)
            assert (reply.value, reply.tokens) == (order.index(one.item) + 1, tuple(codes[order[0]]))


def test_texts_are_the_likeliest_token_by_token(asked: tuple[P5, Corpus]) -> None:
    p5 = asked[0]
    template, of_task, found = said(*asked, Task.HEADLINE)
    allowed = [*p5.text_tokens, END]
    for one, reply in zip(of_task, found, strict=True):
        steps = all_log_probabilities(p5, worded(one.question, template), reply.tokens)
        for step, token in zip(steps, reply.tokens, strict=True):
            assert float(step[token]) == pytest.approx(float(step[allowed].max()), abs=1e-3)
        assert reply.text == p5.tokenizer.decode(reply.tokens)
