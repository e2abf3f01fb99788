"""From sequences and titles to what encoders are trained on."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.frames import Sequences
from models.counts.fitting import Texts
from models.encoders.data import EncoderData

RARE: Final = 2  # a word of fewer items than this says no more than the item's own row
WORDS_MOST: Final = 50_000
_WORD: Final = re.compile(r"\w[\w']*")


def encoder_data(known: Sequences, texts: Texts, targets: Sequences | None = None) -> EncoderData:
    """The sequences as arrays, with each user's target where `targets` has one (its users' only events)."""
    targets_U = np.full(len(known), -1, np.int64)
    if targets is not None:
        place_of = {user: place for place, user in enumerate(known.users)}
        for user, item in zip(targets.users, targets.items_E.tolist(), strict=True):
            if user in place_of:
                targets_U[place_of[user]] = item
    bags = bags_of(texts)
    words_W, word_starts_M = _numbered(bags["words"])
    categories_G, category_starts_M = _numbered(bags["categories"])
    return EncoderData(
        known.items_E,
        known.values_E,
        known.at_E,
        known.starts_V,
        targets_U,
        words_W,
        word_starts_M,
        categories_G,
        category_starts_M,
    )


def bags_of(texts: Texts) -> Mapping[str, Sequence[Sequence[str]]]:
    """What each item's words and categories are, each once."""
    return {
        "words": _bags(_WORD.findall(title.lower()) for title in texts.titles),
        "categories": _bags(texts.categories),
    }


def names_of(bags: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The names in RARE bags or more, the commonest first: a name's place is its number."""
    counts = Counter(name for bag in bags for name in bag)
    common = sorted((name for name, count in counts.items() if count >= RARE), key=lambda name: (-counts[name], name))
    return tuple(common[:WORDS_MOST])


def _bags(named: Iterable[Iterable[str]]) -> list[list[str]]:
    return [list(dict.fromkeys(bag)) for bag in named]


def _numbered(bags: Sequence[Sequence[str]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(numbers of the names, where each bag starts and the end)."""
    number_of = {name: number for number, name in enumerate(names_of(bags))}
    numbers = [[number_of[name] for name in bag if name in number_of] for bag in bags]
    starts_M = np.cumsum([0, *map(len, numbers)])
    return np.array([number for bag in numbers for number in bag], np.int64), starts_M.astype(np.int64)
