"""Data for tests of P5, by hand, of random tastes, or of the reviews beside this file, which are invented."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from features.datasets import load
from features.frames import hold_out_last, ordered, sequences
from models.counts.fitting import texts_of
from models.p5.data import P5Data, Review
from models.p5.reading import p5_data, reviews_of
from models.vocabulary import Vocabulary

NONE = float("nan")
INVENTED = Path(__file__).parent / "invented_reviews"
KINDS = ("Comedy", "Drama", "War", "Film Noir", "Western")


def by_hand(
    histories: Sequence[Sequence[int]],
    *,
    stars: Sequence[Sequence[float]] | None = None,
    categories: Sequence[Sequence[str]] = ((),),
    titles: Sequence[str] | None = None,
    targets: Sequence[int] | None = None,
    target_stars: Sequence[float] | None = None,
    reviews: Sequence[Review] = (),
) -> P5Data:
    """The users' items as given; unrated and without targets where not given. As many items as categories."""
    values = stars or [[NONE] * len(history) for history in histories]
    return P5Data(
        np.array([item for history in histories for item in history], np.int64),
        np.array([value for one in values for value in one], np.float32),
        np.cumsum([0, *map(len, histories)]).astype(np.int64),
        np.array(targets if targets is not None else [-1] * len(histories), np.int64),
        np.array(target_stars if target_stars is not None else [NONE] * len(histories), np.float32),
        tuple(titles or [f"Title {row}" for row in range(len(categories))]),
        tuple(map(tuple, categories)),
        tuple(reviews),
    )


def tastes(users: int = 12, items: int = 30, length: int = 9, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(events, items): everybody takes some items at random and rates most of them; some write a word or two."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"u{user:02d}", f"i{item}", float(at), None if rng.random() < 0.1 else float(rng.integers(1, 6)))
        for user in range(users)
        for at, item in enumerate(rng.permutation(items)[: int(rng.integers(3, length + 1))].tolist())
    ]
    events = pl.DataFrame(
        [(f"e-{place:05d}", *row, "Well", f"Word{place} of the thing.") for place, row in enumerate(rows)],
        {
            "event_id": pl.String,
            "user": pl.String,
            "item": pl.String,
            "at": pl.Float64,
            "value": pl.Float64,
            "headline": pl.String,
            "review": pl.String,
        },
        orient="row",
    )
    catalogue = pl.DataFrame(
        {
            "item": [f"i{item}" for item in range(items)],
            "title": [f"The Title {item}" for item in range(items)],
            "categories": [[kind for kind in KINDS if rng.random() < 0.3] for _ in range(items)],
        }
    )
    return events, catalogue


def read(events: pl.DataFrame, items: pl.DataFrame, *, reviewed: bool = True) -> tuple[P5Data, Vocabulary]:
    """Frames as data: each user's last event is left out, and the one before is the target."""
    vocabulary = Vocabulary.of([*items["item"], *events["item"]])
    known = hold_out_last(hold_out_last(ordered(events)).history)
    data = p5_data(
        sequences(known.history, vocabulary.items),
        texts_of(items, vocabulary),
        sequences(known.targets, vocabulary.items),
        reviews=reviews_of(known.history, vocabulary.items) if reviewed else (),
        target_reviews=reviews_of(known.targets, vocabulary.items) if reviewed else (),
    )
    return data, vocabulary


def invented() -> tuple[P5Data, Vocabulary]:
    """The invented reviews as data."""
    dataset = load(str(INVENTED), Path("/no/home"))
    return read(dataset.events, dataset.items)
