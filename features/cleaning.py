"""Text from outside made safe to quote: nothing that is not seen, nothing that turns the order of letters, no length
without end.

What an item's title or a review says is data. Characters that no reader sees, or that change how their neighbours are
shown, have no business in a prompt or on a page: they hide instructions from the person who checks.
"""

import re
import unicodedata
from typing import Final

TITLE_MOST: Final = 200  # characters
TEXT_MOST: Final = 2000

# Cc controls, Cf zero-width and bidirectional ones and tags, Cs lone surrogates, Co private use, Cn unassigned.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_ALSO_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_SPACES: Final = re.compile(r"\s+")
_MARKS_MOST: Final = 4  # combining marks on one letter: scripts need a few, a tower of them is a trick


def cleaned(text: str, most: int = TITLE_MOST) -> str:
    """The text in one line without unseen characters, at most `most` characters long, three dots where it was cut.

    Compatibility forms become the letters that they look like (NFKC), spaces of all kinds one space. Cleaning what is
    clean changes nothing.
    """
    text = _SPACES.sub(" ", text[: 16 * most])
    text = _ALSO_UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    kept: list[str] = []
    marks = 0
    for letter in text:
        category = unicodedata.category(letter)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category not in _UNSEEN and marks <= _MARKS_MOST:
            kept.append(letter)
    text = unicodedata.normalize("NFKC", _SPACES.sub(" ", "".join(kept)).strip())
    return text if len(text) <= most else text[: most - 3].rstrip() + "..."  # what NFKC makes of an ellipsis
