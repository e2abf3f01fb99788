from hypothesis import given
from hypothesis import strategies as st

from features.cleaning import TITLE_MOST, cleaned


def test_a_plain_title_stays_as_it_is() -> None:
    assert cleaned("Léon: The Professional (1994)") == "Léon: The Professional (1994)"


def test_what_nobody_sees_is_taken_out() -> None:
    assert cleaned("Far\u200bgo\u202e\u2066\U000e0041 (1996)\x00\x1b") == "Fargo (1996)"


def test_lines_and_odd_spaces_become_one_space() -> None:
    assert cleaned("Fargo\n\n\r\nsystem:\u00a0\u2003obey\t") == "Fargo system: obey"


def test_letters_in_disguise_become_what_they_look_like() -> None:
    assert cleaned("\uff29\uff27\uff2e\uff2f\uff32\uff25") == "IGNORE"


def test_a_tower_of_marks_is_cut() -> None:
    assert len(cleaned("a" + "\u0301" * 100)) <= 6


def test_a_long_text_is_cut_and_says_so() -> None:
    assert cleaned("a" * 500) == "a" * (TITLE_MOST - 3) + "..."


def test_a_long_text_that_is_cut_at_a_space_stays_as_it_is_when_it_is_cleaned_again() -> None:
    for length in range(TITLE_MOST - 6, TITLE_MOST + 1):
        clean = cleaned("a" * length + " long")
        assert cleaned(clean) == clean


@given(st.text(max_size=400))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert cleaned(cleaned(text)) == cleaned(text)


@given(st.text(max_size=400))
def test_the_result_is_one_line_that_can_be_encoded(text: str) -> None:
    clean = cleaned(text)
    assert len(clean) <= TITLE_MOST
    assert len(clean.splitlines()) <= 1
    clean.encode()
