"""From frames to data: each user's target, stars that are none, and reviews at their events."""

import numpy as np
import polars as pl
import pytest
from toy_frames import events_of, items_of
from toy_p5 import NONE, read

from features.frames import sequences
from models.p5.reading import are_stars, reviews_of

EVENTS = events_of({"ann": "abcd", "bob": "dcb", "cid": "ab"})
ITEMS = items_of({"a": ["War"], "b": [], "c": ["War", "Film Noir"], "d": []})


def rated(values: list[float | None]) -> pl.DataFrame:
    return EVENTS.with_columns(pl.Series("value", values, pl.Float64))


def test_each_user_has_the_items_before_and_the_next_as_target() -> None:
    data, vocabulary = read(rated([1, 2, 3, 4, None, 5, 2, 1, 1]), ITEMS)
    names = [vocabulary.items[row] for row in data.items_E]
    assert names == ["a", "b", "d"]
    assert data.starts_V.tolist() == [0, 2, 3]
    assert [vocabulary.items[row] for row in data.targets_U] == ["c", "c"]
    np.testing.assert_array_equal(data.values_E, [1, 2, NONE])
    assert data.target_values_U.tolist() == [3, 5]
    assert data.titles[vocabulary.row_of["c"]] == "The c"
    assert data.categories[vocabulary.row_of["c"]] == ("War", "Film Noir")


@pytest.mark.parametrize("values", [(7.0, 1.0, 3.0), (-1.0, 1.0, 3.0), (1.0, 1.0, 1.0), (None, None, None)])
def test_ratings_that_are_no_stars_count_as_none(values: tuple[float | None, ...]) -> None:
    assert not are_stars(np.array(values, np.float32))
    data, _ = read(rated([*values] * 3), ITEMS)
    assert np.isnan(data.values_E).all()
    assert np.isnan(data.target_values_U).all()


def test_reviews_are_found_by_the_place_of_their_event() -> None:
    said = {"headline": ["x", None, " h "] * 3, "review": [" a ", "b", None, "", "e", " ", "g", "h", "i"]}
    events = EVENTS.with_columns(pl.Series(name, column, pl.String) for name, column in said.items())
    reviews = reviews_of(events, ["a", "b", "c", "d"])
    assert [(one.event, one.headline, one.text) for one in reviews] == [
        (0, "x", "a"),
        (1, "", "b"),
        (4, "", "e"),
        (6, "x", "g"),
        (7, "", "h"),
        (8, "h", "i"),
    ]
    known = ["b", "c"]
    places = sequences(events, known)
    for one in reviews_of(events, known):
        original = events.filter(pl.col("review").str.strip_chars() == one.text).row(0, named=True)
        assert known[places.items_E[one.event]] == original["item"]
    assert reviews_of(EVENTS, known) == ()


def test_a_review_of_a_target_is_that_of_its_user() -> None:
    said = {"headline": ["h"] * 9, "review": [f"r{place}" for place in range(9)]}
    events = EVENTS.with_columns(pl.Series(name, column, pl.String) for name, column in said.items())
    data, _ = read(events, ITEMS)
    assert [(one.event, one.text) for one in data.reviews] == [(0, "r0"), (1, "r1"), (2, "r4")]
    assert [(one.event, one.text) for one in data.target_reviews] == [(0, "r2"), (1, "r5")]
