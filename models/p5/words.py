"""What prompts and answers are made of: words of text, and items, one place each."""

from collections.abc import Sequence

Word = str | int
"""A piece of text without spaces, or an item's row, which the tokenizer writes as the item's index tokens."""

Words = Sequence[Word]


def words_of(text: str, most: int) -> tuple[str, ...]:
    """The first `most` words of a text, as they are written."""
    return tuple(text.split(maxsplit=most)[:most])
