"""Sequences for tests of encoders, by hand or of users who march round a ring, and encoders small enough for both."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from toy_frames import marching

from features.frames import hold_out_last, ordered, sequences
from models.counts.fitting import Texts, texts_of
from models.device import Device
from models.encoders.config import EncoderConfig
from models.encoders.data import EncoderData
from models.encoders.model import Encoder
from models.encoders.reading import encoder_data
from models.encoders.train import sides_of
from models.vocabulary import Vocabulary

CPU = Device("cpu", bf16=False)
UNKNOWN = float("nan")


def tiny(kind: str = "sasrec", **more: Any) -> EncoderConfig:
    """16 dimensions, nothing dropped, no side information unless it is asked for."""
    plain = {"dimensions": 16, "dropout": 0.0, "length": 8, "words": False, "categories": False}
    quick = {"batch": 16, "epochs": 12, "patience": 4, "learning_rate": 0.01}
    return EncoderConfig(kind, **(plain | quick | more))


def by_hand(
    histories: Sequence[Sequence[int]],
    n_items: int,
    *,
    targets: Sequence[int] | None = None,
    at: Sequence[Sequence[float]] | None = None,
    values: Sequence[Sequence[float]] | None = None,
    words: Sequence[Sequence[int]] | None = None,
    categories: Sequence[Sequence[int]] | None = None,
) -> EncoderData:
    """The users' items as given; a second apart and unrated, without words or categories, where not given."""
    starts_V = np.cumsum([0, *map(len, histories)])
    items_E = np.array([item for history in histories for item in history], np.int64)
    times = at or [list(map(float, range(len(history)))) for history in histories]
    rated = values or [[UNKNOWN] * len(history) for history in histories]
    words_W, word_starts_M = _bags(words or [[]] * n_items)
    categories_G, category_starts_M = _bags(categories or [[]] * n_items)
    return EncoderData(
        items_E,
        np.array([value for one in rated for value in one], np.float32),
        np.array([time for one in times for time in one], np.float64),
        starts_V.astype(np.int64),
        np.full(len(histories), -1, np.int64) if targets is None else np.array(targets, np.int64),
        words_W,
        word_starts_M,
        categories_G,
        category_starts_M,
    )


def marched(users: int = 60, items: int = 20, length: int = 8, seed: int = 0) -> EncoderData:
    """Users who march round a ring; each one's last event is the target."""
    return read(*marching(users, items, length, seed))[0]


def read(events: pl.DataFrame, items: pl.DataFrame) -> tuple[EncoderData, Vocabulary, Texts]:
    """Frames as data, each user's last event the target."""
    vocabulary = Vocabulary.of([*items["item"], *events["item"]])
    texts = texts_of(items, vocabulary)
    held_out = hold_out_last(ordered(events))
    known, targets = (sequences(part, vocabulary.items) for part in (held_out.history, held_out.targets))
    return encoder_data(known, texts, targets), vocabulary, texts


def untrained(config: EncoderConfig, data: EncoderData, seed: int = 0) -> Encoder:
    """An encoder with random weights, those of HSTU's distances too, that drops nothing."""
    torch.manual_seed(seed)
    encoder = Encoder(config, data.n_items, sides_of(data)).eval()
    for name, weights in encoder.named_parameters():
        if name.endswith(("distances", "bias", "log_rates", "skip")):
            torch.nn.init.normal_(weights, std=0.5)
    return encoder


def _bags(bags: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.array([number for bag in bags for number in bag], np.int64)
    return numbers, np.cumsum([0, *map(len, bags)]).astype(np.int64)
