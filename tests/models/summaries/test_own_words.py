from models.summaries.fact import Fact, FactKind, Polarity
from models.summaries.own_words import own_words, wordings
from models.summaries.summarising import TEMPLATE, Written
from models.summaries.wording import claim_of, from_template

WAR = Fact(FactKind.LIKED_CATEGORY, ("War",), ("4.2",), Polarity.POSITIVE)
CRIME = Fact(FactKind.LIKED_CATEGORY, ("Crime",), ("4",), Polarity.POSITIVE)
ALIEN = Fact(FactKind.FAVOURITE, ("Alien",), (), Polarity.POSITIVE)


def by_generator(*sentences: tuple[str, list[Fact]], by_template: int = 0, problem: str = "") -> Written:
    claims = tuple(claim_of(text, facts) for text, facts in sentences)
    return Written(claims, "toy", "p", by_template, problem)


def test_wordings_have_no_names_and_no_numbers() -> None:
    names = [WAR, CRIME, ALIEN]
    said = wordings("They like War (4.2), Crime (4) and Alien. Their average rating is 3.6, mostly 3 to 5.", names)
    assert said == ["They like \ue000.", "Their average rating is #, mostly # to #."]
    assert wordings("They like War.", names) == said[:1]
    assert wordings("They like Alien; War and Crime.", names) == said[:1]


def test_a_summary_is_own_where_the_template_says_nothing_of_it() -> None:
    written = [
        by_generator(("They loved Alien.", [ALIEN])),
        by_generator(("They loved Alien.", [ALIEN]), by_template=1),
        Written(from_template([ALIEN]), TEMPLATE, "", 1),
        by_generator(("They loved Alien.", [ALIEN])),
    ]
    report = own_words([[ALIEN]] * 4, written, [])
    assert report["own"]["value"] == 0.5
    assert report["own"]["low"] < 0.5 < report["own"]["high"]
    assert report["sentences"] == 2


def test_sentences_that_the_template_would_say_are_told_apart() -> None:
    both = [WAR, CRIME]
    written = [
        by_generator(("Likes War (4.2) and Crime (4).", both), ("Alien is a favourite.", [ALIEN])),
        by_generator(
            ("They like War (4.2), Crime (4).", both), ("They like War (4.2), and loved Alien.", [WAR, ALIEN])
        ),
    ]
    report = own_words([[*both, ALIEN]] * 2, written, ["They like \ue000, and loved \ue000."])
    assert report["as_template"]["value"] == 0.5  # the first ones of both
    assert report["in_new_wording"]["value"] == 0.75  # all but the last


def test_the_most_frequent_problems_are_told_without_what_is_one_users() -> None:
    written = [
        by_generator(
            ("They loved Alien.", [ALIEN]), by_template=1, problem=f"'They like {name}.': no name; left out: a:b"
        )
        for name in ("X", "Y")
    ]
    written.append(by_generator(("They loved Alien.", [ALIEN]), by_template=1, problem="left out: a:c"))
    assert own_words([[ALIEN]] * 3, written, [])["problems"] == {"left out: ...": 3, "...: no name": 2}


def test_no_summaries_have_no_share() -> None:
    assert own_words([], [], [])["own"]["value"] is None
