"""A user's events as an adapter reads them: a line each, whose tokens depend on its event alone.

    Fargo (1996) [Crime, Thriller] 4

Each line is turned into tokens by itself, and the tokens follow one another, so that what is added to a stream changes
nothing of what was there before, and a stream read event by event is the stream read at once.
Shapes: N items, E events of all users, U users (V = U + 1), T tokens.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.cleaning import cleaned
from models.language.plain_tokens import PlainTokens

TITLE_MOST: Final = 80  # characters
CATEGORY_MOST: Final = 40
CATEGORIES_MOST: Final = 6
NEXT: Final = "The user's next items:"  # what is asked where a user may do something next

Told = tuple[str, float | None]  # an item in words, and the value of the event, where it has one


def line(title: str, categories: Iterable[str] = ()) -> str:
    """An item in words: what comes from outside is cleaned and cut. title: the item's id where it has none."""
    names = list(dict.fromkeys(name for one in categories if (name := cleaned(one, CATEGORY_MOST))))[:CATEGORIES_MOST]
    said = cleaned(title, TITLE_MOST) or "untitled"
    return f"{said} [{', '.join(names)}]" if names else said


class Context:
    """Tokens of events. Safe to use from several threads."""

    def __init__(self, tokens: PlainTokens) -> None:
        self._plain = lru_cache(maxsize=65_536)(lambda text: tuple(tokens.plain(text)))

    def tokens(self, events: Iterable[Told]) -> list[int]:
        """Those of events, oldest first."""
        return [token for item, value in events for token in self.event(item, value)]

    def event(self, item: str, value: float | None = None) -> tuple[int, ...]:
        """item: as `line` tells it. A value that is no number is none."""
        end = "\n" if value is None or not math.isfinite(value) else f" {value:.4g}\n"
        return (*self._plain(item), *self._plain(end))


class Streams:
    """The streams of many users, by their rows: tokens are made when they are first asked for."""

    def __init__(
        self,
        context: Context,
        lines_N: Sequence[str],
        starts_V: NDArray[np.int64],
        items_E: NDArray[np.int64],
        values_E: NDArray[np.float32],
    ) -> None:
        self._context, self._lines_N = context, lines_N
        self._starts_V, self._items_E, self._values_E = starts_V, items_E, values_E
        self._known: dict[int, tuple[NDArray[np.int32], NDArray[np.int64]]] = {}

    def tokens(self, user: int) -> NDArray[np.int32]:
        """tokens_T of all events of a user."""
        return self._user(user)[0]

    def length(self, user: int, cut: int) -> int:
        """The tokens of the user's first `cut` events."""
        return int(self.ends(user)[cut])

    def ends(self, user: int) -> NDArray[np.int64]:
        """How many tokens the user's first 0, 1, 2 ... events have."""
        return self._user(user)[1]

    def _user(self, user: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        if user not in self._known:
            some = slice(*self._starts_V[user : user + 2].tolist())
            told = [
                self._context.event(self._lines_N[item], value)
                for item, value in zip(self._items_E[some].tolist(), self._values_E[some].tolist(), strict=True)
            ]
            ends = np.cumsum([0, *map(len, told)]).astype(np.int64)
            self._known[user] = np.array([token for one in told for token in one], np.int32), ends
        return self._known[user]
