"""Questions that a frozen language model has read, kept for whoever is asked the same: they hang on no user.

Shapes: B rows, Q tokens of the longest question, H heads of E dimensions, I layers.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from models.soft_prompt.layout import Before

BYTES: Final = 1 << 29  # of keys and values that are kept, at most
TOKENS: Final = 64  # of a question that is kept: a longer one has more in it than a question, and will not come again

Read = Callable[[Sequence[Sequence[int]]], Before]


class Kept:
    """Reads questions that it does not keep, and keeps the latest. Not for several threads at once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._kept: OrderedDict[tuple[int, ...], tuple[Tensor, Tensor]] = OrderedDict()  # keys_IHQE, values_IHQE
        self._bytes = 0

    def before(self, questions: Sequence[Sequence[int]]) -> Before:
        """What the model made of them, a row each."""
        asked = [tuple(question) for question in questions]
        new = [one for one in dict.fromkeys(asked) if one not in self._kept]
        read = self._of(new) if new else {}
        for one in dict.fromkeys(asked):
            if one in self._kept:
                self._kept.move_to_end(one)
                read[one] = self._kept[one]
            elif len(one) <= TOKENS:
                self._kept[one] = read[one]
                self._bytes += _bytes(read[one])
        while self._bytes > BYTES:
            self._bytes -= _bytes(self._kept.popitem(last=False)[1])
        return _together([read[one] for one in asked])

    def clear(self) -> None:
        """Keeps none."""
        self._kept.clear()
        self._bytes = 0

    @torch.no_grad()
    def _of(self, questions: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], tuple[Tensor, Tensor]]:
        before = self._read(questions)
        keys_IBHQE, values_IBHQE = (torch.stack(sides) for sides in zip(*before.layers, strict=True))
        return {
            one: (keys_IBHQE[:, row, :, : len(one)].clone(), values_IBHQE[:, row, :, : len(one)].clone())
            for row, one in enumerate(questions)
        }


def _together(read: Sequence[tuple[Tensor, Tensor]]) -> Before:
    """Padded behind."""
    counts = [keys_IHQE.shape[2] for keys_IHQE, _ in read]
    first = read[0][0]
    sides = []
    for side in range(2):
        whole_IBHQE = first.new_zeros(first.shape[0], len(read), first.shape[1], max(counts), first.shape[3])
        for row, (one, count) in enumerate(zip(read, counts, strict=True)):
            whole_IBHQE[:, row, :, :count] = one[side]
        sides.append(whole_IBHQE)
    return Before(list(zip(*sides, strict=True)), torch.tensor(counts, device=first.device))


def _bytes(read: tuple[Tensor, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in read)
