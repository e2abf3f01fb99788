"""How many tokens a text takes for a model whose tokens are not known here, or are known by its tokenizer alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from unicodedata import normalize

from features.errors import WeightsRefused

Count = Callable[[Sequence[str]], Sequence[int]]
"""How many tokens each text takes, or an upper bound."""


def most_tokens(texts: Sequence[str]) -> list[int]:
    """An upper bound for each text, whatever the model: a token stands for one byte of UTF-8 or more, in byte-level BPE
    and in SentencePiece with its fall back to bytes, which may first compose letters (NFKC, that can lengthen) and put
    a space before all."""
    return [max(_bytes(text), _bytes(normalize("NFKC", text))) + 1 if text else 0 for text in texts]


def tokens_by(file: Path) -> Count:
    """How many tokens each text takes by a tokenizer.json. Raises WeightsRefused when the file is none."""
    from tokenizers import Tokenizer  # here, for a server that only counts models does without

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # noqa: BLE001 - tokenizers raises Exception itself
        raise WeightsRefused(f"{file}: {error}; give the tokenizer.json of the model that reads the prompts") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda texts: [len(one.ids) for one in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
