"""A data set as questions are asked of it: every user's events cut in what may be known and what is predicted.

    events of a user, oldest first:  [ known: an encoder may be trained on them ............ | predicted ]

Users are parted by a digest of their ids: nobody who is asked about in a test was asked about in training.
Shapes: E events, U users (V = U + 1), N items (M = N + 1), G categories, L categories of all items one after another.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.cleaning import cleaned
from features.datasets import Dataset
from features.errors import InvalidInput
from features.frames import Sequences, ordered, sequences
from models.counts.fitting import texts_of
from models.soft_prompt.tasks import Asking
from models.vocabulary import Vocabulary

NAME_MOST: Final = 80  # characters of a title
CATEGORY_MOST: Final = 40
CATEGORIES_MOST: Final = 256  # the most chosen: what is rarer is asked about hardly ever
HOLDS_MOST: Final = 2  # of so many items a category may hold one: what most items have says nothing of a user


class Split(StrEnum):
    """A part of the users."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """past: all events, as rows of the vocabulary. cut_U: how many of each user's events are known.

    names_N: titles, cleaned. categories_G: names, cleaned, the most popular first. has_NG: which item is of which.
    categories_L, starts_M: the same as numbers, each item's one after another from its start on.
    popularity_N, popularity_G: known events of training users.
    """

    past: Sequences
    vocabulary: Vocabulary
    cut_U: NDArray[np.int64]
    splits: tuple[Split, ...]
    names_N: tuple[str, ...]
    categories_G: tuple[str, ...]
    has_NG: NDArray[np.bool_]
    categories_L: NDArray[np.int64]
    starts_M: NDArray[np.int64]
    popularity_N: NDArray[np.int64]
    popularity_G: NDArray[np.int64]

    def users_of(self, split: Split) -> NDArray[np.int64]:
        """The rows of a split's users."""
        return np.flatnonzero(np.array([one is split for one in self.splits], np.bool_))

    def known(self, events: pl.DataFrame) -> pl.DataFrame:
        """The known ones of the events that the log was made of, as `ordered` gives them: what an encoder that is asked
        to predict may be trained on."""
        return ordered(events).filter(pl.Series(_is_known(self.past, self.cut_U)))


def log_of(data: Dataset, asking: Asking | None = None) -> Log:
    """Raises InvalidInput when there are no categories to ask about, or no users to train on."""
    asking = asking or Asking()
    vocabulary = Vocabulary.of([*data.items["item"], *data.events["item"].drop_nulls()])
    past = sequences(ordered(data.events), vocabulary.items)
    lengths_U = np.diff(past.starts_V)
    cut_U = lengths_U - np.clip(lengths_U // 5, 1, asking.last)
    splits = tuple(split_of(user, asking) for user in past.users)
    texts = texts_of(data.items, vocabulary)
    is_training_U = np.array([split is Split.TRAIN for split in splits], np.bool_)
    learnt_E = past.items_E[_is_known(past, cut_U) & is_training_U[past.numbers()]]
    popularity_N = np.bincount(learnt_E, minlength=len(vocabulary))
    bags = _bags(texts.categories)
    told = _told(bags, popularity_N)
    if len(told) < asking.choices or not len(learnt_E):
        raise InvalidInput(
            "data",
            f"{len(told)} categories that at most half of the items have and {len(learnt_E)} events to train on; "
            f"questions take {asking.choices} categories at least: bring items with categories",
        )
    number_of = {name: number for number, name in enumerate(told)}
    numbers = [[number_of[name] for name in bag if name in number_of] for bag in bags]
    starts_M = np.cumsum([0, *map(len, numbers)]).astype(np.int64)
    categories_L = np.array([number for bag in numbers for number in bag], np.int64)
    has_NG = np.zeros((len(vocabulary), len(told)), np.bool_)
    has_NG[np.repeat(np.arange(len(vocabulary)), np.diff(starts_M)), categories_L] = True
    names = (
        cleaned(title, NAME_MOST) or cleaned(item, NAME_MOST) or "untitled"
        for title, item in zip(texts.titles, vocabulary.items, strict=True)
    )
    return Log(
        past,
        vocabulary,
        cut_U,
        splits,
        tuple(names),
        told,
        has_NG,
        categories_L,
        starts_M,
        popularity_N,
        popularity_N @ has_NG,
    )


def split_of(user: str, asking: Asking) -> Split:
    """Where a user belongs, whoever else there is."""
    share = int.from_bytes(blake2b(user.encode(), digest_size=8, person=b"soft-prompt").digest()) / 2.0**64
    if share < asking.train:
        return Split.TRAIN
    return Split.VALIDATION if share < asking.train + asking.validation else Split.TEST


def _is_known(past: Sequences, cut_U: NDArray[np.int64]) -> NDArray[np.bool_]:
    place_E = np.arange(len(past.items_E)) - np.repeat(past.starts_V[:-1], np.diff(past.starts_V))
    return np.asarray(place_E < np.repeat(cut_U, np.diff(past.starts_V)))


def _bags(categories: Sequence[Sequence[str]]) -> list[list[str]]:
    """Each item's categories by their cleaned names: what reads the same is the same."""
    return [list(dict.fromkeys(name for one in names if (name := cleaned(one, CATEGORY_MOST)))) for names in categories]


def _told(bags: Sequence[Sequence[str]], popularity_N: NDArray[np.int64]) -> tuple[str, ...]:
    """The categories that are asked about, the most popular first."""
    items = Counter(name for bag in bags for name in bag)
    chosen: Counter[str] = Counter()
    for bag, popularity in zip(bags, popularity_N.tolist(), strict=True):
        for name in bag:
            chosen[name] += popularity
    telling = [name for name, count in items.items() if HOLDS_MOST * count <= len(bags) and chosen[name]]
    return tuple(sorted(telling, key=lambda name: (-chosen[name], name))[:CATEGORIES_MOST])
