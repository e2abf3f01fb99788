import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_histories import films

from features.cleaning import cleaned
from models.summaries.naming import NAME_MOST, described, spoken, year_of

STRANGELOVE = "Dr. Strangelove or: How I Learned to Stop Worrying and Love"


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Fargo (1996)", "Fargo"),
        ("Godfather, The (1972)", "The Godfather"),
        ("Sunset Blvd. (1950)", "Sunset Blvd"),
        ("Avventura, L' (1960)", "L'Avventura"),
        ("Umbrellas, The (Parapluies, Les) (1964)", "The Umbrellas (Parapluies, Les)"),
        ("Good, The Bad and The Ugly, The (1966)", "The Good, The Bad and The Ugly"),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey"),
        ("Shampoo (12 oz)", "Shampoo (12 oz)"),
        ("Pets (1997) (V)", "Pets"),
        ("Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb (1963)", STRANGELOVE),
        ("a" * 300, "a" * 60),
    ],
)
def test_a_title_is_called_as_one_says_it(title: str, name: str) -> None:
    assert spoken(title) == name


@given(st.text(max_size=200))
def test_a_name_is_short_and_ends_no_sentence(title: str) -> None:
    name = spoken(title)
    assert len(name) <= NAME_MOST
    assert not name.endswith(".")
    assert cleaned(f"Loved {name}!") == f"Loved {name}!"


def test_the_year_is_the_one_at_the_end() -> None:
    assert (year_of("1941 (1979)"), year_of("1941"), year_of("Room (12)")) == (1979, None, None)


def test_an_item_that_nobody_described_is_called_by_its_id() -> None:
    rows = described(films(), pl.Series(["fargo", "b-17"])).rows()
    assert rows == [("b-17", "b-17", "b-17", None, []), ("fargo", "Fargo", "Fargo (1996)", 1996, ["Crime", "Drama"])]


def test_what_nobody_sees_is_in_no_name() -> None:
    items = films({"x": ("Far\u200bgo\u202e (1996)", ["Cri\u0000me", "\u200b", "Crime"])})
    assert described(items, pl.Series(["x"])).rows() == [("x", "Fargo", "Fargo (1996)", 1996, ["Crime"])]
