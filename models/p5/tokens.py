"""Words to tokens and back: pieces of text from a SentencePiece-like tokenizer, and behind them the index tokens.

A word of text is written as its pieces, the first of which begins with "▁"; an item as the index tokens of its id.
Whatever a word is made of shares one place, for whole-word embeddings (Geng et al., 2022, section 4.2).
Shapes: B prompts, T tokens, N items, C the tokens of the longest id.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from features.errors import InvalidInput
from models.p5.item_index import ItemIndex
from models.p5.words import Word, Words

PAD: Final = 0  # these three are T5's
END: Final = 1
UNKNOWN: Final = 2
SPECIAL: Final = ("<pad>", "</s>", "<unk>")
MARK: Final = "\u2581"
_PUNCTUATION: Final = rf"[^\w{MARK}.]|\.(?!\d)"  # not the point of a number: means of stars are single pieces
LETTERS: Final = 500  # characters that a tokenizer trained here knows


class P5Tokenizer:
    """text: of the pieces, whose ids are below `first_item`; the index tokens come after, in the index's order.

    n_text: the ids that belong to text; more than the tokenizer has where a checkpoint's embeddings are padded.
    """

    def __init__(self, text: Tokenizer, index: ItemIndex, n_text: int | None = None) -> None:
        self.text = text
        self.index = index
        self.n_text = text.get_vocab_size() if n_text is None else n_text
        self.size = self.n_text + len(index.tokens)
        self.item_tokens_NC = np.where(index.codes_NC >= 0, index.codes_NC + self.n_text, -1).astype(np.int32)
        self._items = [
            tuple(code[:length])
            for code, length in zip(self.item_tokens_NC.tolist(), index.lengths_N.tolist(), strict=True)
        ]
        self._pieces: dict[str, tuple[int, ...]] = {}

    def pieces(self, word: str) -> tuple[int, ...]:
        """The tokens of a word of text; at least one."""
        found = self._pieces.get(word)
        return found or tuple(self.text.encode(word, add_special_tokens=False).ids) or (UNKNOWN,)

    def remember(self, words: Iterable[Word]) -> None:
        """Keeps the pieces of these words, short ones and no more than REMEMBERED, so that they are found faster.

        Nothing else is kept: what users write must not stay in memory.
        """
        for word in words:
            if len(self._pieces) >= REMEMBERED:
                return
            if isinstance(word, str) and len(word) <= LONGEST and word not in self._pieces:
                self._pieces[word] = self.pieces(word)

    def without_memory(self) -> "P5Tokenizer":
        """The same tokenizer, which remembers no word."""
        text = Tokenizer.from_str(self.text.to_str())
        text.model._resize_cache(0)  # the library remembers words as well
        return P5Tokenizer(text, self.index, self.n_text)

    def encode(self, words: Words) -> tuple[list[int], list[int]]:
        """(tokens, places): the place of each token's word from 1 on; with the end, whose place is 0."""
        tokens: list[int] = []
        places: list[int] = []
        pieces, items = self._pieces, self._items
        for place, word in enumerate(words, start=1):
            found = items[word] if isinstance(word, int) else pieces.get(word) or self.pieces(word)
            tokens += found
            places += [place] * len(found)
        tokens.append(END)
        places.append(0)
        return tokens, places

    def prompts(
        self, prompts: Sequence[Words], most: int, *, cut: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(tokens_BT, places_BT), padded with 0.

        A prompt of more than `most` tokens raises InvalidInput, or with `cut` loses its last words.
        """
        encoded = [self.encode(words) for words in prompts]
        for number, (tokens, places) in enumerate(encoded):
            if len(tokens) <= most:
                continue
            if not cut:
                raise InvalidInput(
                    "prompt",
                    f"{len(tokens)} tokens were given, and the model reads {most}: shorten the text, or name fewer "
                    "candidates",
                )
            encoded[number] = ([*tokens[: most - 1], END], [*places[: most - 1], 0])
        return _padded([tokens for tokens, _ in encoded]), _padded([places for _, places in encoded])

    def answers(self, answers: Sequence[Words]) -> NDArray[np.int64]:
        """tokens_BT, padded with 0. An answer of items alone has no end: each id ends where its tokens do."""
        found = []
        for words in answers:
            tokens, _ = self.encode(words)
            found.append(tokens[:-1] if all(isinstance(word, int) for word in words) else tokens)
        return _padded(found)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens up to the end, index tokens by their names."""
        parts = []
        for token in tokens:
            if token == END:
                break
            if token >= self.n_text:
                parts.append(self.index.tokens[token - self.n_text])
            elif token > UNKNOWN:
                parts.append(self.text.id_to_token(token) or "")
        return "".join(parts).replace(MARK, " ").strip()


REMEMBERED: Final = 20_000  # words
LONGEST: Final = 32  # characters of a word that is remembered


def trained_on(words: Iterable[str], most: int) -> Tokenizer:
    """A tokenizer of at most `most` pieces, by byte-pair encoding (Sennrich et al., 2016) of these words.

    The words decide, not their order: they are sorted first.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[UNKNOWN], fuse_unk=True))
    _write_as_t5(tokenizer)
    trainer = trainers.BpeTrainer(
        vocab_size=most, special_tokens=list(SPECIAL), limit_alphabet=LETTERS, show_progress=False
    )
    tokenizer.train_from_iterator(sorted(words), trainer)
    return tokenizer


def _write_as_t5(tokenizer: Tokenizer) -> None:
    """Text as T5's SentencePiece has it: in compatible characters, and words marked where they begin."""
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(MARK, prepend_scheme="always"),
            pre_tokenizers.Split(Regex(_PUNCTUATION), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(MARK, prepend_scheme="always")


def _padded(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    padded_BT = np.zeros((len(rows), max(map(len, rows), default=0)), np.int64)
    for place, row in enumerate(rows):
        padded_BT[place, : len(row)] = row
    return padded_BT
