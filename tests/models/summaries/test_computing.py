import math
import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_histories import DAY, FILMS, LOVES_CRIME, NOON, Told, films, told

from features.events import Event, EventId, ItemId, UserId
from features.history import UserHistory, encode
from features.items import Item
from models.summaries.computing import facts_of, frame_of, items_frame
from models.summaries.fact import EVIDENCE_MOST, Fact, FactKind, Polarity, digest

SOME = {f"i{place}": (f"Title {place} (199{place % 10})", ["Drama" if place % 2 else "War"]) for place in range(40)}


def facts(events: list[Told], kind: FactKind, step: float = 60.0, start: float = NOON) -> list[Fact]:
    found = facts_of(told({"u": events}, step, start), films(FILMS | SOME))["u"]
    return [fact for fact in found if fact.kind is kind]


def said(found: list[Fact]) -> list[tuple[tuple[str, ...], tuple[str, ...], str]]:
    return [(fact.names, fact.numbers, fact.detail) for fact in found]


def test_categories_that_a_user_rates_above_their_mean_are_liked_and_below_disliked() -> None:
    liked, disliked = facts(LOVES_CRIME, FactKind.LIKED_CATEGORY), facts(LOVES_CRIME, FactKind.DISLIKED_CATEGORY)
    assert said(liked) == [(("Crime",), ("4.7",), ""), (("Drama",), ("4.7",), "")]
    assert said(disliked) == [(("Horror",), ("1.3",), "low")]
    assert liked[0].polarity is Polarity.POSITIVE
    assert disliked[0].polarity is Polarity.NEGATIVE


def test_evidence_is_the_events_that_show_it_the_weightiest_first() -> None:
    assert facts(LOVES_CRIME, FactKind.LIKED_CATEGORY)[0].evidence == ("u-1", "u-0", "u-2")
    assert facts(LOVES_CRIME, FactKind.DISLIKED_CATEGORY)[0].evidence == ("u-5", "u-3", "u-4")


def test_two_high_ratings_make_no_taste() -> None:
    events: list[Told] = [("fargo", 5.0), ("heat", 5.0), ("babe", 3.0), ("clueless", 3.0), ("bean", 3.0)]
    assert not facts(events, FactKind.LIKED_CATEGORY)


def test_what_a_kind_user_rates_lower_is_not_disliked_but_liked_less() -> None:
    events: list[Told] = [*((film, 5.0) for film in ("fargo", "heat", "casino")), ("babe", 4.0), ("bean", 4.0)]
    events.append(("clueless", 3.0))
    assert said(facts(events, FactKind.DISLIKED_CATEGORY)) == [(("Comedy",), ("3.7",), "")]
    assert not facts(events, FactKind.DISLIKED)


def test_favourites_and_disliked_items_lie_on_their_sides_of_the_middle_and_of_the_mean() -> None:
    assert said(facts(LOVES_CRIME, FactKind.FAVOURITE)) == [
        (("Heat",), ("5",), ""),
        (("Fargo",), ("5",), ""),
        (("Casino",), ("4",), ""),
    ]
    assert [fact.names for fact in facts(LOVES_CRIME, FactKind.DISLIKED)] == [
        ("The Omen",),
        ("Alien",),
        ("The Shining",),
    ]


def test_the_newest_rating_of_an_item_counts() -> None:
    changed: list[Told] = [*LOVES_CRIME, ("fargo", 1.0)]
    assert ("Fargo",) in [fact.names for fact in facts(changed, FactKind.DISLIKED)]
    assert ("Fargo",) not in [fact.names for fact in facts(changed, FactKind.FAVOURITE)]


def test_the_habit_is_the_mean_and_where_most_ratings_lie() -> None:
    assert said(facts(LOVES_CRIME, FactKind.HABIT)) == [((), ("3", "1 to 5"), "strict")]
    assert said(facts([(f"i{place}", 5.0) for place in range(6)], FactKind.HABIT)) == [
        ((), ("5", "5 to 5"), "generous")
    ]


def test_lately_is_the_mean_of_the_five_newest_ratings_of_who_has_ten() -> None:
    films = [(f"i{place}", 5.0) for place in range(5)]
    assert not facts([*films, ("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 2.0)], FactKind.LATELY)
    [fact] = facts([*films, ("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 2.0), ("e", 2.0)], FactKind.LATELY)
    assert (fact.numbers, len(fact.evidence)) == (("1.4",), 5)


def test_another_scale_has_another_middle() -> None:
    events = told({"u": [(film, 2 * (value or 0)) for film, value in LOVES_CRIME]})
    found = facts_of(events, films(), scale=(2.0, 10.0))["u"]
    assert [fact.names for fact in found if fact.kind is FactKind.FAVOURITE] == [("Heat",), ("Fargo",), ("Casino",)]
    assert [fact.numbers for fact in found if fact.kind is FactKind.DISLIKED] == [("2",), ("2",), ("4",)]


def test_the_newest_items_are_the_recent_ones_each_once() -> None:
    again: list[Told] = [("heat", 4.0), ("fargo", 4.0), ("babe", 4.0), ("heat", 4.0)]
    [recent] = facts(again, FactKind.RECENT)
    assert recent.names == ("Heat", "Babe", "Fargo")
    assert recent.evidence == ("u-3", "u-2", "u-1")


def test_who_does_not_rate_chooses_and_comes_back_and_dislikes_nothing() -> None:
    events: list[Told] = [(film, None) for film in ("fargo", "heat", "casino", "babe", "heat", "heat")]
    assert said(facts(events, FactKind.LIKED_CATEGORY)) == [
        (("Crime",), ("80%",), "chosen"),
        (("Drama",), ("80%",), "chosen"),
    ]
    assert said(facts(events, FactKind.FAVOURITE)) == [(("Heat",), ("3+ times",), "again")]
    assert not facts(events, FactKind.DISLIKED)
    assert not facts(events, FactKind.HABIT)


def test_two_items_that_would_be_called_the_same_are_told_apart_by_year() -> None:
    events: list[Told] = [("sabrina54", 5.0), ("sabrina95", 2.0)]
    assert facts(events, FactKind.RECENT)[0].names == ("Sabrina (1995)", "Sabrina (1954)")
    assert facts(events[:1], FactKind.RECENT)[0].names == ("Sabrina",)


def test_what_comes_up_lately_rises_and_what_goes_falls() -> None:
    wars, dramas = [f"i{place}" for place in range(0, 40, 2)], [f"i{place}" for place in range(1, 40, 2)]
    events: list[Told] = [(item, 3.0) for item in (*wars, *dramas)]
    assert said(facts(events, FactKind.DRIFT)) == [(("Drama",), (), "rising"), (("War",), (), "falling")]
    assert not facts([(f"i{place}", 3.0) for place in range(40)], FactKind.DRIFT)


def test_variety_names_what_most_of_it_is() -> None:
    wars: list[Told] = [(f"i{place}", None) for place in (*range(0, 18, 2), 1)]
    assert said(facts(wars, FactKind.VARIETY)) == [(("War", "Drama"), ("90%", "10%"), "narrow")]


def test_activity_tells_the_step_that_a_count_has_reached() -> None:
    events: list[Told] = [(f"i{place}", 3.0) for place in range(25)]
    assert said(facts(events, FactKind.ACTIVITY)) == [((), ("20+ ratings",), "day")]
    assert said(facts(events, FactKind.ACTIVITY, step=DAY)) == [((), ("20+ ratings", "20+ days"), "")]


@pytest.mark.parametrize(
    ("start", "step", "detail"),
    [
        (NOON + 8 * 3600, DAY, "evening"),
        (3600.0, DAY, "night"),
        (2 * DAY, 7 * DAY, "night"),
        (2 * DAY, 7.25 * DAY, "weekend"),
    ],
)
def test_times_are_told_where_most_sittings_fall_together(start: float, step: float, detail: str) -> None:
    events: list[Told] = [(f"i{place}", None) for place in range(8)]
    [fact] = facts(events, FactKind.TIMES, step, start)
    assert fact.detail == detail


def test_one_sitting_is_no_habit_of_the_time() -> None:
    assert not facts([(f"i{place}", None) for place in range(30)], FactKind.TIMES)


def test_the_era_is_the_decade_of_most_titles() -> None:
    events: list[Told] = [(f"i{place}", None) for place in range(9)]
    assert said(facts([*events, ("alien", None)], FactKind.ERA)) == [((), ("1990s", "90%"), "")]


def test_nobody_has_facts_without_items() -> None:
    events = told({"u": [("fargo", 5.0)], "v": [("heat", 4.0)]})
    events = events.with_columns(pl.when(pl.col("user") == "v").then(None).otherwise("item").alias("item"))
    found = facts_of(events, films())
    assert list(found) == ["u", "v"]
    assert found["v"] == ()
    assert facts_of(events.clear(), films().clear()) == {}


def test_the_live_path_gives_the_same_facts() -> None:
    events = [
        Event(EventId(event), UserId(user), ItemId(item), "rating", value, at)
        for event, user, item, value, at in told({"u": LOVES_CRIME}).iter_rows()
    ]
    items = [Item(ItemId(item), title, categories=tuple(names)) for item, (title, names) in FILMS.items()]
    live = facts_of(frame_of([UserHistory(UserId("u"), encode(events, 500))]), items_frame(items))
    assert live == facts_of(told({"u": LOVES_CRIME}), films())


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000))
def test_neither_the_order_of_rows_nor_other_users_change_a_users_facts(seed: int) -> None:
    chance = random.Random(seed)
    histories = {
        user: [(chance.choice([*FILMS, *SOME]), chance.choice([None, 1.0, 2.5, 4.0, 5.0])) for _ in range(30)]
        for user in ("u", "v")
    }
    together = told(histories)
    alone = told({"u": histories["u"]})
    items = films(FILMS | SOME)
    found = facts_of(together.sample(fraction=1.0, shuffle=True, seed=seed), items)["u"]
    assert found == facts_of(alone, items)["u"]
    assert all(0 < len(fact.evidence) <= EVIDENCE_MOST for fact in found)
    assert all(event.startswith("u-") for fact in found for event in fact.evidence)
    assert len({fact.key for fact in found}) == len(found)


def test_a_number_that_moves_a_little_is_the_same_to_a_digest() -> None:
    one = Fact(FactKind.LIKED_CATEGORY, ("War",), ("4.1",), Polarity.POSITIVE)
    near = Fact(FactKind.LIKED_CATEGORY, ("War",), ("4.2",), Polarity.POSITIVE, "", (EventId("e"),))
    far = Fact(FactKind.LIKED_CATEGORY, ("War",), ("4.9",), Polarity.POSITIVE)
    other = Fact(FactKind.LIKED_CATEGORY, ("Drama",), ("4.1",), Polarity.POSITIVE)
    assert digest([one, other]) == digest([other, near])
    assert len({digest([one]), digest([far]), digest([other]), digest([])}) == 4


def test_ratings_that_are_all_the_same_show_no_taste() -> None:
    events: list[Told] = [(film, 0.1 + 0.2) for film in FILMS]
    assert not facts(events, FactKind.LIKED_CATEGORY)
    assert not facts(events, FactKind.DISLIKED_CATEGORY)
    assert math.isclose(float(facts(events, FactKind.HABIT)[0].numbers[0]), 0.3)
