"""From sequences and titles to what P5 is trained on."""

import numpy as np

from features.frames import Sequences
from models.counts.fitting import Texts
from models.p5.data import P5Data, Review


def p5_data(
    known: Sequences, texts: Texts, targets: Sequences | None = None, reviews: tuple[Review, ...] = ()
) -> P5Data:
    """The sequences as arrays, with each user's target where `targets` has one (its users' only events)."""
    targets_U = np.full(len(known), -1, np.int64)
    target_values_U = np.full(len(known), np.nan, np.float32)
    if targets is not None:
        place_of = {user: place for place, user in enumerate(known.users)}
        places = np.array([place_of.get(user, -1) for user in targets.users], np.int64)
        is_known = places >= 0
        targets_U[places[is_known]] = targets.items_E[is_known]
        target_values_U[places[is_known]] = targets.values_E[is_known]
    return P5Data(
        known.items_E,
        known.values_E,
        known.starts_V,
        targets_U,
        target_values_U,
        texts.titles,
        texts.categories,
        reviews,
    )
