"""What a model writes after prompts: the likeliest next token of each, again and again, for many prompts at once.

What all prompts begin with, such as an instruction, is read once, and not again by a later call whose prompts begin
alike. The rest is read in packs (models/language/packing.py), a token a step is written for a batch of prompts, and
those that are finished, or not wanted any more, leave the batch.
Shapes: B prompts of a batch, V tokens of the vocabulary.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Final

import torch
from torch import Tensor

from models.language.generator import IsWanted, always
from models.language.llama import Cache, Llama
from models.language.packing import bins, packed

BATCH: Final = 16  # prompts written at once; their keys and values are in memory together
PACK: Final = 1024  # tokens read at once
LEAVE: Final = 0.75  # finished prompts leave a batch when so many of it or fewer are left
WORTH: Final = 16  # tokens that must be common beyond those already read, to be read apart


@dataclass(frozen=True, slots=True, eq=False)
class Beginning:
    """Tokens that prompts begin with, read as the one row of a cache."""

    tokens: tuple[int, ...] = ()
    cache: Cache | None = None


class Writer:
    """From tokens to tokens. ends: those that end what is written. For one thread at a time."""

    def __init__(self, model: Llama, ends: Collection[int]) -> None:
        self._model, self._ends = model, ends
        self._begun = Beginning()

    @torch.inference_mode()
    def continued(
        self, prompts: Sequence[list[int]], most: int, is_wanted: IsWanted = always
    ) -> list[tuple[list[int], bool]]:
        """The tokens that are written after each prompt's, and whether an end came after them, which is not among them.

        The prompts are of one token or more, and with `most` no longer than the model reads. is_wanted: asked before
        a batch is read and at each token; what is not wanted may be cut short.
        """
        if not prompts or most < 1:
            return [([], False) for _ in prompts]
        begun = self._beginning(prompts)
        rest = [prompt[len(begun.tokens) :] for prompt in prompts]
        places = sorted(range(len(rest)), key=lambda place: len(rest[place]))  # batches with little padding
        written: list[tuple[list[int], bool]] = []
        for first in range(0, len(places), BATCH):
            batch = places[first : first + BATCH]
            if not any(map(is_wanted, batch)):
                written += [([], False) for _ in batch]
                continue
            cache, logits_BV = self._read([rest[place] for place in batch], begun, most)
            if len(prompts) == 1:
                begun = Beginning(tuple(prompts[0]), cache.cut(cache.size))
            written += self._written(logits_BV, cache, most, [partial(is_wanted, place) for place in batch])
        self._begun = begun
        return [written[row] for row in sorted(range(len(places)), key=places.__getitem__)]

    def _read(self, prompts: Sequence[Sequence[int]], begun: Beginning, most: int) -> tuple[Cache, Tensor]:
        """A batch's cache, with room for `most` tokens more, and logits_BV of the first."""
        lengths = [len(prompt) for prompt in prompts]
        cache = self._model.cache(lengths, most, begun.cache)
        states: dict[int, Tensor] = {}
        for rows in bins(lengths, PACK):
            pack = packed([prompts[row] for row in rows], len(begun.tokens))
            states |= zip(rows, self._model.read(pack, cache, rows), strict=True)
        return cache, self._model.logits(torch.stack([states[row] for row in range(len(prompts))]))

    def _beginning(self, prompts: Sequence[list[int]]) -> Beginning:
        """What all prompts begin with, as far as it was read before or is worth to be read apart; each keeps a token
        of its own."""
        common = tuple(min(prompts)[: min(_alike(min(prompts), max(prompts)), min(map(len, prompts)) - 1)])
        kept = _alike(self._begun.tokens, common)
        begun = Beginning(common[:kept], self._begun.cache.cut(kept) if self._begun.cache and kept else None)
        if len(prompts) > 1 and len(common) - kept >= WORTH:
            begun = Beginning(common, self._read([common[kept:]], begun, 0)[0])
        return begun

    def _written(
        self, logits_BV: Tensor, cache: Cache, most: int, wanted: Sequence[Callable[[], bool]]
    ) -> list[tuple[list[int], bool]]:
        written: list[list[int]] = [[] for _ in logits_BV]
        ended: set[int] = set()
        rows = list(range(len(written)))  # that are in the cache
        for left in reversed(range(most)):
            nexts = logits_BV.argmax(dim=-1)
            for row, token in zip(rows, nexts.tolist(), strict=True):
                if token in self._ends:
                    ended.add(row)
                elif row not in ended:
                    written[row].append(token)
            live = [place for place, row in enumerate(rows) if row not in ended and wanted[row]()]
            if not live or not left:
                break
            if len(live) <= LEAVE * len(rows):
                cache.keep(live)
                rows, nexts = [rows[place] for place in live], nexts[live]
            logits_BV = self._model.logits(self._model.step(nexts, cache))
        return [(tokens, row in ended) for row, tokens in enumerate(written)]


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
