"""What encoders are trained on: sequences and what is known of the items, as plain arrays in one safetensors file.

Everything that training needs is in this value, so that it can run where there is nothing but torch and safetensors.
Shapes: E events, U users, V = U + 1, N items, B sequences, L positions.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from features.errors import InvalidInput


@dataclass(frozen=True, slots=True, eq=False)
class EncoderData:
    """items_E: item rows, each user's oldest first, users one after another from starts_V on.

    values_E: ratings, NaN for none. at_E: epoch seconds. targets_U: each user's next item, which training stops by;
    -1 for a user who has none. words_W and categories_G: numbers of the words of the titles and of the categories, the
    items' one after another from word_starts_M and category_starts_M on (M = N + 1).
    """

    items_E: NDArray[np.int64]
    values_E: NDArray[np.float32]
    at_E: NDArray[np.float64]
    starts_V: NDArray[np.int64]
    targets_U: NDArray[np.int64]
    words_W: NDArray[np.int64]
    word_starts_M: NDArray[np.int64]
    categories_G: NDArray[np.int64]
    category_starts_M: NDArray[np.int64]

    @property
    def n_items(self) -> int:
        return len(self.word_starts_M) - 1

    @property
    def n_users(self) -> int:
        return len(self.starts_V) - 1


def save_data(data: EncoderData, path: Path) -> None:
    """Writes the arrays to one file."""
    save_file({one.name: np.ascontiguousarray(getattr(data, one.name)) for one in fields(EncoderData)}, path)


def load_data(path: Path) -> EncoderData:
    """What `save_data` wrote."""
    return EncoderData(**load_file(path))


def gap_buckets(at_L: NDArray[np.float64]) -> NDArray[np.int64]:
    """The place of each time since the event before on a scale of powers of four seconds, 1 to GAPS - 1; 0 for the
    first event."""
    gaps_L = np.maximum(np.diff(at_L), 1.0)
    return np.concatenate([[0], 1 + np.minimum(np.log2(gaps_L) // 2, GAPS - 2)]).astype(np.int64)[: len(at_L)]


def rating_places(values_E: NDArray[np.float32]) -> NDArray[np.int64]:
    """The place of each rating rounded, from 0 to 5, plus 1; 0 for none. Ratings beyond count as the nearest."""
    return np.where(np.isnan(values_E), 0, np.clip(np.rint(np.nan_to_num(values_E)), 0, 5) + 1).astype(np.int64)


GAPS = 14  # 4 ** 12 seconds are half a year
RATINGS = 7  # none, and 0 to 5


def windows(data: EncoderData, length: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(begins, ends) of stretches of events that together hold every step from an event to the next.

    A user of more than length + 1 events is cut at places drawn anew for each call, so that every event is met with
    contexts of every length. A stretch shares its first event with the last of the one before; but the last reaches
    back to a whole length, so that the newest events are met with what serving reads, and some steps twice. Users of
    one event have none.
    """
    begins, ends = [], []
    for first, end in zip(data.starts_V[:-1].tolist(), data.starts_V[1:].tolist(), strict=True):
        if end - first < 2:
            continue
        if end - first <= length + 1:
            begins.append(first)
            ends.append(end)
            continue
        cut = first + int(rng.integers(1, length + 1))
        while True:
            begins.append(max(first, cut - length))
            ends.append(min(cut + 1, end))
            if cut + 1 >= end:
                break
            cut = min(cut + length, end - 1)
    return np.array(begins, np.int64), np.array(ends, np.int64)


def check(data: EncoderData, *, is_fixed: bool) -> None:
    """Raises InvalidInput when there is nothing to learn from, or, unless the number of epochs is fixed, to stop by."""
    steps = int(np.maximum(np.diff(data.starts_V) - 1, 0).sum())
    if data.n_items < 2 or steps < MOST_NEEDED:
        raise InvalidInput(
            "data",
            f"{data.n_items} items and {steps} steps from an event to the next are too few for an encoder; "
            f"it takes at least {MOST_NEEDED} steps: use counting models, or bring more events",
        )
    if data.items_E.min(initial=0) < 0 or data.items_E.max(initial=0) >= data.n_items:
        raise InvalidInput("data", "an event's item is no row of the items")
    if not is_fixed and not ((data.targets_U >= 0) & (np.diff(data.starts_V) > 0)).any():
        raise InvalidInput("data", "no user has a target that training could stop by; leave out somebody's last event")


MOST_NEEDED = 100
