"""From a data set to what a soft prompt is learned from: an encoder of what is known, and questions about its users."""

import numpy as np

from features.datasets import Dataset, fingerprint
from models.counts.fitting import texts_of
from models.encoders.config import EncoderConfig
from models.encoders.frozen import FrozenEncoder
from models.encoders.reading import encoder_data
from models.encoders.store import Cut, EncoderStore
from models.soft_prompt.data import AligningData
from models.soft_prompt.drawing import draw, even
from models.soft_prompt.log import Log, Split, log_of
from models.soft_prompt.questions import Question
from models.soft_prompt.tasks import Asking


def prepared(
    dataset: Dataset, encoders: EncoderStore, config: EncoderConfig, asking: Asking | None = None, seed: int = 0
) -> tuple[Log, AligningData]:
    """The data set as it is asked about, and questions about its training and validation users with an encoder of
    `config` that knows no event behind a user's cut; its training stops by the last ones before.

    The validation questions are even, and in a drawn order: any first ones of them are of every task. Raises what
    `log_of`, `draw` and `EncoderStore.pair` do: InvalidInput, UnknownName, BundleRefused.
    """
    asking = asking or Asking()
    log = log_of(dataset, asking)
    questions, validation = asked_of(log, asking, seed)
    return log, AligningData(
        encoder_data(log.past, texts_of(dataset.items, log.vocabulary)),
        encoder_of(dataset, log, encoders, config, asking, seed),
        questions,
        validation,
    )


def asked_of(log: Log, asking: Asking, seed: int = 0) -> tuple[list[Question], list[Question]]:
    """Questions about training users, and even ones, in a drawn order, about validation users. Raises InvalidInput."""
    validation = even(draw(log, Split.VALIDATION, asking, seed=seed), seed)
    order = np.random.default_rng(seed).permutation(len(validation)).tolist()
    return draw(log, Split.TRAIN, asking, seed=seed), [validation[place] for place in order]


def encoder_of(
    dataset: Dataset, log: Log, encoders: EncoderStore, config: EncoderConfig, asking: Asking, seed: int
) -> FrozenEncoder:
    """The encoder alone, of the data set and its log. Raises what `EncoderStore.pair` does."""
    texts = texts_of(dataset.items, log.vocabulary)
    cut = Cut(fingerprint(dataset), f"leave-{asking.last}-out")
    pair = encoders.pair(log.known(dataset.events), log.vocabulary, texts, cut, config, seed, fit="train")
    return pair.kept.retriever.encoder
