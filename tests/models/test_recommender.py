from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_frames import marching

from features.events import ItemId, UserId
from features.items import Item
from models.bundle import Bundle, train_counts
from models.catalogue import Catalogue
from models.recommender import Pipeline, Query

ITEMS = 40


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    events, items = marching(users=120, items=ITEMS, length=8)
    return train_counts(events, items, fingerprint="toy")


def catalogue_of(hidden: frozenset[str] = frozenset(), extra: tuple[Item, ...] = ()) -> Catalogue:
    known = [
        Item(ItemId(f"i{n}"), f"Item {n}", "", ("even" if n % 2 == 0 else "odd",), {}, f"i{n}" in hidden)
        for n in range(ITEMS)
    ]
    return Catalogue([*known, *extra])


def query(*history: str, **more: object) -> Query:
    return replace(Query(UserId("ann"), tuple(ItemId(item) for item in history)), **more)  # type: ignore[arg-type]


def names(pipeline: Pipeline, asked: Query) -> list[str]:
    return [candidate.item for candidate in pipeline.recommend([asked])[0].items]


def test_what_comes_next_is_recommended_first_and_the_reason_names_what_led_to_it(bundle: Bundle) -> None:
    answer = Pipeline(bundle, catalogue_of(), diversity=0).recommend([query("i3", "i4", "i5")])[0]
    assert answer.items[0].item == "i6"
    assert answer.items[0].because == "i5"
    assert answer.items[0].reason == "because you watched Item 5"
    assert answer.items[0].source == "counts"
    assert answer.model == bundle.name
    assert len(answer.items) == 10


def test_a_new_user_gets_what_is_popular_or_trending(bundle: Bundle) -> None:
    answer = Pipeline(bundle, catalogue_of()).recommend([query()])[0]
    assert len(answer.items) == 10
    assert {candidate.source for candidate in answer.items} <= {"popular", "trending"}
    assert {candidate.reason for candidate in answer.items} <= {"popular", "trending this week"}
    assert all(candidate.because is None for candidate in answer.items)


def test_an_unknown_history_is_a_new_user(bundle: Bundle) -> None:
    pipeline = Pipeline(bundle, catalogue_of())
    assert names(pipeline, query("never heard of")) == names(pipeline, query())


@settings(max_examples=60, deadline=None)
@given(
    history=st.lists(st.integers(0, ITEMS - 1), max_size=12),
    seen=st.frozensets(st.integers(0, ITEMS - 1), max_size=30),
    exclude=st.frozensets(st.integers(0, ITEMS - 1), max_size=8),
    hidden=st.frozensets(st.integers(0, ITEMS - 1), max_size=8),
    categories=st.frozensets(st.sampled_from(["even", "odd", "neither"]), max_size=2),
    k=st.integers(1, 50),
    diversity=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_nothing_seen_hidden_excluded_or_of_another_category_ever_returns(
    bundle: Bundle,
    history: list[int],
    seen: frozenset[int],
    exclude: frozenset[int],
    hidden: frozenset[int],
    categories: frozenset[str],
    k: int,
    diversity: float,
) -> None:
    def ids(numbers: list[int] | frozenset[int]) -> list[ItemId]:
        return [ItemId(f"i{number}") for number in numbers]

    asked = Query(
        UserId("ann"),
        tuple(ids(history)),
        ids(seen),
        k,
        ids(exclude),
        categories,
        diversity=diversity,
        list_removed=True,
    )
    pipeline = Pipeline(bundle, catalogue_of(frozenset(ids(hidden))))
    answer = pipeline.recommend([asked])[0]
    listed = [candidate.item for candidate in answer.items]
    reasons = dict(answer.removed_items)
    expected = {}
    for number in range(ITEMS):
        if number in seen or number in history:
            expected[f"i{number}"] = "seen"
        elif number in hidden:
            expected[f"i{number}"] = "hidden"
        elif number in exclude:
            expected[f"i{number}"] = "excluded"
        elif categories and ("even" if number % 2 == 0 else "odd") not in categories:
            expected[f"i{number}"] = "category"
    assert reasons == expected
    assert answer.removed == {
        reason: list(expected.values()).count(reason) for reason in dict.fromkeys(expected.values())
    }
    assert len(set(listed)) == len(listed) == min(k, ITEMS - len(expected))
    assert not set(listed) & set(expected)


def test_without_diversity_the_list_is_the_order_of_the_scores(bundle: Bundle) -> None:
    pipeline = Pipeline(bundle, catalogue_of(), diversity=0)
    asked = query("i3", "i9", "i20", k=15)
    ranked = pipeline.rank([asked], [[ItemId(f"i{n}") for n in range(ITEMS) if n not in (3, 9, 20)]])[0]
    listed = pipeline.recommend([asked])[0].items
    assert [(c.item, c.score) for c in listed] == [(c.item, c.score) for c in ranked[:15]]
    assert [c.score for c in listed] == sorted((c.score for c in listed), reverse=True)
    assert [c.because for c in listed] == [c.because for c in ranked[:15]]


def test_answers_do_not_depend_on_the_batch(bundle: Bundle) -> None:
    pipeline = Pipeline(bundle, catalogue_of())
    asked = [query("i1", "i2", k=3), query(), query("i30", k=20, categories=("odd",)), query("?")]
    together = pipeline.recommend(asked)
    for one, answer in zip(asked, together, strict=True):
        alone = pipeline.recommend([one])[0]
        assert [(c.item, c.reason) for c in alone.items] == [(c.item, c.reason) for c in answer.items]
        assert alone.removed == answer.removed


def test_nothing_asked_is_nothing_answered(bundle: Bundle) -> None:
    assert Pipeline(bundle, catalogue_of()).recommend([]) == []


def test_full_diversity_mixes_the_categories(bundle: Bundle) -> None:
    pipeline = Pipeline(bundle, catalogue_of())
    mixed = names(pipeline, query("i2", "i4", k=2, diversity=1.0))
    assert {int(name[1:]) % 2 for name in mixed} == {0, 1}


def test_hiding_an_item_takes_effect_at_the_next_question(bundle: Bundle) -> None:
    catalogue = catalogue_of()
    pipeline = Pipeline(bundle, catalogue)
    asked = query("i3", "i4", "i5")
    assert "i6" in names(pipeline, asked)
    shown = catalogue.get(ItemId("i6"))
    assert shown is not None
    catalogue.put([replace(shown, hidden=True, added=1.0)])
    assert "i6" not in names(pipeline, asked)
    catalogue.put([replace(shown, hidden=False, added=2.0)])
    assert "i6" in names(pipeline, asked)


def test_an_item_that_came_after_the_fit_gets_its_share_of_the_list_and_no_more(bundle: Bundle) -> None:
    new = tuple(Item(ItemId(f"new{n}"), f"New {n}", "", ("even",)) for n in range(5))
    catalogue = catalogue_of(extra=new)
    answer = Pipeline(bundle, catalogue, explore=0.1).recommend([query("i2", "i4")])[0]
    fresh = [candidate for candidate in answer.items if candidate.source == "new"]
    assert len(answer.items) == 10
    assert [candidate.reason for candidate in fresh] == ["new in even"]
    assert answer.items[-1] == fresh[0]
    assert not any(c.source == "new" for c in Pipeline(bundle, catalogue, explore=0).recommend([query("i2")])[0].items)
    assert not any(c.source == "new" for c in Pipeline(bundle, catalogue).recommend([query("i2", k=9)])[0].items)


def test_new_items_of_other_categories_are_left_alone(bundle: Bundle) -> None:
    catalogue = catalogue_of(extra=(Item(ItemId("new"), "New", "", ("neither",)),))
    assert "new" not in names(Pipeline(bundle, catalogue), query("i2", "i4"))


def test_every_new_item_is_tried_on_somebody(bundle: Bundle) -> None:
    new = tuple(Item(ItemId(f"new{n}"), "", "", ("even",)) for n in range(4))
    pipeline = Pipeline(bundle, catalogue_of(extra=new))
    answers = pipeline.recommend([replace(query("i2"), user=UserId(f"user {n}")) for n in range(100)])
    assert {answer.items[-1].item for answer in answers} == {item.id for item in new}


def test_ranking_puts_what_nobody_knows_last_and_filters_nothing(bundle: Bundle) -> None:
    ranked = Pipeline(bundle, catalogue_of(frozenset({"i6"}))).rank(
        [query("i4", "i5")], [[ItemId("?"), ItemId("i30"), ItemId("i6"), ItemId("i5"), ItemId("i6")]]
    )[0]
    assert ranked[0].item == "i6"
    assert [candidate.item for candidate in ranked][-1] == "?"
    assert len(ranked) == 4
    assert np.isfinite([candidate.score for candidate in ranked]).all()


def test_similar_items_stand_close_on_the_ring_and_are_not_hidden(bundle: Bundle) -> None:
    pipeline = Pipeline(bundle, catalogue_of(frozenset({"i11"})))
    near = [candidate.item for candidate in pipeline.similar([ItemId("i10")], 2)[0]]
    assert set(near) <= {"i8", "i9", "i12"}
    assert pipeline.similar([ItemId("?")], 5) == [[]]


def test_a_new_item_is_similar_to_those_of_its_categories(bundle: Bundle) -> None:
    pipeline = Pipeline(bundle, catalogue_of(extra=(Item(ItemId("new"), "New", "", ("odd",)),)))
    near = pipeline.similar([ItemId("new")], 5)[0]
    assert len(near) == 5
    assert all(int(candidate.item[1:]) % 2 == 1 for candidate in near)


def test_live_trends_change_what_a_new_user_sees_and_nothing_else(bundle: Bundle) -> None:
    pipeline = Pipeline(bundle, catalogue_of())
    live = pipeline.with_live({ItemId("i33"): 3.0, ItemId("unknown"): 99.0}, {ItemId("i33"): 3.0})
    first = live.recommend([query()])[0].items[0]
    assert (first.item, first.source, first.reason) == ("i33", "trending", "trending this week")
    assert names(live, query("i3", "i4"))[0] == names(pipeline, query("i3", "i4"))[0]
    assert live.model == bundle.name


def test_without_a_bundle_what_is_popular_answers() -> None:
    catalogue = catalogue_of()
    counts = {ItemId("i1"): 5.0, ItemId("i2"): 9.0, ItemId("i3"): 1.0}
    pipeline = Pipeline.popular(catalogue, counts, {})
    assert names(pipeline, query(k=2)) == ["i2", "i1"]
    assert names(pipeline, query("i2", k=2))[0] == "i1"
    assert pipeline.model == "popularity"


def test_before_any_event_the_catalogue_itself_is_shown() -> None:
    answer = Pipeline.popular(catalogue_of(), {}, {}).recommend([query(k=4)])[0]
    assert len(answer.items) == 4
    assert {candidate.source for candidate in answer.items} == {"new"}
    assert Pipeline.popular(Catalogue(), {}, {}).recommend([query()])[0].items == ()
