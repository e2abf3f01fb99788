"""Words of a text."""

import pytest

from models.p5.words import words_of


@pytest.mark.parametrize(
    ("text", "most", "words"),
    [
        ("Toy  Story (1995)\n", 5, ("Toy", "Story", "(1995)")),
        ("a b c", 2, ("a", "b")),
        ("a b c", 3, ("a", "b", "c")),
        (" ", 3, ()),
        ("", 3, ()),
        ("a b", 0, ()),
    ],
)
def test_a_text_is_cut_into_words(text: str, most: int, words: tuple[str, ...]) -> None:
    assert words_of(text, most) == words
