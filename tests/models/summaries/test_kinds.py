import pytest
from toy_histories import LOVES_CRIME, films, told

from models.summaries.computing import facts_of
from models.summaries.fact import Fact, FactKind, Polarity
from models.summaries.kinds import SHAPES, SummaryKind, chosen

FACTS = facts_of(told({"u": LOVES_CRIME}), films())["u"]
CHOSEN = Fact(FactKind.LIKED_CATEGORY, ("War",), ("80%",), Polarity.POSITIVE, "chosen")
VARIETY = Fact(FactKind.VARIETY, ("War", "Drama"), ("80%", "20%"))


@pytest.mark.parametrize("kind", SummaryKind)
def test_facts_stand_in_the_order_of_the_slots_and_no_more_than_they_hold(kind: SummaryKind) -> None:
    kinds = [slot.kind for slot in SHAPES[kind].slots]
    told_kinds = [fact.kind for fact in chosen(FACTS, kind)]
    assert told_kinds == sorted(told_kinds, key=kinds.index)
    assert all(told_kinds.count(slot.kind) <= slot.most for slot in SHAPES[kind].slots)


def test_a_fact_is_cut_to_the_names_and_numbers_that_its_slot_tells() -> None:
    recent = chosen(FACTS, SummaryKind.RANKING)[0]
    assert recent.names == ("Bean", "Clueless", "Babe", "The Omen")
    assert recent.evidence == ("u-8", "u-7", "u-6", "u-5")
    [variety] = chosen([VARIETY], SummaryKind.STYLE)
    assert (variety.names, variety.numbers) == (("War", "Drama"), ("80%", "20%"))
    assert {fact.numbers for fact in chosen(FACTS, SummaryKind.RANKING)} == {()}


def test_a_rating_summary_is_the_habit_and_the_categories_with_their_means() -> None:
    assert [(fact.kind, fact.names, fact.numbers) for fact in chosen(FACTS, SummaryKind.RATING)] == [
        (FactKind.HABIT, (), ("3", "1 to 5")),
        (FactKind.LIKED_CATEGORY, ("Crime",), ("4.7",)),
        (FactKind.LIKED_CATEGORY, ("Drama",), ("4.7",)),
        (FactKind.DISLIKED_CATEGORY, ("Horror",), ("1.3",)),
    ]


@pytest.mark.parametrize("kind", [SummaryKind.GENERAL, SummaryKind.TAGGING, SummaryKind.STYLE])
def test_what_is_often_chosen_is_not_told_a_second_time(kind: SummaryKind) -> None:
    assert len(chosen([CHOSEN, VARIETY], kind)) == 1
