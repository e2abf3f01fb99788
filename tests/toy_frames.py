"""Small frames of events and items for tests of models."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

EVENTS_SCHEMA = {"event_id": pl.String, "user": pl.String, "item": pl.String, "at": pl.Float64}


def events_of(histories: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Each user's items, oldest first, one second apart."""
    rows = [(user, item, float(at)) for user, items in histories.items() for at, item in enumerate(items)]
    return pl.DataFrame([(f"e-{place:06d}", *row) for place, row in enumerate(rows)], EVENTS_SCHEMA, orient="row")


def items_of(categories: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Items with these categories, titled "The <id>"."""
    return pl.DataFrame(
        {
            "item": list(categories),
            "title": [f"The {item}" for item in categories],
            "categories": [list(names) for names in categories.values()],
            "text": [""] * len(categories),
        },
        schema={"item": pl.String, "title": pl.String, "categories": pl.List(pl.String), "text": pl.String},
    )


def marching(users: int, items: int, length: int, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Users who each start somewhere on a ring of items and take the next one, or now and then the one after."""
    generator = np.random.default_rng(seed)
    histories = {}
    for user in range(users):
        place, taken = int(generator.integers(items)), []
        for _ in range(length):
            taken.append(f"i{place % items}")
            place += 1 + int(generator.random() < 0.2)
        histories[f"u{user}"] = taken
    return events_of(histories), items_of({f"i{item}": ["even" if item % 2 == 0 else "odd"] for item in range(items)})
