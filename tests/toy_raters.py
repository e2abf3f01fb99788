"""People who rate films about space 5 and books of recipes 1, or the other way round, each in an order of their own."""

import numpy as np
import polars as pl

from models.device import Device
from models.summaries.downstream.config import DownstreamConfig

CPU = Device("cpu", bf16=False)
SHELVES = {"s": "Space", "f": "Food"}
ITEMS = pl.DataFrame(
    {
        "item": [f"{shelf}{n}" for shelf in SHELVES for n in range(12)],
        "title": [f"{shelf.upper()}{n}" for shelf in SHELVES for n in range(12)],
        "categories": [[name] for name in SHELVES.values() for _ in range(12)],
        "text": "",
    }
)
SMALL = DownstreamConfig(
    dimensions=32,
    heads=2,
    hidden=64,
    layers=1,
    dropout=0.0,
    vocabulary=200,
    test=3,
    validation=2,
    earlier=6,
    cases=20,
    candidates=4,
    learning_rate=5e-3,
    batch=20,
    examples=3600,
    rounds=3,
)


def raters(users: int = 40, length: int = 20, seed: int = 0) -> pl.DataFrame:
    """Events, a second apart: users of even numbers like space."""
    generator = np.random.default_rng(seed)
    names = ITEMS["item"].to_list()
    rows = []
    for user in range(users):
        for at, place in enumerate(generator.permutation(len(names))[:length].tolist()):
            is_liked = names[place].startswith("sf"[user % 2])
            rows.append((f"u{user}", names[place], "rating", 5.0 if is_liked else 1.0, float(at)))
    schema = {"user": pl.String, "item": pl.String, "type": pl.String, "value": pl.Float64, "at": pl.Float64}
    return pl.DataFrame(rows, schema, orient="row").select(
        pl.format("e-{}", pl.int_range(pl.len()).cast(pl.String).str.zfill(6)).alias("event_id"), pl.all()
    )
