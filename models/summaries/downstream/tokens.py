"""Prompts as tokens: pieces of text, then the tokens that answer, then one for each item.

Words and numbers are split from punctuation, so that a category is the same piece in an entry, in a summary and in a
question. A rating is asked for by an item's title, categories and own token, and answered by a level of the scale; a
choice is answered by an item.
Shapes: B prompts, T tokens.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from models.p5.tokens import END, LETTERS, SPECIAL, UNKNOWN
from models.summaries.downstream.cases import Case, Log, Task
from models.summaries.downstream.forms import Form, Told, history_of
from models.summaries.entries import named

QUESTIONS: Final[Mapping[Task, str]] = {
    Task.RATING: "Which rating will it get?",
    Task.CHOICE: "Which item comes next?",
}
_PIECES: Final = r"\d+\.\d+|\w+|[^\w\s]+"

Tokens = tuple[int, ...]


class Prompt(NamedTuple):
    """told: the parts that tell of the user, in order. question: what is asked, up to its end."""

    told: tuple[Tokens, ...]
    question: Tokens

    @property
    def history(self) -> int:
        """How many tokens tell of the user."""
        return sum(map(len, self.told))


class Prompts:
    """Writes cases as prompts of one task.

    text: of the pieces. first_level, first_item: the first token of each kind; size: how many tokens there are.
    answers: those that answer.
    """

    def __init__(self, text: Tokenizer, log: Log, task: Task, length: int) -> None:
        self.text = text
        self.task = task
        self.length = length
        self.first_level = text.get_vocab_size()
        self.first_item = self.first_level + len(log.levels_L)
        self.size = self.first_item + len(log.vocabulary)
        self.answers = (
            range(self.first_level, self.first_item) if task is Task.RATING else range(self.first_item, self.size)
        )
        self._log = log
        self._pieces: dict[str, Tokens] = {}  # of entries and questions, which come again and again

    def pieces(self, text: str) -> Tokens:
        found = self._pieces.get(text)
        if found is None:
            found = self._pieces[text] = tuple(self.text.encode(text, add_special_tokens=False).ids) or (UNKNOWN,)
        return found

    def of(self, case: Case, known: Told, form: Form) -> Prompt:
        """A case in a form; of what is too long, the oldest entries are left out."""
        asked = (*self.pieces(QUESTIONS[self.task]), END)
        if self.task is Task.RATING:
            asked = (*self.pieces(named(*self._log.names[case.item])), self.first_item + case.item, *asked)
        told = [self.pieces(part) for part in history_of(self._log, case, known, form)]
        room = self.length - len(asked) - sum(map(len, told))
        first = 0
        while room < 0 and first < len(told):
            room += len(told[first])
            first += 1
        return Prompt(tuple(told[first:]), asked)


def padded(rows: Sequence[Sequence[int] | NDArray[np.int64]]) -> NDArray[np.int64]:
    """tokens_BT, padded with 0."""
    tokens_BT = np.zeros((len(rows), max(map(len, rows), default=0)), np.int64)
    for place, row in enumerate(rows):
        tokens_BT[place, : len(row)] = row
    return tokens_BT


def trained_on(texts: Iterable[str], most: int) -> Tokenizer:
    """A tokenizer of at most `most` pieces, by byte-pair encoding (Sennrich et al., 2016) of these texts, which decide,
    and not their order."""
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[UNKNOWN], fuse_unk=True))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECES), "removed", invert=True)
    trainer = trainers.BpeTrainer(
        vocab_size=most, special_tokens=list(SPECIAL), limit_alphabet=LETTERS, show_progress=False
    )
    tokenizer.train_from_iterator(sorted(texts), trainer)
    return tokenizer
