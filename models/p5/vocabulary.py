"""The tokenizer that a training starts from: a checkpoint's, or one trained on what prompts and answers are made of."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

from features.errors import WeightsRefused
from models.p5.config import P5Config
from models.p5.corpus import Corpus
from models.p5.item_index import ItemIndex
from models.p5.model import text_vocabulary
from models.p5.templates import TEMPLATES
from models.p5.tokens import P5Tokenizer, trained_on

FREQUENT: Final = 100  # how often the words of templates and means of stars count, beside those of titles


def tokenizer_for(corpus: Corpus, index: ItemIndex, config: P5Config) -> P5Tokenizer:
    """Raises WeightsRefused when the configuration's checkpoint is none."""
    if not config.checkpoint:
        return P5Tokenizer(trained_on(_words(corpus), config.vocabulary), index)
    folder = Path(config.checkpoint)
    size = text_vocabulary(folder)
    try:
        text = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
        raise WeightsRefused(f"{folder}: its tokenizer.json cannot be read: {error}") from None
    return P5Tokenizer(text, index, size)


def _words(corpus: Corpus) -> Iterator[str]:
    """What is not left to events: templates, numbers, titles, categories; and the reviews of training."""
    for template in TEMPLATES:
        for part in template.parts:
            if not isinstance(part, str):
                yield from [*part, *FACTS] * FREQUENT
    for tenths in range(10, 51):
        yield from [f"{tenths / 10:.1f}", str(tenths // 10)] * FREQUENT
    yield from corpus.data.titles
    for categories in corpus.data.categories:
        yield from categories
    for review in corpus.data.reviews:
        yield review.headline
        yield review.text


# The words of answers: verdicts, opinions, and the sentences made from facts.
FACTS: Final = ("yes", "no", "like", "dislike", "nothing", "unknown")
