"""Items on the wire: what is taken and refused, which version wins, and that encoding loses nothing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InvalidInput
from features.events import ItemId
from features.items import Item, encode_item, newest_versions, parse_item, parse_items

NOW = 2_000_000_000.0


def parsed(body: Any) -> list[Item]:
    return parse_items(json.dumps(body).encode(), NOW, 10)


def refused(body: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as refusal:
        parse_items(body if isinstance(body, bytes) else json.dumps(body).encode(), NOW, 10)
    return refusal.value


def test_every_field_is_read() -> None:
    whole = {
        "item_id": "242",
        "title": "Kolya (1996)",
        "text": "A cellist and a boy.",
        "categories": ["Comedy", "Drama", "Comedy"],
        "attributes": {"year": 1996},
        "hidden": True,
        "timestamp": "1970-01-01T00:00:10Z",
    }
    expected = Item(
        ItemId("242"), "Kolya (1996)", "A cellist and a boy.", ("Comedy", "Drama"), {"year": 1996}, True, 10.0
    )
    assert parsed(whole) == [expected]


def test_an_id_is_enough_and_the_version_is_then_the_arrival() -> None:
    assert parsed({"item_id": "a", "title": None}) == [Item(ItemId("a"), added=NOW)]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"item_id": ""}, "item_id"),
        ({"item_id": "x" * 129}, "item_id"),
        ({"item_id": 5}, "item_id"),
        ({"title": "x" * 1025}, "title"),
        ({"text": "x" * 16_385}, "text"),
        ({"categories": "Comedy"}, "categories"),
        ({"categories": ["Comedy", ""]}, "categories.1"),
        ({"categories": ["c"] * 65}, "categories"),
        ({"attributes": {"x": float("inf")}}, "attributes"),
        ({"attributes": {"x": "y" * 5000}}, "attributes"),
        ({"hidden": 1}, "hidden"),
        ({"timestamp": -1}, "timestamp"),
        ({"timestamp": NOW + 86_401}, "timestamp"),
        ({"timestamp": "2026-11-24"}, "timestamp"),
        ({"name": "Kolya"}, "name"),
        ({"title": "\ud800"}, "title"),
        ({"categories": ["a", "\ud800"]}, "categories.1"),
        ({"attributes": {"x": {"y": "\ud800"}}}, "attributes"),
    ],
)
def test_a_refusal_names_the_field_and_its_place_in_the_list(change: dict[str, Any], field: str) -> None:
    assert refused({"item_id": "a"} | change).field == field
    assert refused([{"item_id": "a"}, {"item_id": "a"} | change]).field == f"1.{field}"


def test_one_wrong_item_refuses_them_all() -> None:
    assert refused([{"item_id": "a"}, {"title": "no id"}]).field == "1.item_id"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)
items = st.builds(
    Item,
    ids.map(ItemId),
    texts,
    texts,
    st.lists(ids, max_size=4, unique=True).map(tuple),
    st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(-9, 9) | texts, max_size=2),
    st.booleans(),
    st.floats(0, NOW).map(lambda number: number + 0.0),
)


@given(items)
def test_what_is_encoded_parses_to_the_same_item(item: Item) -> None:
    assert parse_item(encode_item(item), NOW) == item
    assert parse_items(encode_item(item), NOW, 1) == [item]


few = st.builds(
    Item,
    st.sampled_from([ItemId("a"), ItemId("b")]),
    title=st.sampled_from(["", "x", "y"]),
    hidden=st.booleans(),
    added=st.sampled_from([1.0, 2.0]),
)


@given(st.lists(few, max_size=8), st.randoms(use_true_random=False))
def test_the_version_that_wins_is_free_of_order_and_repetition(versions: list[Item], random: Any) -> None:
    shuffled = versions + versions[:3]
    random.shuffle(shuffled)
    assert newest_versions(shuffled) == newest_versions(versions)


def test_the_later_version_wins() -> None:
    old, new = Item(ItemId("a"), "old", added=1.0), Item(ItemId("a"), "new", added=2.0)
    assert newest_versions([new, old]) == {"a": new}
