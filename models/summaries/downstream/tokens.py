"""Prompts as tokens: pieces of text, then a token for each level of a scale, then one for each item.

Words and numbers are split from punctuation, so that a category is the same piece in an entry, in a summary and in a
question.
Shapes: B prompts, T tokens, L levels, N items.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

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


class Prompts:
    """Writes cases as prompts of one task.

    text: of the pieces. first_level, first_item: the first token of each kind; size: how many tokens there are.
    """

    def __init__(self, text: Tokenizer, log: Log, task: Task, length: int) -> None:
        self.text = text
        self.task = task
        self.length = length
        self.first_level = text.get_vocab_size()
        self.first_item = self.first_level + len(log.levels_L)
        self.size = self.first_item + len(log.vocabulary)
        self._log = log
        self._pieces: dict[str, tuple[int, ...]] = {}  # of entries and questions, which come again and again

    def pieces(self, text: str) -> tuple[int, ...]:
        found = self._pieces.get(text)
        if found is None:
            found = self._pieces[text] = tuple(self.text.encode(text, add_special_tokens=False).ids) or (UNKNOWN,)
        return found

    def of(self, case: Case, known: Told, form: Form) -> tuple[list[int], int]:
        """(tokens, how many of them tell of the user): the oldest are left out of what is too long."""
        history: list[int] = []
        for part in history_of(self._log, case, known, form):
            history += self.pieces(part)
        question = [*self.pieces(QUESTIONS[self.task]), END]
        if self.task is Task.RATING:
            question = [*self.pieces(named(*self._log.names[case.item])), self.first_item + case.item, *question]
        history = history[max(len(history) + len(question) - self.length, 0) :]
        return history + question, len(history)


def padded(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
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
