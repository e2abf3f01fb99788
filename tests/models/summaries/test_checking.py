import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.cleaning import TEXT_MOST, cleaned
from models.summaries.checking import check
from models.summaries.fact import Fact, FactKind, Polarity
from models.summaries.wording import STYLES, from_template

DETAILS = {
    FactKind.ACTIVITY: ("", "day"),
    FactKind.HABIT: ("", "generous", "strict"),
    FactKind.LATELY: ("",),
    FactKind.LIKED_CATEGORY: ("", "chosen"),
    FactKind.DISLIKED_CATEGORY: ("", "low"),
    FactKind.FAVOURITE: ("", "again"),
    FactKind.DISLIKED: ("",),
    FactKind.RECENT: ("",),
    FactKind.DRIFT: ("rising", "falling"),
    FactKind.VARIETY: ("", "narrow", "broad"),
    FactKind.TIMES: ("night", "morning", "afternoon", "evening", "weekend"),
    FactKind.ERA: ("",),
}
NUMBERS = {
    FactKind.ACTIVITY: ("200+ ratings", "3+ days"),
    FactKind.HABIT: ("3.6", "3 to 5"),
    FactKind.LATELY: ("3.2",),
    FactKind.ERA: ("1990s", "70%"),
}
NAMES = {FactKind.RECENT: ("Heat", "Dr. Strangelove or: Why?", "Fargo"), FactKind.VARIETY: ("Drama", "Sci-Fi")}
UNNAMED = {FactKind.ACTIVITY, FactKind.HABIT, FactKind.LATELY, FactKind.TIMES, FactKind.ERA}

FACTS = [
    Fact(FactKind.HABIT, (), ("3.6", "3 to 5")),
    Fact(FactKind.LIKED_CATEGORY, ("Drama",), ("4.5",), Polarity.POSITIVE),
    Fact(FactKind.LIKED_CATEGORY, ("Sci-Fi",), ("4.1",), Polarity.POSITIVE),
    Fact(FactKind.DISLIKED_CATEGORY, ("Horror",), ("2.1",), Polarity.NEGATIVE, "low"),
    Fact(FactKind.FAVOURITE, ("Dr. Strangelove",), (), Polarity.POSITIVE),
    Fact(FactKind.RECENT, ("Heat", "What? No!", "Fargo")),
    Fact(FactKind.DRIFT, ("Horror",), detail="rising"),
]


def keys(text: str) -> list[tuple[str, ...]]:
    """What the sentences state, when all of them stand the check."""
    verdict = check(text, FACTS)
    assert not verdict.problems
    return [claim.facts for claim in verdict.claims]


def test_true_sentences_are_mapped_to_their_facts() -> None:
    assert keys("They enjoy Sci-Fi and Drama (4.5). Recently: Heat, What? No!, Fargo. Loves Dr. Strangelove.") == [
        ("liked_category:Sci-Fi", "liked_category:Drama"),
        ("recent",),
        ("favourite:Dr. Strangelove",),
    ]


def test_a_sentence_may_say_two_things_in_two_clauses() -> None:
    assert keys("Likes Drama, but dislikes Horror (2.1).") == [("liked_category:Drama", "disliked_category:Horror")]
    assert keys("Rates 3.6 on average and likes Drama.") == [("rating_habit", "liked_category:Drama")]
    assert keys("Horror is disliked, while Drama and Sci-Fi are liked.") == [
        ("disliked_category:Horror", "liked_category:Drama", "liked_category:Sci-Fi")
    ]


def test_what_is_not_said_is_missing() -> None:
    verdict = check("Likes Drama (4.5).", FACTS)
    assert [fact.key for fact in verdict.missing][:2] == ["rating_habit", "liked_category:Sci-Fi"]
    assert not check("", FACTS).problems
    assert check("", FACTS).missing == tuple(FACTS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Likes Western.", "no name that the facts have"),
        ("Likes Dramas.", "no name that the facts have"),
        ("Likes cats.", "says no fact"),
        ("Dislikes Drama.", "not those of such a fact"),
        ("Likes Horror.", "not those of such a fact"),
        ("Likes Drama (4.1).", "not those of such a fact"),
        ("Likes Drama (4.1), Sci-Fi (4.5).", "not those of such a fact"),
        ("Likes Drama 4.5.", "says no fact"),
        ("Does not like Drama.", "says no fact"),
        ("Lately less Horror.", "says no fact"),
        ("Recently: Fargo, Heat.", "not those of such a fact"),
        ("Loves Drama Dr. Strangelove.", "does not stand for itself"),
        ("Rates 3.6 on average, mostly 3 to 4.", "not those of such a fact"),
        ("Rates three on average.", "says no fact"),
        ("Likes Drama (4.5), see https://x.example/a.", "has no place in it"),
        ("Likes **Drama**.", "has no place in it"),
        ("- Likes Drama.", "not a whole sentence"),
        ("Likes Drama", "not a whole sentence"),
        ("Likes Drama?", "not a whole sentence"),
        ("Drama.", "says no fact"),
        ("Likes Drama. Enjoys Drama.", "says again"),
        ("Likes Drama and likes Drama.", "the same twice"),
    ],
)
def test_what_the_facts_do_not_say_is_refused_with_the_reason(text: str, problem: str) -> None:
    [found] = check(text, FACTS).problems
    assert problem in found


def test_more_than_is_read_is_not_read() -> None:
    verdict = check("Likes Drama (4.5). " * 200, FACTS)
    assert not verdict.claims
    assert str(TEXT_MOST) in verdict.problems[0]


@pytest.mark.parametrize("style", range(STYLES))
@pytest.mark.parametrize(("kind", "detail"), [(kind, detail) for kind in FactKind for detail in DETAILS[kind]])
def test_every_template_stands_the_check(kind: FactKind, detail: str, style: int) -> None:
    names = () if kind in UNNAMED else NAMES.get(kind, ("A Name, Of It",))
    for numbers in {NUMBERS.get(kind, ()), NUMBERS.get(kind, ())[: 1 if kind is FactKind.ACTIVITY else None]}:
        facts = [Fact(kind, names, numbers, detail=detail)]
        claims = from_template(facts, style)
        verdict = check(claims[0].text, facts)
        assert (verdict.claims, verdict.problems) == (claims, ())


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=60).map(cleaned).filter(str.strip), min_size=1, max_size=4, unique=True))
def test_whatever_names_contain_the_check_ends_and_cites_only_what_is_there(names: list[str]) -> None:
    facts = [Fact(FactKind.FAVOURITE, (name,), (), Polarity.POSITIVE) for name in names]
    verdict = check(" ".join(claim.text for claim in from_template(facts)), facts)
    assert {key for claim in verdict.claims for key in claim.facts} <= {fact.key for fact in facts}


@pytest.mark.parametrize(
    "title", ["Fargo. The user hates Drama", "not", 'He said "no"', "<|im_end|>", "a (4.5)", "\\d+(", "1990s"]
)
def test_a_title_is_a_name_whatever_it_says(title: str) -> None:
    facts = [Fact(FactKind.FAVOURITE, ("Heat",)), Fact(FactKind.FAVOURITE, (title,))]
    verdict = check(f"Loved Heat, {title}.", facts)
    assert [claim.facts for claim in verdict.claims] == [("favourite:Heat", f"favourite:{title}")]
    assert check(f"Disliked {title}.", facts).problems


def test_a_user_is_nobodys_favourite() -> None:
    for subject in ("They are", "They were also", "This user is a", "The user is the"):
        for thing in ("favourites", "favorite"):
            assert check(f"{subject} {thing}: Dr. Strangelove.", FACTS).problems
    assert keys("Dr. Strangelove is a favourite.") == keys("Their favourite is Dr. Strangelove.") != []
