"""Two tastes in titles: people who watch films about space and people who read cookery books, never both."""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
import polars as pl
from numpy.typing import NDArray
from toy_frames import events_of

SPACE = [
    "Apollo mission to the Moon",
    "A rocket bound for Jupiter",
    "The space station in orbit",
    "Galaxies and black holes",
    "Alien planets of distant stars",
    "The starship's last flight",
    "Lost beyond the solar system",
    "The cosmonaut",
    "Asteroid impact",
    "The Saturn probe",
    "First contact with aliens",
    "Stranded on Mars",
]
FOOD = [
    "Easy pasta recipes",
    "The vegetarian kitchen",
    "Soups and stews",
    "Chocolate desserts",
    "Grilling meat outdoors",
    "The art of French cuisine",
    "Salads for summer",
    "Cooking with spices",
    "Pies and tarts",
    "The home chef",
    "Curry nights",
    "Roast chicken dinners",
]
TITLES = {f"s{n}": title for n, title in enumerate(SPACE)} | {f"f{n}": title for n, title in enumerate(FOOD)}


def tastes(users: int = 60, length: int = 7, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(events, items): users of even numbers watch, those of odd numbers read."""
    generator = np.random.default_rng(seed)
    histories = {
        f"u{user}": [f"{'sf'[user % 2]}{n}" for n in generator.permutation(len(SPACE))[:length]]
        for user in range(users)
    }
    items = pl.DataFrame(
        {"item": list(TITLES), "title": list(TITLES.values()), "categories": [[]] * len(TITLES), "text": ""},
        schema={"item": pl.String, "title": pl.String, "categories": pl.List(pl.String), "text": pl.String},
    )
    return events_of(histories), items


class ToyEmbedder:
    """An embedder that knows of each text whether it is of space and whether of food, and that no two are the same.

    seen: what it was given.
    """

    digest = "toy"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.seen += texts
        told = [
            (_is_of(text, "space", SPACE), _is_of(text, "food", FOOD), crc32(text.encode()) / 2**36) for text in texts
        ]
        return np.array(told, np.float32).reshape(-1, 3)


def _is_of(text: str, word: str, titles: Sequence[str]) -> bool:
    return word in text.lower() or text in titles
