"""A user's history in words before a question: what a soft prompt is measured against.

Shapes: N items, L events.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from numpy.typing import NDArray

from models.language.plain_tokens import PlainTokens
from models.soft_prompt.questions import Question
from models.soft_prompt.reading import Past

if TYPE_CHECKING:  # polars
    from models.soft_prompt.log import Log

ALL: Final = 1_000_000  # events: more than anybody has
TOKENS_MOST: Final = 2048  # of a history; what is older is left out
_HEAD: Final = "The user's items, the newest last:\n"


@dataclass(frozen=True, slots=True, eq=False)
class Telling:
    """lines_N: each item in a line, with its end. counts_N: the tokens of each. newest: events that are told at most.
    tokens: that they may take, head and all."""

    lines_N: Sequence[str]
    counts_N: NDArray[np.int64]
    newest: int
    tokens: int

    @classmethod
    def of(cls, log: "Log", tokens: PlainTokens, newest: int, most: int = TOKENS_MOST) -> Self:
        """Items by their titles, with the categories that are asked about: `Fargo (1996) [Crime, Thriller]`."""
        named = [
            [log.categories_G[category] for category in log.categories_L[start:end].tolist()]
            for start, end in zip(log.starts_M[:-1].tolist(), log.starts_M[1:].tolist(), strict=True)
        ]
        lines = [
            f"{title} [{', '.join(names)}]\n" if names else f"{title}\n"
            for title, names in zip(log.names_N, named, strict=True)
        ]
        counts_N = np.array([len(tokens.plain(line)) for line in lines], np.int64)
        return cls(lines, counts_N, newest, most - len(tokens.plain(f"{_HEAD}\n")))

    def history(self, past: Past) -> str:
        """The newest events in words, oldest first, as many as there is room for; nothing of a past without any."""
        items_L = past.items_L[-self.newest :]
        count = int((np.cumsum(self.counts_N[items_L][::-1]) <= self.tokens).sum())
        told = "".join(self.lines_N[item] for item in items_L[len(items_L) - count :].tolist())
        return f"{_HEAD}{told}\n" if told else ""

    def before(self, question: Question, past: Past) -> Question:
        """The same question, with what is known of its user before it."""
        return replace(question, text=self.history(past) + question.text)

    @property
    def digest(self) -> str:
        """sha256 of all of it."""
        return sha256(repr((_HEAD, self.newest, self.tokens, [*self.lines_N])).encode()).hexdigest()
