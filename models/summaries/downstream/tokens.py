"""Prompts as tokens: pieces of text, then the tokens that answer, then one for each item.

Words and numbers are split from punctuation, so that a category is the same piece in an entry, in a summary and in a
question. What is asked about is told by its title and categories and by its own token. A rating is answered once, by
one of the scale's levels; a choice beside each candidate, by how well it suits.
Shapes: B prompts, T tokens.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from models.p5.tokens import LETTERS, SPECIAL, UNKNOWN
from models.summaries.downstream.cases import Case, Log, Task, rows_of
from models.summaries.downstream.forms import Form, Told, history_of
from models.summaries.entries import named

QUESTIONS: Final[Mapping[Task, str]] = {
    Task.RATING: "Which rating will it get?",
    Task.CHOICE: "Which of these comes next?",
}
_PIECES: Final = r"\d+\.\d+|\w+|[^\w\s]+"


Tokens = tuple[int, ...]


class Prompt(NamedTuple):
    """told: the parts that tell of the user, in order. question: what is asked. marks: where in it is answered."""

    told: tuple[Tokens, ...]
    question: Tokens
    marks: tuple[int, ...]

    @property
    def history(self) -> int:
        """How many tokens tell of the user."""
        return sum(map(len, self.told))


class Prompts:
    """Writes cases as prompts of one task.

    text: of the pieces. first_answer: the first of the tokens that answer, and answers: how many there are. size: of
    all tokens.
    """

    def __init__(self, text: Tokenizer, log: Log, task: Task, length: int) -> None:
        self.text = text
        self.task = task
        self.length = length
        self.first_answer = text.get_vocab_size()
        self.answers = len(log.levels_L) if task is Task.RATING else 1
        self._first_item = self.first_answer + self.answers
        self.size = self._first_item + len(log.vocabulary)
        self._log = log
        self._pieces: dict[str, Tokens] = {}  # of entries and questions, which come again and again

    def pieces(self, text: str) -> Tokens:
        found = self._pieces.get(text)
        if found is None:
            found = self._pieces[text] = tuple(self.text.encode(text, add_special_tokens=False).ids) or (UNKNOWN,)
        return found

    def of(self, case: Case, known: Told, form: Form) -> Prompt:
        """A case in a form; of what is too long, the oldest entries are left out."""
        asked = list(self.pieces(QUESTIONS[self.task]))
        marks: list[int] = []
        for row in rows_of(self.task, case):
            asked += (*self.pieces(named(*self._log.names[row])), self._first_item + row)
            marks.append(len(asked) - 1)
        told = [self.pieces(part) for part in history_of(self._log, case, known, form)]
        room = self.length - len(asked) - sum(map(len, told))
        first = 0
        while room < 0:
            room += len(told[first])
            first += 1
        return Prompt(tuple(told[first:]), tuple(asked), tuple(marks))


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
