import re

import numpy as np
import pytest

from models.summaries.checking import check
from models.summaries.fact import Fact, FactKind, Polarity
from models.summaries.own_words import wordings
from models.summaries.phrasings import WAYS, phrased
from models.summaries.wording import STYLES, sentence

LIKED = Fact(FactKind.LIKED_CATEGORY, ("War",), ("4.2",), Polarity.POSITIVE)
ALSO_LIKED = Fact(FactKind.LIKED_CATEGORY, ("Film-Noir",), ("4",), Polarity.POSITIVE)
LOW = Fact(FactKind.DISLIKED_CATEGORY, ("Horror",), ("2.1",), Polarity.NEGATIVE, "low")
LOVED = Fact(FactKind.FAVOURITE, ("Alien",), (), Polarity.POSITIVE)
HABIT = Fact(FactKind.HABIT, (), ("3.6", "3 to 5"))


def many(*facts: Fact, times: int = 200) -> list[str]:
    return [phrased(facts, np.random.default_rng(seed)) for seed in range(times)]


def of(kind: FactKind, detail: str) -> Fact:
    """A fact of every form that there are words for."""
    numbers = {
        FactKind.ACTIVITY: ("200+ ratings", "50+ days") if detail == "over" else ("200+ ratings",),
        FactKind.HABIT: ("3.6", "3 to 5"),
        FactKind.LATELY: ("3.2",),
        FactKind.ERA: ("1990s", "70%"),
    }.get(kind, ())
    without_names = (FactKind.ACTIVITY, FactKind.HABIT, FactKind.LATELY, FactKind.ERA, FactKind.TIMES)
    names = (
        () if kind in without_names else ("War", "Crime") if kind in (FactKind.RECENT, FactKind.VARIETY) else ("War",)
    )
    return Fact(kind, names, numbers, detail="" if detail == "over" else detail)


@pytest.mark.parametrize("form", WAYS)
def test_all_ways_of_saying_a_fact_stand_the_check(form: tuple[FactKind, str]) -> None:
    fact = of(*form)
    for text in set(many(fact)):
        verdict = check(text, [fact])
        assert (verdict.problems, verdict.missing) == ((), ())


@pytest.mark.parametrize("form", WAYS)
def test_no_way_of_saying_a_fact_is_the_templates(form: tuple[FactKind, str]) -> None:
    fact = of(*form)
    by_template = {wording for style in range(STYLES) for wording in wordings(sentence(fact, style), [fact])}
    assert not by_template & {wording for text in many(fact) for wording in wordings(text, [fact])}


def test_facts_are_said_in_their_order_in_whatever_sentences() -> None:
    facts = (HABIT, LIKED, ALSO_LIKED, LOW, LOVED)
    texts = many(*facts)
    assert len(set(texts)) > 150
    for text in texts:
        verdict = check(text, facts)
        assert (verdict.problems, verdict.missing) == ((), ())
        assert [text.index(one) for one in ("3.6", "War", "Film-Noir", "Horror", "Alien")] == sorted(
            text.index(one) for one in ("3.6", "War", "Film-Noir", "Horror", "Alien")
        )
        assert text.endswith(".")
        assert not re.search(r"[/\[\]{}|=]|  ", text)


def test_verbs_agree_with_their_subject() -> None:
    for text in many(LIKED, LOW, LOVED):
        assert not re.search(r"\b[Tt]hey (?:\w+ )?(?:is|was|likes|enjoys|loves|dislikes)\b", text)
        assert not re.search(r"\b[Tt]his user (?:are|were|like|enjoy|love|dislike)\b", text)


def test_neighbours_are_now_and_then_one_sentence() -> None:
    texts = many(LIKED, LOW)
    assert any(re.fullmatch(r"They \w+ War \(4\.2\), but (?:dislike|are .*) Horror \(2\.1\)\.", text) for text in texts)
    assert any(text.count(".") - text.count("4.2") - text.count("2.1") == 2 for text in texts)


def test_one_favourite_is_one() -> None:
    texts = " ".join(many(LOVED))
    assert "favourite is Alien" in texts
    assert "favourites" not in texts


def test_names_with_commas_stand_apart_by_semicolons() -> None:
    facts = [Fact(FactKind.FAVOURITE, (name,), (), Polarity.POSITIVE) for name in ("Good, Bad", "Alien", "Heat")]
    for text in many(*facts, times=20):
        assert "Good, Bad; Alien" in text
        assert not check(text, facts).problems


def test_the_same_draws_say_the_same() -> None:
    assert many(LIKED, LOW, LOVED, times=5) == many(LIKED, LOW, LOVED, times=5)
