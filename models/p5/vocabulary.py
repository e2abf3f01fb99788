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
from models.p5.questions import CATEGORY_WORDS, TITLE_WORDS, Asker
from models.p5.templates import TEMPLATES
from models.p5.tokens import P5Tokenizer, trained_on
from models.p5.words import words_of

LEAST: Final = 20  # how often the words of templates count, and a tenth of the items where those are many


def tokenizer_for(corpus: Corpus, index: ItemIndex, config: P5Config) -> P5Tokenizer:
    """Raises InvalidInput when the configuration's checkpoint is no T5, WeightsRefused when it cannot be used."""
    if not config.checkpoint:
        return P5Tokenizer(trained_on(_words(corpus), config.vocabulary), index)
    folder = Path(config.checkpoint)
    size = text_vocabulary(folder)
    try:
        text = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
        raise WeightsRefused(f"{folder}: its tokenizer.json cannot be read: {error}") from None
    most = max(text.get_vocab().values(), default=-1) + 1
    if most > size:
        raise WeightsRefused(
            f"{folder}: its tokenizer.json has {most} ids and its config.json a vocab_size of {size}; name a folder "
            "whose files belong together"
        )
    return P5Tokenizer(text, index, size)


def _words(corpus: Corpus) -> Iterator[str]:
    """What is not left to users: the words of templates and answers and the means of stars, often enough to be pieces
    of their own; titles and categories; and the reviews of training."""
    data = corpus.data
    yield from [*_fixed()] * max(LEAST, data.n_items // 10)
    yield from data.titles
    for categories in data.categories:
        yield from categories
    for review in data.reviews:
        yield review.headline
        yield review.text


def words_of_prompts(asker: Asker) -> Iterator[str]:
    """What prompts are made of, but for items and what users write: words of templates, stars, titles, categories."""
    yield from _fixed()
    for title, names in zip(asker.titles, asker.categories, strict=True):
        yield from words_of(title, TITLE_WORDS)
        yield from words_of(", ".join(names), CATEGORY_WORDS)


def _fixed() -> set[str]:
    said = {word for template in TEMPLATES for part in template.parts if not isinstance(part, str) for word in part}
    return said | {*ANSWERS, *(f"{tenths / 10:.1f}" for tenths in range(10, 51)), *"12345"}


# The words of verdicts, opinions, empty slots, and of the sentences that facts make.
ANSWERS: Final = (
    *("yes", "no", "like", "dislike", "nothing", "unknown"),
    *("You", "rated", "high", "low", "had", "before", "and", "this", "is", "too", "."),
)
