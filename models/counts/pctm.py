"""PCTM: transitions whose evidence saturates, less a little popularity.

A counting model of transitions (Spotify, RecSys 2026). Transitions a -> b within `window` steps are counted with the
weight 1 / (d + 1)^power, d = 0 for neighbours; the evidence is E[a, b] = log(1 + C[a, b] / tau); an item's score is the
mean of E over the history, each step back counting `decay` of the one before it, less popularity * log(1 + count).
Departure: the paper's tau is given for n * C with n the size of the catalogue (11,250 at 12,101 items); ours divides C
itself (.93), so that one value serves catalogues of different sizes.
"""

from dataclasses import dataclass, replace

import numpy as np

from features.frames import Sequences
from models.counts.neighbours import Neighbours, strongest
from models.counts.pairs import pair_counts


@dataclass(frozen=True, slots=True)
class PctmConfig:
    """window: steps. tau: the count at which evidence bends. decay: of history items. neighbours: kept of each item."""

    window: int = 10
    power: float = 0.5
    tau: float = 0.93
    decay: float = 0.6
    popularity: float = 0.04
    neighbours: int = 128


def fit_pctm(sequences: Sequences, n_items: int, config: PctmConfig) -> Neighbours:
    """The evidence as a table, with the popularity as its bias."""
    evidence_NN = pair_counts(sequences, n_items, config.window, lambda distance: float(distance**-config.power))
    evidence_NN.data = np.log1p(evidence_NN.data / config.tau)
    counts_N = np.bincount(sequences.items_E, minlength=n_items)
    bias_N = (-config.popularity * np.log1p(counts_N)).astype(np.float32)
    return replace(strongest(evidence_NN, config.neighbours, config.decay), bias_N=bias_N)
