"""What is told of a user: the same from a history as from the timeline of all users."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InvalidInput
from models.p5.past import Person, Timeline, star_number, star_numbers

NONE = float("nan")
stars = st.sampled_from([NONE, 0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0])


def test_a_history_tells_its_newest_events_oldest_first() -> None:
    person = Person([7, 8, 9, 5, 6], [5, NONE, 2, 3.5, 1])
    assert person.newest(2) == [5, 6]
    assert person.newest(9) == [7, 8, 9, 5, 6]
    assert person.rated(3) == [(9, 2), (5, 4), (6, 1)]
    assert person.liked(2) == [(8, 0), (5, 4)]
    assert person.mean() == pytest.approx(11.5 / 4)


def test_a_history_without_stars_likes_all_of_it() -> None:
    person = Person([7, 8])
    assert person.liked(5) == [(7, 0), (8, 0)]
    assert person.rated(5) == []
    assert math.isnan(person.mean())


def test_an_empty_history_tells_nothing() -> None:
    assert (Person([]).newest(3), Person([]).rated(3), Person([]).liked(3)) == ([], [], [])
    assert math.isnan(Person([]).mean())


def test_stars_that_are_not_one_for_each_item_are_refused() -> None:
    with pytest.raises(InvalidInput, match="2 for 1 items"):
        Person([1], [1.0, 2.0])


@given(st.lists(st.tuples(st.integers(0, 9), stars), max_size=30), st.data(), st.integers(1, 8))
def test_the_timeline_tells_what_the_same_history_tells(
    events: list[tuple[int, float]], data: st.DataObject, most: int
) -> None:
    end = data.draw(st.integers(0, len(events)))
    length = data.draw(st.integers(0, end))
    past = Timeline(
        np.array([item for item, _ in events], np.int64), np.array([one for _, one in events], np.float32)
    ).before(end, length)
    person = Person([item for item, _ in events[end - length : end]], [one for _, one in events[end - length : end]])
    assert past.newest(most) == person.newest(most)
    assert past.rated(most) == person.rated(most)
    assert past.liked(most) == person.liked(most)
    assert past.mean() == pytest.approx(person.mean(), nan_ok=True)


@given(st.lists(st.one_of(st.just(NONE), st.floats(0, 6, width=32))))
def test_many_stars_are_rounded_as_one_is(values: list[float]) -> None:
    assert star_numbers(np.array(values, np.float32)).tolist() == [star_number(value) for value in values]


@pytest.mark.parametrize(
    ("stars", "number"), [(0, 1), (0.5, 1), (1.4, 1), (2.5, 3), (4.5, 5), (5, 5), (9, 5), (NONE, 0)]
)
def test_a_half_counts_as_the_more(stars: float, number: int) -> None:
    assert star_number(stars) == number
