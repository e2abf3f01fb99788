"""Explanations taken from reviews: the sentence of a review that speaks of what the item is known for.

P5 takes them from a parser of opinions (Sentires); here a feature of an item is the word that stands out in what
several of its reviewers wrote, and the explanation is the first sentence with it.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
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


def spoken(reviews: Sequence[Review], items: Sequence[int]) -> Mapping[int, Spoken]:
    """By event, the feature and the sentence of each review that has one. items: of each event.

    A word counts by how many other reviews of the item have it, and more the fewer reviews have it at all; of equal
    words the first. A word of every review, or of no other of the item, is no feature.
    """
    words = [dict.fromkeys(_words(review.text)) for review in reviews]
    everywhere = Counter(word for one in words for word in one)
    by_item: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for review, one in zip(reviews, words, strict=True):
        by_item[items[review.event]].update(one)
    found: dict[int, Spoken] = {}
    for review, one in zip(reviews, words, strict=True):
        here = by_item[items[review.event]]
        weights = {word: (here[word] - 1) * math.log(len(reviews) / everywhere[word]) for word in one}
        feature = max(weights, key=weights.__getitem__, default="")
        if feature and weights[feature] > 0:
            found[review.event] = Spoken(feature, _sentence(review.text, feature))
    return found


def _words(text: str) -> Iterable[str]:
    return _WORD.findall(text.lower())


def _sentence(text: str, word: str) -> tuple[str, ...]:
    one = next(sentence for sentence in _END.split(text) if word in _words(sentence))
    return tuple(one.split()[:SENTENCE_WORDS])
