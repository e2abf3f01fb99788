"""Corrections in the place of what they correct."""

from features.profile import Claim, Correction
from models.summaries.correcting import corrected, facts_told_anew
from models.summaries.fact import Fact, FactKind, Polarity

DRAMA = Fact(FactKind.LIKED_CATEGORY, ("Drama",), ("4.5",), Polarity.POSITIVE, evidence=("e1",))
WAR = Fact(FactKind.LIKED_CATEGORY, ("War",), ("4.1",), Polarity.POSITIVE, evidence=("e2",))
FACTS = {fact.key: fact for fact in (DRAMA, WAR)}
LIKES_DRAMA = Claim("Likes Drama.", (DRAMA.key,), ("e1",))
LIKES_BOTH = Claim("Is fond of Drama and War.", (DRAMA.key, WAR.key), ("e1", "e2"))
STEADY = Claim("Watches in the evening.", ("times",), ("e3",))


def correction(fact: str, text: str | None, *, is_pinned: bool = False) -> Correction:
    return Correction(fact, text, is_pinned, 1.0)


def said(text: str, fact: str) -> Claim:
    return Claim(text, (fact,), (), is_operators=True)


def test_without_corrections_claims_stay_as_they_are() -> None:
    assert corrected([LIKES_BOTH, STEADY], [], {}) == (LIKES_BOTH, STEADY)


def test_a_corrected_fact_is_said_in_the_operators_words_in_its_place() -> None:
    corrections = [correction(DRAMA.key, "Acts in plays.")]
    assert corrected([LIKES_DRAMA, STEADY], corrections, {}) == (said("Acts in plays.", DRAMA.key), STEADY)


def test_of_a_hidden_fact_nothing_is_said() -> None:
    assert corrected([LIKES_DRAMA, STEADY], [correction(DRAMA.key, None)], {}) == (STEADY,)


def test_what_else_a_claim_states_is_said_anew() -> None:
    only_war = Claim("Likes War (4.1).", (WAR.key,), ("e2",))
    assert corrected([LIKES_BOTH], [correction(DRAMA.key, None)], FACTS) == (only_war,)
    corrections = [correction(DRAMA.key, "Acts in plays.")]
    assert corrected([LIKES_BOTH], corrections, FACTS) == (only_war, said("Acts in plays.", DRAMA.key))
    assert corrected([LIKES_BOTH], corrections, {}) == (said("Acts in plays.", DRAMA.key),)  # it is no fact any more


def test_a_correction_of_what_is_not_said_says_nothing_but_a_pinned_one_is_always_said_first() -> None:
    assert corrected([STEADY], [correction("variety", "Sees anything.")], {}) == (STEADY,)
    pinned = [correction("variety", "Sees anything.", is_pinned=True), correction("times", "Works.", is_pinned=True)]
    assert corrected([STEADY], pinned, {}) == (said("Sees anything.", "variety"), said("Works.", "times"))
    assert corrected([], pinned, {}) == (said("Sees anything.", "variety"), said("Works.", "times"))


def test_an_operators_sentence_is_said_once() -> None:
    corrections = [correction(DRAMA.key, "Acts in plays.")]
    assert corrected([LIKES_DRAMA, LIKES_DRAMA], corrections, {}) == (said("Acts in plays.", DRAMA.key),)


def test_facts_are_told_anew_that_share_a_claim_with_a_corrected_one() -> None:
    assert facts_told_anew([LIKES_BOTH, STEADY], [correction(DRAMA.key, None)]) == {WAR.key}
    assert facts_told_anew([LIKES_DRAMA, STEADY], [correction(DRAMA.key, None)]) == frozenset()
    assert facts_told_anew([LIKES_BOTH], [correction(DRAMA.key, None), correction(WAR.key, "No.")]) == frozenset()
