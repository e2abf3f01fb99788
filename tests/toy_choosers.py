"""Users who choose items of a few kinds, some kinds far more than others, and what of the items is said."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from toy_frames import events_of, items_of

from features.datasets import Dataset

KINDS = ("Drama", "Comedy", "Action", "Romance", "Crime", "War", "Western", "Musical")


def dataset(histories: Mapping[str, Sequence[str]], categories: Mapping[str, Sequence[str]]) -> Dataset:
    """Each user's items, oldest first, with their categories; an item is titled "The <id>"."""
    events = events_of(histories).with_columns(type=pl.lit("chose"), value=pl.lit(None, pl.Float64))
    return Dataset("toy", events, items_of(categories))


def choosers(
    users: int = 200, length: int = 30, items: int = 120, seed: int = 0
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """(histories, categories): every user likes some kinds better than others do, and everybody the first ones best.

    An item has one kind, or two; no user has an item twice.
    """
    rng = np.random.default_rng(seed)
    popular_G = 1.0 / np.arange(1, len(KINDS) + 1)
    kinds_N = [
        rng.choice(len(KINDS), rng.integers(1, 3), replace=False, p=popular_G / popular_G.sum()) for _ in range(items)
    ]
    categories = {f"i{item}": [KINDS[kind] for kind in kinds.tolist()] for item, kinds in enumerate(kinds_N)}
    popular_N = 1.0 / np.arange(1, items + 1) ** 0.5
    histories = {}
    for user in range(users):
        taste_G = rng.gamma(0.5, size=len(KINDS)) + 0.05
        weights_N = popular_N * np.array([taste_G[kinds].max() for kinds in kinds_N])
        own = int(rng.integers(length // 2, length + 1))
        chosen = rng.choice(items, min(own, items), replace=False, p=weights_N / weights_N.sum())
        histories[f"u{user}"] = [f"i{item}" for item in chosen.tolist()]
    return histories, categories
