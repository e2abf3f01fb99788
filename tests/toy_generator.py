"""A generator whose answers one can tell by eye: the items that follow the newest one on a ring, as far as not seen;
and a P5 of it, whose answers to questions say what was asked.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from features.errors import InvalidInput
from models.p5.asks import FROM_MODEL, Answer, Ask
from models.p5.templates import Family, Task


class ToyGenerator:
    """ring: rows in the order of the ring. most: how many items it finds, each likelier by 1 than the next.

    histories, stars, seen: what it was told, call by call.
    """

    def __init__(self, ring: Sequence[int], most: int = 4) -> None:
        self.ring = list(ring)
        self.most = most
        self.histories: list[list[list[int]]] = []
        self.stars: list[Any] = []
        self.seen: list[Any] = []

    def generate(
        self, histories: Sequence[Any], stars: Sequence[Any] | None = None, seen: Sequence[Any] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        self.histories.append([list(map(int, history)) for history in histories])
        self.stars.append(stars)
        self.seen.append(seen)
        rows_BR = np.full((len(histories), self.most), -1, np.int64)
        values_BR = np.zeros((len(histories), self.most), np.float32)
        for place, history in enumerate(histories):
            start = self.ring.index(int(history[-1])) + 1
            known = {*map(int, history), *map(int, seen[place] if seen is not None else ())}
            found = [row for row in (self.ring[start:] + self.ring[:start]) if row not in known][: self.most]
            rows_BR[place, : len(found)] = found
            values_BR[place, : len(found)] = np.arange(len(found))[::-1]
        return rows_BR, values_BR

    def described(self) -> dict[str, Any]:
        return {"preset": "toy"}

    def parts(self, vocabulary: str) -> dict[str, bytes]:
        return {"p5.safetensors": save({"ring": np.array(self.ring)}, {"vocabulary": vocabulary})}


class ToyAnswerer:
    """asked, checked: every question. Of an item it says twice its row; of candidates it takes the greatest; next come
    the rows from 0 that were not seen. Templates end in its family's name.
    """

    def __init__(self, items: int) -> None:
        self.items = items
        self.asked: list[Ask] = []
        self.checked: list[Ask] = []

    def check(self, ask: Ask) -> None:
        self.checked.append(ask)
        if ask.template is not None and not ask.template.startswith(ask.family):
            raise InvalidInput("template", f"{ask.template!r} was given")

    def answer(self, asks: Sequence[Ask]) -> list[Answer]:
        self.asked += asks
        return [self._answer(ask) for ask in asks]

    def _answer(self, ask: Ask) -> Answer:
        known = {*ask.person.items, *ask.seen}
        rows = sorted(ask.candidates, reverse=True) or [row for row in range(self.items) if row not in known][: ask.k]
        stars = None if ask.item is None else 2.0 * ask.item
        items = tuple((row, -1.0 - place) for place, row in enumerate(rows))
        template = ask.template or f"{ask.family}-1"
        return Answer(ask.family, _TASKS[ask.family], template, f"it is {ask.item}", items, stars, -0.5, FROM_MODEL)


class ToyP5(ToyGenerator):
    """A generator that answers questions too."""

    def __init__(self, ring: Sequence[int], most: int = 4) -> None:
        super().__init__(ring, most)
        self.answerer = ToyAnswerer(len(self.ring))


_TASKS = {
    Family.RATING: Task.STARS,
    Family.SEQUENTIAL: Task.NEXT,
    Family.EXPLANATION: Task.EXPLAIN,
    Family.REVIEW: Task.HEADLINE,
    Family.DIRECT: Task.PICK,
}
