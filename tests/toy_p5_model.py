"""A P5 that a second trains: users who walk a ring of items, one step at a time."""

from dataclasses import replace

import numpy as np
from toy_p5 import by_hand

from models.device import Device
from models.p5.config import P5Config, preset
from models.p5.data import P5Data

CPU = Device("cpu", bf16=False)
ITEMS = 12
KINDS = (("Comedy",), ("Drama",), ("War",))


def ringed(users: int = 60, steps: int = 6, seed: int = 0) -> P5Data:
    """Everybody starts somewhere on a ring of items and takes each next one; the target is the next again."""
    starts = np.random.default_rng(seed).integers(0, ITEMS, users).tolist()
    walks = [[(start + step) % ITEMS for step in range(steps + 1)] for start in starts]
    return by_hand(
        [walk[:-1] for walk in walks],
        stars=[[1.0 + item % 5 for item in walk[:-1]] for walk in walks],
        categories=[KINDS[item % len(KINDS)] for item in range(ITEMS)],
        targets=[walk[-1] for walk in walks],
        target_stars=[1.0 + walk[-1] % 5 for walk in walks],
    )


def tiny(**settings: object) -> P5Config:
    """For tests: what the ring needs to be learnt."""
    few = {
        "dropout": 0.0,
        "history": 5,
        "following": 3,
        "candidates": 4,
        "batch": 32,
        "sequential": 1.0,
        "learning_rate": 5e-3,
    }
    return replace(preset("tiny"), **{**few, **settings})  # type: ignore[arg-type]
