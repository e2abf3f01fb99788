"""Explanations taken from reviews: the sentence of a review that speaks of what the item is known for.

P5 takes them from a parser of opinions (Sentires); here a feature of an item is the word that stands out in what
several of its reviewers wrote, and the explanation is the first sentence with it.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from models.p5.data import Review

SHORTEST: Final = 4  # letters of a feature
SENTENCE_WORDS: Final = 30
_WORD: Final = re.compile(rf"[^\W\d_]{{{SHORTEST},}}")
_END: Final = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class Spoken:
    """feature: a word, in lower case. sentence: the words in which it stands, as written."""

    feature: str
    sentence: tuple[str, ...]


class Features:
    """What the reviewers of each item write of it. items: of each event."""

    def __init__(self, reviews: Sequence[Review], items: Sequence[int]) -> None:
        self._count = len(reviews)
        self._everywhere: Counter[str] = Counter()
        self._by_item: defaultdict[int, Counter[str]] = defaultdict(Counter)
        for review in reviews:
            words = set(_words(review.text))
            self._everywhere.update(words)
            self._by_item[items[review.event]].update(words)

    def of(self, text: str, item: int, *, is_one: bool = False) -> Spoken | None:
        """The feature of the item that this review speaks of. is_one: whether it is one of those counted.

        A word weighs by how many other reviews of the item have it, and more the fewer reviews have it at all; of
        equal words the first. A word of every review, or of no other of the item, is no feature.
        """
        here = self._by_item[item] if item in self._by_item else Counter()
        weights = {
            word: (here[word] - is_one) * math.log(self._count / self._everywhere[word])
            for word in dict.fromkeys(_words(text))
            if here[word] > is_one
        }
        feature = max(weights, key=weights.__getitem__, default="")
        if not feature or weights[feature] <= 0:
            return None
        return Spoken(feature, _sentence(text, feature))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _sentence(text: str, word: str) -> tuple[str, ...]:
    one = next(sentence for sentence in _END.split(text) if word in _words(sentence))
    return tuple(one.split()[:SENTENCE_WORDS])
