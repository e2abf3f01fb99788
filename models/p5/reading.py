"""From sequences, titles and reviews to what P5 is trained on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.frames import Sequences
from models.counts.fitting import Texts
from models.p5.data import P5Data, Review

MOST_STARS: Final = 5


def p5_data(
    known: Sequences,
    texts: Texts,
    targets: Sequences | None = None,
    *,
    reviews: tuple[Review, ...] = (),
    target_reviews: tuple[Review, ...] = (),
) -> P5Data:
    """The sequences as arrays, with each user's target where `targets` has one (its users' only events).

    Ratings count as stars when none is below 0 or above MOST_STARS and not all are the same; otherwise as none.
    reviews, target_reviews: of known and of targets, as `reviews_of` gives them.
    """
    targets_U = np.full(len(known), -1, np.int64)
    target_values_U = np.full(len(known), np.nan, np.float32)
    told: list[Review] = []
    if targets is not None:
        place_of = {user: place for place, user in enumerate(known.users)}
        places = [place_of.get(user, -1) for user in targets.users]
        chosen = np.array([place >= 0 for place in places], np.bool_)
        targets_U[np.array(places, np.int64)[chosen]] = targets.items_E[chosen]
        target_values_U[np.array(places, np.int64)[chosen]] = targets.values_E[chosen]
        told = [replace(one, event=places[one.event]) for one in target_reviews if places[one.event] >= 0]
    rated = are_stars(known.values_E)
    return P5Data(
        known.items_E,
        known.values_E if rated else np.full_like(known.values_E, np.nan),
        known.starts_V,
        targets_U,
        target_values_U if rated else np.full_like(target_values_U, np.nan),
        texts.titles,
        texts.categories,
        reviews,
        tuple(told),
    )


def are_stars(values_E: NDArray[np.float32]) -> bool:
    """Whether these ratings, NaN for none, can be stars."""
    given = values_E[~np.isnan(values_E)]
    return bool(len(given) and given.min() >= 0 and given.max() <= MOST_STARS and given.min() < given.max())


def reviews_of(events: pl.DataFrame, items: Sequence[str]) -> tuple[Review, ...]:
    """The reviews of a frame that has them, by the places that their events have in its `sequences` of these items."""
    if "review" not in events.columns:
        return ()
    known = events.filter(pl.col("item").is_in(pl.Series(items, dtype=pl.String).implode()))
    told = known.with_row_index("event").filter(pl.col("review").fill_null("").str.strip_chars() != "")
    rows = told.select("event", pl.col("headline").fill_null(""), "review").iter_rows()
    return tuple(Review(event, headline.strip(), text.strip()) for event, headline, text in rows)
