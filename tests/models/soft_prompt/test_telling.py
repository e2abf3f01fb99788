"""Histories in words, of a log that one can read through."""

from dataclasses import replace

import pytest
from toy_choosers import KINDS, choosers, dataset
from toy_llama import toy_llama

from models.counts.fitting import texts_of
from models.encoders.reading import encoder_data
from models.language.plain_tokens import PlainTokens
from models.soft_prompt.drawing import draw
from models.soft_prompt.log import Log, Split, log_of
from models.soft_prompt.questions import rendered
from models.soft_prompt.reading import Past, past_of, pasts_of
from models.soft_prompt.tasks import Asking
from models.soft_prompt.telling import ALL, Telling

ASKING = Asking(recent=6, last=5, each=4, moments=3, train=0.6, validation=0.2)
HISTORIES, CATEGORIES = choosers(users=80)
LOG = log_of(dataset(HISTORIES, CATEGORIES), ASKING)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> PlainTokens:
    return PlainTokens(toy_llama(tmp_path_factory.mktemp("llm") / "toy", words="".join(KINDS)))


def past(user: str, count: int, log: Log = LOG) -> Past:
    return Past(log.past.items_E[log.past.starts_V[log.past.users.index(user)] :][:count])


def test_the_newest_events_are_told_the_newest_last(tokens: PlainTokens) -> None:
    told = Telling.of(LOG, tokens, 3).history(past("u7", 6)).splitlines()
    assert told[1:-1] == [_line(item) for item in HISTORIES["u7"][3:6]]
    assert told[-1] == ""
    assert len(Telling.of(LOG, tokens, ALL).history(past("u7", 6)).splitlines()) == 1 + 6 + 1


def _line(item: str) -> str:
    """With those of its kinds that are asked about: not what most items have."""
    kinds = [kind for kind in CATEGORIES[item] if kind in LOG.categories_G]
    return f"The {item} [{', '.join(kinds)}]" if kinds else f"The {item}"


@pytest.mark.parametrize("most", [60, 100, 180, 1000])
def test_what_is_older_is_left_out_where_there_is_no_room(tokens: PlainTokens, most: int) -> None:
    told = Telling.of(LOG, tokens, ALL, most).history(past("u7", 12))
    lines = told.splitlines()[1:-1]
    assert lines == [_line(item) for item in HISTORIES["u7"][12 - len(lines) : 12]]
    assert len(tokens.plain(told)) <= most
    if len(lines) < 12:
        assert len(tokens.plain(told)) + len(tokens.plain(_line(HISTORIES["u7"][11 - len(lines)]) + "\n")) > most


def test_of_a_past_without_events_nothing_is_told(tokens: PlainTokens) -> None:
    assert Telling.of(LOG, tokens, 10).history(past("u7", 0)) == ""


def test_answers_never_appear_in_what_is_told(tokens: PlainTokens) -> None:
    """What is read is the same whichever choice is true, and whatever comes after the question's moment."""
    telling, starts_V = Telling.of(LOG, tokens, ALL), LOG.past.starts_V
    events = encoder_data(LOG.past, texts_of(dataset(HISTORIES, CATEGORIES).items, LOG.vocabulary))
    questions = draw(LOG, Split.TEST, ASKING)
    for question in questions[:: len(questions) // 100]:
        prompt, answers = asked = rendered(telling.before(question, *pasts_of(events, [question])), "words")
        later_E = events.items_E.copy()
        later_E[starts_V[question.user] + question.cut : starts_V[question.user + 1]] = 0
        known = past_of(replace(events, items_E=later_E), question.user, question.cut)
        other = replace(question, truth=(question.truth + 1) % len(question.choices))
        assert rendered(telling.before(other, known), "words") == asked
        assert prompt.endswith("".join(f"\n- {choice}" for choice in question.choices))
        if question.task == "next-item":  # no user has an item twice
            assert f"{answers[question.truth].strip()} " not in telling.history(known)


def test_what_is_told_differently_has_another_digest(tokens: PlainTokens) -> None:
    digests = {Telling.of(LOG, tokens, newest, most).digest for newest in (10, 50) for most in (100, 200)}
    assert len(digests) == 4
    assert Telling.of(LOG, tokens, 10).digest == Telling.of(LOG, tokens, 10).digest
