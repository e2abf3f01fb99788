"""Users with a favourite of four categories, an encoder that has learnt nothing, and questions that ask for it."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from toy_choosers import dataset
from toy_sequences import by_hand, tiny, untrained

from models.encoders.data import EncoderData
from models.encoders.frozen import FrozenEncoder
from models.encoders.train import Trained
from models.soft_prompt.config import SoftPromptConfig
from models.soft_prompt.data import AligningData
from models.soft_prompt.log import Log, log_of
from models.soft_prompt.questions import Question
from models.soft_prompt.tasks import Asking, Task

CATEGORIES = ("war", "love", "space", "jazz")
EACH = 5  # items of a category


def quick(**more: object) -> SoftPromptConfig:
    """Small and short enough for a test."""
    small = {"hidden": 16, "heads": 2, "bottleneck": 4, "rank": 2, "batch": 8, "steps": 4, "every": 2, "validation": 8}
    return SoftPromptConfig(**{**small, "learning_rate": 0.01, **more})


def frozen(events: EncoderData, kind: str = "mean", **more: object) -> FrozenEncoder:
    """An encoder of random weights."""
    config = tiny(kind, **more)
    weights = untrained(config, events).state_dict()
    return FrozenEncoder.of(Trained(config, weights, 0, {}, 0.0), events)


def favourites(users: int = 80, seed: int = 0, kind: str = "mean") -> AligningData:
    """A user's events are of one category, which is the answer; the last quarter of the users is for validation."""
    rng = np.random.default_rng(seed)
    favourite_of = rng.integers(len(CATEGORIES), size=users)
    histories = [(EACH * one + rng.integers(EACH, size=rng.integers(3, 9))).tolist() for one in favourite_of]
    events = by_hand(histories, EACH * len(CATEGORIES))
    asked = [
        favourite(user, len(histories[user]) - 1, CATEGORIES[favourite_of[user]], rng.permutation(CATEGORIES).tolist())
        for user in range(users)
    ]
    return AligningData(events, frozen(events, kind), asked[: users * 3 // 4], asked[users * 3 // 4 :])


def logged(data: AligningData) -> Log:
    """The same users as a log, whose items are titled "The i07" and have one category each."""
    starts_V, items = data.events.starts_V.tolist(), [f"i{item:02}" for item in range(EACH * len(CATEGORIES))]
    histories = {
        f"u{user:03}": [items[item] for item in data.events.items_E[first:end].tolist()]
        for user, (first, end) in enumerate(pairwise(starts_V))
    }
    categories = {item: [CATEGORIES[place // EACH]] for place, item in enumerate(items)}
    return log_of(dataset(histories, categories), Asking(recent=4, train=1, validation=0))


def favourite(
    user: int, cut: int, truth: str, choices: Sequence[str] = CATEGORIES, text: str = "likes what"
) -> Question:
    return Question(Task.LONG_TERM, user, cut, text, tuple(choices), list(choices).index(truth), (0, 1, 2, 3))
