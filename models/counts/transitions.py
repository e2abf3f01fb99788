"""Sequential rules: what was chosen within a few steps after an item.

Kamehkhosh, Jannach and Ludewig, "A comparison of frequent pattern techniques and a deep learning method for
session-based recommendation" (2017): a rule a -> b weighs 1 / distance for every b within `window` steps after an a.
Departures: the rules of all recent history items are added up, each step back counting `decay` of the one before it,
where the paper uses the last item's only; an item's rules are divided by its count to the power `norm`, halfway between
the rules' counts (0) and their confidence (1), so that what is chosen often does not drown what is chosen rarely.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from features.frames import Sequences
from models.counts.neighbours import Neighbours, strongest
from models.counts.pairs import pair_counts


@dataclass(frozen=True, slots=True)
class TransitionsConfig:
    """window: steps. norm: in [0, 1]. decay: of history items. neighbours: rules kept of each item."""

    window: int = 20
    norm: float = 0.5
    decay: float = 0.6
    neighbours: int = 128


def fit_transitions(sequences: Sequences, n_items: int, config: TransitionsConfig) -> Neighbours:
    """The rules as a table."""
    counts_NN = pair_counts(sequences, n_items, config.window, lambda distance: 1 / distance)
    events_N = np.maximum(np.bincount(sequences.items_E, minlength=n_items), 1)
    scale_NN = sparse.diags(events_N**-config.norm)
    return strongest(scale_NN @ counts_NN, config.neighbours, config.decay)
