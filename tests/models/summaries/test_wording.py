import pytest
from toy_histories import LOVES_CRIME, films, told

from features.events import EventId
from models.summaries.computing import facts_of
from models.summaries.fact import EVIDENCE_MOST, Fact, FactKind, Polarity
from models.summaries.kinds import SummaryKind, chosen
from models.summaries.wording import STYLES, claim_of, from_template, sentence

FACTS = facts_of(told({"u": LOVES_CRIME}), films())["u"]
LIKES = [
    Fact(FactKind.LIKED_CATEGORY, (name,), (mean,), Polarity.POSITIVE, evidence=tuple(map(EventId, events)))
    for name, mean, events in (("Film-Noir", "4.5", "ab"), ("Drama", "4.1", "bc"))
]


def text(kind: SummaryKind) -> str:
    return " ".join(claim.text for claim in from_template(chosen(FACTS, kind)))


def test_facts_that_say_the_same_of_several_names_stand_in_one_sentence() -> None:
    [claim] = from_template(LIKES)
    assert claim.text == "Likes Film-Noir (4.5), Drama (4.1)."
    assert claim.facts == ("liked_category:Film-Noir", "liked_category:Drama")
    assert claim.evidence == ("a", "b", "c")


def test_summaries_read_like_this() -> None:
    assert text(SummaryKind.RATING) == (
        "Rates low: 3 on average, mostly 1 to 5. Likes Crime (4.7), Drama (4.7). Dislikes Horror (1.3)."
    )
    assert text(SummaryKind.RANKING) == (
        "Recent: Bean, Clueless, Babe, The Omen. Loved Heat, Fargo. Likes Crime, Drama."
    )
    assert text(SummaryKind.GENERAL) == (
        "5+ ratings within a day. Rates low: 3 on average, mostly 1 to 5. Likes Crime (4.7), Drama (4.7). "
        "Dislikes Horror (1.3). Loved Heat, Fargo, Casino. Disliked The Omen, Alien."
    )


def test_names_with_commas_are_told_apart() -> None:
    loved = [Fact(FactKind.FAVOURITE, (name,)) for name in ("The Good, the Bad and the Ugly", "Heat")]
    assert from_template(loved)[0].text == "Loved The Good, the Bad and the Ugly; Heat."


@pytest.mark.parametrize("style", range(STYLES))
def test_every_style_says_all_of_a_fact(style: int) -> None:
    for fact in FACTS:
        said = sentence(fact, style)
        assert all(name in said for name in fact.names)
        assert all(number in said for number in fact.numbers)
        assert said.endswith(".")
    assert sentence(LIKES[0], style) != sentence(LIKES[0], style + 1)


def test_evidence_of_many_facts_is_shared_out() -> None:
    facts = [
        Fact(FactKind.FAVOURITE, (name,), evidence=tuple(EventId(f"{name}{place}") for place in range(EVIDENCE_MOST)))
        for name in "abcd"
    ]
    evidence = claim_of("Loved them.", facts).evidence
    assert len(evidence) == EVIDENCE_MOST
    assert {event[0] for event in evidence} == set("abcd")
