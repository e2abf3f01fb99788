"""Answers to questions, against the probabilities that transformers' own T5 gives to every word that may answer."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_p5_bundle import ITEMS, toy_p5

from features.errors import InvalidInput
from models.p5.answering import Answerer
from models.p5.asks import FACTS, FROM_FACTS, FROM_MODEL, UNTRAINED, Answer, Ask
from models.p5.past import Past, Person
from models.p5.questions import Question, worded
from models.p5.templates import TEMPLATES, Family, Task, Template
from models.p5.trained import P5

ME = Person([3, 4, 5], [4.0, 5.0, 2.0])
NOBODY = Person([])


@pytest.fixture(scope="module")
def p5() -> P5:
    return toy_p5()


@pytest.fixture(scope="module")
def answerer(p5: P5) -> Answerer:
    return p5.answerer


def by_id(name: str) -> Template:
    return next(template for template in TEMPLATES if template.id == name)


def log_probability(p5: P5, question: Question, template: Template, answer: Sequence[str | int]) -> float:
    """Of the answer, token by token, by transformers."""
    tokens_BT, places_BT = (torch.from_numpy(one) for one in p5.tokenizer.prompts([worded(question, template)], 384))
    answer_BA = torch.from_numpy(p5.tokenizer.answers([answer]))
    with torch.inference_mode():
        vectors = p5.model.t5.shared(tokens_BT) + p5.model.whole(places_BT)
        mask = (tokens_BT != 0).long()
        logits = p5.model.t5(inputs_embeds=vectors, attention_mask=mask, labels=answer_BA).logits
    logs = logits.float().log_softmax(-1).gather(2, answer_BA[..., None])
    return float(logs.sum())


def one(answerer: Answerer, ask: Ask) -> Answer:
    [answer] = answerer.answer([ask])
    return answer


@pytest.mark.parametrize("name", [None, "rating-2"])
def test_stars_are_the_mean_of_five_each_as_probable_as_the_model_says(
    p5: P5, answerer: Answerer, name: str | None
) -> None:
    answer = one(answerer, Ask(Family.RATING, ME, 7, template=name))
    question = p5.asker.stars(ME, 7)
    template = by_id(name or "rating-1")
    logs = np.array([log_probability(p5, question, template, [str(stars)]) for stars in range(1, 6)])
    chances = np.exp(logs) / np.exp(logs).sum()
    assert answer.stars == pytest.approx(float(chances @ np.arange(1, 6)), abs=0.02)
    assert (answer.task, answer.template) == (Task.STARS, template.id)


@pytest.mark.parametrize(("family", "words"), [(Family.RATING, ["like", "dislike"]), (Family.DIRECT, ["yes", "no"])])
def test_a_verdict_is_the_likelier_of_two_words(p5: P5, answerer: Answerer, family: Family, words: list[str]) -> None:
    answer = one(answerer, Ask(family, ME, 7))
    rates = family is Family.RATING
    question = p5.asker.likes(ME, 7) if rates else p5.asker.suits(ME, 7)
    template = next(one for one in TEMPLATES if one.task is (Task.LIKES if rates else Task.SUITS))
    logs = np.array([log_probability(p5, question, template, [word]) for word in words])
    assert answer.text == words[int(logs.argmax())]
    assert answer.log_probability == pytest.approx(float(logs.max() - np.logaddexp(*logs)), abs=0.02)


def test_candidates_are_ordered_by_the_probabilities_of_their_ids(p5: P5, answerer: Answerer) -> None:
    candidates = (9, 2, 7, 9, 14)
    answer = one(answerer, Ask(Family.DIRECT, ME, candidates=candidates))
    question, template = p5.asker.pick(ME, candidates), by_id(answer.template)
    logs = {row: log_probability(p5, question, template, [row]) for row in set(candidates)}
    assert dict(answer.items) == pytest.approx(logs, abs=0.02)
    scores = [score for _, score in answer.items]
    assert scores == sorted(scores, reverse=True)
    assert answer.task is Task.PICK


def test_next_items_are_the_likeliest_that_are_neither_of_the_history_nor_seen(p5: P5, answerer: Answerer) -> None:
    answer = one(answerer, Ask(Family.SEQUENTIAL, ME, k=5, seen=(0, 1)))
    question, template = p5.asker.next(ME), by_id(answer.template)
    unseen = sorted(set(range(ITEMS)) - {0, 1, 3, 4, 5})
    logs = {row: log_probability(p5, question, template, [row]) for row in unseen}
    expected = sorted(unseen, key=lambda row: -logs[row])[:5]
    assert dict(answer.items) == pytest.approx({row: logs[row] for row in expected}, abs=0.02)
    everything = one(answerer, Ask(Family.SEQUENTIAL, ME, k=50, seen=(0, 1)))
    assert sorted(row for row, _ in everything.items) == unseen


def test_a_batch_is_answered_as_its_questions_are_alone(answerer: Answerer) -> None:
    asks = [
        Ask(Family.SEQUENTIAL, ME, k=3),
        Ask(Family.RATING, NOBODY, 7),
        Ask(Family.DIRECT, ME, 7),
        Ask(Family.SEQUENTIAL, Person([9]), k=4),
        Ask(Family.DIRECT, ME, candidates=(1, 2)),
        Ask(Family.EXPLANATION, ME, 7),
        Ask(Family.REVIEW, ME, text="fine"),
        Ask(Family.RATING, ME, 8, template="rating-3"),
    ]
    together = answerer.answer(asks)
    assert answerer.answer([]) == []
    for ask, answer in zip(asks, together, strict=True):
        alone = one(answerer, ask)
        assert (answer.family, answer.task, answer.template) == (ask.family, alone.task, alone.template)
        assert [row for row, _ in answer.items] == [row for row, _ in alone.items]
        assert answer.text == alone.text
        assert (answer.stars is None) == (alone.stars is None)
        if answer.stars is not None:
            assert answer.stars == pytest.approx(alone.stars, abs=0.02)


def test_every_wording_of_a_family_can_be_asked_for_held_out_ones_too(answerer: Answerer) -> None:
    asked = {
        Task.STARS: Ask(Family.RATING, ME, 7),
        Task.LIKES: Ask(Family.RATING, ME, 7),
        Task.NEXT: Ask(Family.SEQUENTIAL, ME, k=2),
        Task.EXPLAIN: Ask(Family.EXPLANATION, ME, 7),
        Task.EXPLAIN_RATED: Ask(Family.EXPLANATION, ME, 7, stars=2.0),
        Task.HEADLINE: Ask(Family.REVIEW, ME, text="fine"),
        Task.REVIEW_STARS: Ask(Family.REVIEW, ME, text="fine"),
        Task.SUITS: Ask(Family.DIRECT, ME, 7),
        Task.PICK: Ask(Family.DIRECT, ME, candidates=(1, 2)),
    }
    asks = [replace(asked[one.task], template=one.id) for one in TEMPLATES if one.task in asked]
    assert [answer.template for answer in answerer.answer(asks)] == [ask.template for ask in asks]


def test_an_explanation_says_what_its_training_was_made_of_and_a_review_that_it_had_none(
    p5: P5, answerer: Answerer
) -> None:
    assert one(answerer, Ask(Family.EXPLANATION, ME, 7)).made_from in (FROM_FACTS, FACTS)
    from_reviews = replace(p5, from_facts=False).answerer
    assert one(from_reviews, Ask(Family.EXPLANATION, ME, 7)).made_from == FROM_MODEL
    review = one(answerer, Ask(Family.REVIEW, ME, text="a fine film"))
    assert review.made_from == UNTRAINED
    assert review.stars is not None
    assert 1 <= review.stars <= 5
    trained = replace(p5, families=(*p5.families, Family.REVIEW)).answerer
    assert one(trained, Ask(Family.REVIEW, ME, text="a fine film")).made_from == FROM_MODEL
    assert one(answerer, Ask(Family.RATING, ME, 7)).made_from == FROM_MODEL


def test_an_explanation_that_the_history_does_not_bear_out_is_not_said(p5: P5, answerer: Answerer) -> None:
    """Whatever the model writes, what is answered is true, and the facts are told where it is not."""
    asks = [Ask(Family.EXPLANATION, ME, 7, stars=stars) for stars in (None, 1.0, 2.0, 4.0, 5.0)]
    for ask, answer in zip(asks, answerer.answer(asks), strict=True):
        reasons = p5.asker.reasons(ME, 7, ask.stars)
        if answer.made_from == FROM_FACTS:
            assert answer.text in {" ".join(words) for words in p5.asker.true_explanations(7, reasons)}
        else:
            assert answer.made_from == FACTS
            assert answer.text == " ".join(p5.asker.explanation(7, reasons))


def test_a_true_explanation_is_said_as_it_was_written(p5: P5, answerer: Answerer) -> None:
    [question] = answerer._questions(Ask(Family.EXPLANATION, ME, 8))
    reasons = p5.asker.reasons(ME, 8)
    true = [" ".join(words) for words in p5.asker.true_explanations(8, reasons)]
    assert question.task is Task.EXPLAIN
    assert true
    for text in true:
        assert answerer._borne_out(Ask(Family.EXPLANATION, ME, 8), text) == {"text": text, "made_from": FROM_FACTS}
    wrong = answerer._borne_out(Ask(Family.EXPLANATION, ME, 8), true[0].replace("high", "low"))
    assert wrong["made_from"] == FACTS


def test_texts_have_no_ids_in_them(p5: P5, answerer: Answerer) -> None:
    for ask in (Ask(Family.EXPLANATION, ME, 7), Ask(Family.REVIEW, ME, text="fine")):
        text = one(answerer, ask).text
        assert not any(token in text for token in p5.tokenizer.index.tokens)


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (Ask(Family.RATING, ME, ITEMS), "item"),
        (Ask(Family.DIRECT, ME, candidates=(1, -1)), "item"),
        (Ask(Family.SEQUENTIAL, Person([ITEMS])), "item"),
        (Ask(Family.RATING, ME), "item_id"),
        (Ask(Family.RATING, ME, 7, template="direct-1"), "template"),
        (Ask(Family.RATING, ME, 7, template="song-1"), "template"),
        (Ask(Family.EXPLANATION, ME, 7, stars=2.0, template="explanation-1"), "template"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_and_when_it_is(answerer: Answerer, ask: Ask, field: str) -> None:
    for refuses in (answerer.check, lambda ask: answerer.answer([ask])):
        with pytest.raises(InvalidInput) as refused:
            refuses(ask)
        assert refused.value.field == field


def test_a_family_that_was_not_trained_is_refused_by_name(p5: P5) -> None:
    without = replace(p5, families=(Family.SEQUENTIAL, Family.DIRECT)).answerer
    with pytest.raises(InvalidInput, match=r"family: .* not trained for rating; it answers direct, sequential"):
        without.check(Ask(Family.RATING, ME, 7))


def test_more_than_the_model_reads_is_refused_by_the_field_that_is_too_long(p5: P5) -> None:
    short = replace(p5, config=replace(p5.config, length=40)).answerer
    for ask, field in (
        (Ask(Family.REVIEW, ME, text="ab cd ef gh " * 30), "text"),
        (Ask(Family.DIRECT, ME, candidates=tuple(range(ITEMS)) * 2), "items"),
    ):
        with pytest.raises(InvalidInput, match="tokens") as refused:
            short.check(ask)
        assert refused.value.field == field


def test_an_empty_history_is_answered_in_every_family(answerer: Answerer) -> None:
    nobody: Past = NOBODY
    asks = [
        Ask(Family.RATING, nobody, 7),
        Ask(Family.SEQUENTIAL, nobody, k=ITEMS),
        Ask(Family.EXPLANATION, nobody, 7),
        Ask(Family.REVIEW, nobody, text="fine"),
        Ask(Family.DIRECT, nobody, 7),
        Ask(Family.DIRECT, nobody, candidates=(1, 2)),
    ]
    answers = answerer.answer(asks)
    assert len(answers[1].items) == ITEMS


def test_only_ratings_that_are_stars_are_told_and_none_to_a_model_that_was_trained_without(
    p5: P5, answerer: Answerer
) -> None:
    ask = Ask(Family.EXPLANATION, Person([3, 4], [29.9, -1.0]), 7)
    assert one(answerer, ask) == one(answerer, replace(ask, person=Person([3, 4])))
    without = replace(p5, families=tuple(family for family in p5.families if family is not Family.RATING)).answerer
    low = Ask(Family.EXPLANATION, Person([3, 4], [1.0, 1.0]), 7)
    assert without._prompts(low)[0].words == answerer._prompts(replace(low, person=Person([3, 4])))[0].words
    assert without._prompts(low)[0].words != answerer._prompts(low)[0].words
