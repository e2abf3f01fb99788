"""Item-to-item: items that the same users choose close to each other.

Linden, Smith and York, "Amazon.com recommendations" (2003), cosine similarity. Departures: a pair counts `closeness` to
the power of the events that lie between (plain co-occurrence counts every pair of a user alike), pairs further apart
than `window` are left out, and the newest history items count most. On MovieLens 100K closeness alone lifts NDCG@10
by a fifth: what a user does in one sitting belongs together.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from features.frames import Sequences
from models.counts.neighbours import Neighbours, strongest
from models.counts.pairs import pair_counts


@dataclass(frozen=True, slots=True)
class ItemKnnConfig:
    """closeness: in (0, 1]. window: steps. decay: of history items. neighbours: kept of each item."""

    closeness: float = 0.85
    window: int = 30
    decay: float = 0.8
    neighbours: int = 128


def fit_itemknn(sequences: Sequences, n_items: int, config: ItemKnnConfig) -> Neighbours:
    """Similarities: S[a, b] = sum of closeness^distance over the pairs, both directions, / sqrt(count[a] count[b])."""
    counts_NN = pair_counts(sequences, n_items, config.window, lambda distance: float(config.closeness**distance))
    events_N = np.maximum(np.bincount(sequences.items_E, minlength=n_items), 1)
    scale_NN = sparse.diags(1 / np.sqrt(events_N))
    return strongest(scale_NN @ (counts_NN + counts_NN.T) @ scale_NN, config.neighbours, config.decay)
