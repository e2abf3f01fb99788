"""P5s for tests of what they answer: one that nobody trained, and data on which one is trained in a second."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from toy_p5 import tastes

from models.device import Device
from models.p5.config import P5Config, configured, preset
from models.p5.corpus import Corpus
from models.p5.data import P5Data
from models.p5.item_index import build_index
from models.p5.model import new_model
from models.p5.trained import P5
from models.p5.vocabulary import tokenizer_for
from models.p5.words import Words

FLOAT32 = Device("cpu", bf16=False)
WORDS = ("glow", "handle", "shade", "leather", "engine")


def tiny(**settings: object) -> P5Config:
    """Trained in a second, and none the wiser."""
    small = {"dimensions": 16, "hidden": 16, "epochs": 1, "history": 5, "candidates": 4, "following": 2}
    return configured(small | {"vocabulary": 300} | settings, preset("tiny"))


def untrained(data: P5Data, **settings: object) -> tuple[P5, Corpus]:
    """A P5 of random weights for these data, large enough that its answers differ, computed in float32."""
    config = tiny(**settings)
    corpus = Corpus(data, config.mix)
    tokenizer = tokenizer_for(corpus, build_index(config.indexing, data, seed=0, embeddings_ND=None), config)
    torch.manual_seed(1)
    model = new_model(config, tokenizer.size)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.0)
    return P5.of(config, tokenizer, model, corpus, device=FLOAT32), corpus


def told(users: int = 60, items: int = 30) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(events, items) of which every family can be asked: each item is reviewed for a feature of its own."""
    events, catalogue = tastes(users, items)
    number = pl.col("item").str.slice(1).cast(pl.Int64)
    word = number.replace_strict(dict(enumerate(np.resize(WORDS, items).tolist())), return_dtype=pl.String)
    return events.with_columns(
        headline=pl.concat_str(pl.lit("Fine "), word), review=pl.concat_str(pl.lit("The "), word, pl.lit(" is fine."))
    ), catalogue


def log_probability(p5: P5, prompt: Words, answer: Sequence[int]) -> float:
    """Of one answer to one prompt."""
    steps = all_log_probabilities(p5, prompt, answer)
    return sum(float(steps[place, token]) for place, token in enumerate(answer))


def all_log_probabilities(p5: P5, prompt: Words, answer: Sequence[int]) -> torch.Tensor:
    """Of every token at every place of an answer, by transformers' own forward pass, without padding or cache."""
    tokens, places = (torch.tensor([one]) for one in p5.tokenizer.encode(prompt))
    with torch.inference_mode():
        vectors = p5.model.t5.shared(tokens) + p5.model.whole(places)
        logits = p5.model.t5(inputs_embeds=vectors, decoder_input_ids=torch.tensor([[0, *answer[:-1]]])).logits[0]
    return logits.log_softmax(-1)
