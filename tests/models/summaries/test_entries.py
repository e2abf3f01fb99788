"""Entries: what a user did in a line each, cut to a budget that they share."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.events import Event, EventId, ItemId, UserId
from features.items import Item
from models.summaries.entries import Entry, entries_of, fitted, shares

FARGO = Item(ItemId("1"), "Fargo (1996)", categories=("Crime", "Drama"))


def event(item: str | None, value: float | None = None) -> Event:
    return Event(EventId(f"e-{item}"), UserId("ann"), None if item is None else ItemId(item), "view", value, 1.0)


def entry(title: str, *categories: str) -> Entry:
    return Entry(EventId("e"), ItemId("i"), title, categories, "view", 4.0, 1.0)


def in_words(texts: list[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def test_an_entry_says_the_title_the_categories_and_the_value_or_what_was_done() -> None:
    [rated, viewed] = entries_of([event("1", 4.0), event("1")], {FARGO.id: FARGO}.get)
    assert rated.text == "Fargo (1996) [Crime, Drama]: 4"
    assert viewed.text == "Fargo (1996) [Crime, Drama]: view"
    assert rated.named == viewed.named == "Fargo (1996) [Crime, Drama]"
    assert (rated.event, rated.item, rated.at) == ("e-1", "1", 1.0)


def test_an_item_without_a_title_is_called_by_its_id_and_events_about_no_item_are_no_entries() -> None:
    assert [one.text for one in entries_of([event(None), event("7", 4.5)], {}.get)] == ["7: 4.5"]
    untitled = Item(ItemId("7"), categories=("Crime",))
    assert [one.text for one in entries_of([event("7")], {untitled.id: untitled}.get)] == ["7 [Crime]: view"]


def test_what_is_not_seen_is_not_quoted() -> None:
    tricky = Item(ItemId("1"), "Far\u200bgo\u202e\n(1996)", categories=("Cri\u2066me", "\u200b"))
    assert entries_of([event("1", 4.0)], {tricky.id: tricky}.get)[0].text == "Fargo (1996) [Crime]: 4"


def test_what_short_texts_leave_goes_to_the_longer_ones() -> None:
    assert shares([2, 20, 2, 20], 24).tolist() == [2, 10, 2, 10]
    assert shares([20, 20, 20], 10).tolist() == [4, 3, 3]
    assert shares([1, 2, 3], 100).tolist() == [1, 2, 3]
    assert shares([], 5).tolist() == []
    assert shares([5, 5], -1).tolist() == [0, 0]


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(0, 300))
def test_shares_use_the_budget_up_and_favour_nobody(lengths: list[int], budget: int) -> None:
    given_K = shares(lengths, budget)
    assert given_K.sum() == min(sum(lengths), budget)
    assert (given_K <= lengths).all()
    cut = given_K < np.array(lengths, np.int64)
    if cut.any():
        assert given_K.max() - given_K[cut].min() <= 1


def test_entries_within_the_budget_stay_as_they_are() -> None:
    entries = [entry("One two three"), entry("Four", "Drama")]
    assert fitted(entries, 100, lambda one: one.text, in_words) == entries


def test_a_long_title_is_cut_then_the_categories_go_and_the_value_stays() -> None:
    long, short = entry("a b c d e f g h", "Drama"), entry("Four")
    assert [one.text for one in fitted([long, short], 8, lambda one: one.text, in_words)] == [
        "a b c d… [Drama]: 4",
        "Four: 4",
    ]
    assert [one.text for one in fitted([long, short], 4, lambda one: one.text, in_words)] == ["a…: 4", "Four: 4"]


def test_the_last_entries_are_left_out_while_shares_hold_nothing() -> None:
    three = [entry("a b c d e f"), entry("Four"), entry("Five")]
    assert [one.text for one in fitted(three, 4, lambda one: one.text, in_words)] == ["a…: 4", "Four: 4"]
    assert [one.text for one in fitted(three, 3, lambda one: one.text, in_words)] == ["a b…: 4"]
    assert fitted(three, 1, lambda one: one.text, in_words) == []


@given(
    st.lists(st.tuples(st.text(max_size=30), st.lists(st.text(max_size=5), max_size=2)), max_size=6), st.integers(0, 90)
)
def test_cut_entries_are_never_longer_than_the_budget(given_entries: list[tuple[str, list[str]]], budget: int) -> None:
    entries = [entry(title, *categories) for title, categories in given_entries]
    kept = fitted(entries, budget, lambda one: one.text, lambda texts: [len(text.encode()) for text in texts])
    assert sum(len(one.text.encode()) for one in kept) <= budget
