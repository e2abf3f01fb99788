"""Every counting model by its name, and their settings in one place.

Shapes: N items, B histories.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.errors import UnknownName
from features.frames import Sequences
from models.counts.content import MOST_ITEMS as CONTENT_MOST_ITEMS
from models.counts.content import ContentConfig, fit_content
from models.counts.ease import MOST_ITEMS as EASE_MOST_ITEMS
from models.counts.ease import EaseConfig, fit_ease
from models.counts.itemknn import ItemKnnConfig, fit_itemknn
from models.counts.neighbours import History, Neighbours
from models.counts.pctm import PctmConfig, fit_pctm
from models.counts.popularity import WEEK_SECONDS, Popularity, Trending, fit_popularity
from models.counts.transitions import TransitionsConfig, fit_transitions
from models.vocabulary import Vocabulary

COUNTING_MODELS: Final = ("popularity", "trending", "transitions", "pctm", "itemknn", "ease", "content")


@dataclass(frozen=True, slots=True)
class CountsConfig:
    """half_life: of trending, seconds. ease_most_items, content_most_items: left out of larger catalogues."""

    transitions: TransitionsConfig = field(default_factory=TransitionsConfig)
    pctm: PctmConfig = field(default_factory=PctmConfig)
    itemknn: ItemKnnConfig = field(default_factory=ItemKnnConfig)
    ease: EaseConfig = field(default_factory=EaseConfig)
    content: ContentConfig = field(default_factory=ContentConfig)
    half_life: float = WEEK_SECONDS
    ease_most_items: int = EASE_MOST_ITEMS
    content_most_items: int = CONTENT_MOST_ITEMS

    def fused(self, n_items: int) -> tuple[str, ...]:
        """The models that a pipeline fuses at this size of catalogue.

        Transitions are not among them: beside PCTM, which counts the same pairs, their weight comes out as nothing or
        less.
        """
        names = ["pctm", "itemknn"]
        if n_items <= self.ease_most_items:
            names.append("ease")
        if n_items <= self.content_most_items:
            names.append("content")
        return tuple(names)


@dataclass(frozen=True, slots=True)
class Texts:
    """What the items say of themselves, in the vocabulary's order."""

    titles: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]


class ScoresHistories(Protocol):
    """A fitted model."""

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """scores_BN for histories of item rows, oldest first; of each only the newest HISTORY_LENGTH count."""


def texts_of(items: pl.DataFrame, vocabulary: Vocabulary) -> Texts:
    """The texts of a vocabulary's items; empty for those that the frame lacks."""
    known: dict[Any, tuple[str, tuple[str, ...]]] = {
        item: (title or "", tuple(categories or ()))
        for item, title, categories in items.select("item", "title", "categories").iter_rows()
    }
    found = [known.get(item, ("", ())) for item in vocabulary.items]
    return Texts(tuple(title for title, _ in found), tuple(categories for _, categories in found))


def fit_table(name: str, sequences: Sequences, texts: Texts, config: CountsConfig) -> Neighbours:
    """The table of a model that has one. Raises UnknownName."""
    n_items = len(texts.titles)
    match name:
        case "transitions":
            return fit_transitions(sequences, n_items, config.transitions)
        case "pctm":
            return fit_pctm(sequences, n_items, config.pctm)
        case "itemknn":
            return fit_itemknn(sequences, n_items, config.itemknn)
        case "ease":
            return fit_ease(sequences, n_items, config.ease)
        case "content":
            return fit_content(texts.titles, texts.categories, config.content)
    raise UnknownName(f"no counting model {name!r}; there are {', '.join(COUNTING_MODELS)}")


def fit_model(name: str, sequences: Sequences, texts: Texts, config: CountsConfig) -> ScoresHistories:
    """Any counting model. Raises UnknownName."""
    if name in ("popularity", "trending"):
        popularity = fit_counts(sequences, texts, config)
        return popularity if name == "popularity" else Trending(popularity)
    return fit_table(name, sequences, texts, config)


def fit_counts(sequences: Sequences, texts: Texts, config: CountsConfig) -> Popularity:
    """Popularity of the items."""
    return fit_popularity(sequences, len(texts.titles), config.half_life)
