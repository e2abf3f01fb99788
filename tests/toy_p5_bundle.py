"""A P5 that has learned a little of users who march round a ring of twenty items, i0 to i19, and of their stars."""

from functools import cache

import polars as pl
from toy_frames import marching

from features.frames import ordered
from models.bundle import Bundle, fit_bundle
from models.counts.fitting import CountsConfig, Texts, texts_of
from models.p5.config import configured, preset
from models.p5.corpus import Corpus
from models.p5.store import training_data
from models.p5.train import train
from models.p5.trained import P5
from models.vocabulary import Vocabulary

ITEMS = 20


@cache
def toy_data() -> tuple[pl.DataFrame, Vocabulary, Texts]:
    """(history, vocabulary, texts): sixty users of six events; every fifth event has five stars, the next one, ..."""
    events, items = marching(users=60, items=ITEMS, length=6)
    stars = pl.Series([float(place % 5 + 1) for place in range(events.height)])
    vocabulary = Vocabulary.of(items["item"])
    return ordered(events.with_columns(value=stars)), vocabulary, texts_of(items, vocabulary)


@cache
def toy_p5(seed: int = 0) -> P5:
    """Trained for two epochs: it writes ids and verdicts, and means little by them."""
    history, vocabulary, texts = toy_data()
    data = training_data(history, vocabulary, texts)
    config = configured({"epochs": 2}, preset("tiny"))
    trained = train(data, config, seed=seed)
    return P5.of(config, trained.tokenizer, trained.model, Corpus(data, config.mix), {"epoch": trained.epoch})


@cache
def toy_bundle(seed: int = 0) -> Bundle:
    """The counting models of the same data, with the P5."""
    history, vocabulary, texts = toy_data()
    fitted = {"fingerprint": "toy", "fit": "serve", "config": CountsConfig(), "seed": seed}
    return fit_bundle(history, vocabulary, texts, p5=toy_p5(seed), **fitted)
