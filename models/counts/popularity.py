"""Popularity: how often each item was chosen, over all time and of late.

Shapes: N items, B histories.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.frames import Sequences
from models.counts.neighbours import History

WEEK_SECONDS: Final = 7 * 86_400.0


@dataclass(frozen=True, slots=True, eq=False)
class Popularity:
    """counts_N: events of each item. trending_N: the same, each event halved for every half-life of its age."""

    counts_N: NDArray[np.float32]
    trending_N: NDArray[np.float32]

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """scores_BN: the counts, the same for everybody (a view that cannot be written to)."""
        return np.broadcast_to(self.counts_N, (len(histories), len(self.counts_N)))

    def log_counts(self) -> NDArray[np.float32]:
        """logs_N: log(1 + count) in units of its standard deviation over the items."""
        logs_N = np.log1p(self.counts_N)
        return np.asarray(logs_N / (logs_N.std() or 1.0), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Trending:
    """Popularity of late, as a model of its own."""

    popularity: Popularity

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """scores_BN: the decayed counts, the same for everybody (a view that cannot be written to)."""
        trending_N = self.popularity.trending_N
        return np.broadcast_to(trending_N, (len(histories), len(trending_N)))


def fit_popularity(sequences: Sequences, n_items: int, half_life: float = WEEK_SECONDS) -> Popularity:
    """Counts of the items. half_life: seconds; ages are relative to the newest event, so that old data has a trend."""
    ages_E = sequences.at_E.max(initial=0.0) - sequences.at_E
    decayed_E = np.exp2(-ages_E / half_life)
    return Popularity(
        np.bincount(sequences.items_E, minlength=n_items).astype(np.float32),
        np.bincount(sequences.items_E, decayed_E, minlength=n_items).astype(np.float32),
    )
