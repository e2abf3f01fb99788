"""How items are written as words: each has an id of one or a few index tokens, which the model reads and writes.

Hua et al., "How to Index Item IDs for Recommendation Foundation Models" (SIGIR-AP 2023). Whatever an index knows of
events, it knows from those it is given: training events, and no others.
Shapes: N items, I new items, B codes of a batch, C the tokens of the longest id, D dimensions of an embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from features.errors import InvalidInput
from models.p5 import numbering

if TYPE_CHECKING:
    from models.p5.data import P5Data

INDEXINGS: Final = (
    "random",
    "sequential",
    "collaborative",
    "semantic",
    "independent",
    "collaborative-independent",
    "semantic-independent",
)


@dataclass(frozen=True, slots=True, eq=False)
class ItemIndex:
    """tokens: names of the index tokens, in the order in which a tokenizer takes them.

    codes_NC: each item's id as places in `tokens`, -1 after its end; no two are the same. lengths_N: their tokens.
    """

    tokens: tuple[str, ...]
    codes_NC: NDArray[np.int32]
    lengths_N: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises InvalidInput for codes that are not such, naming the items that share one."""
        _check(self.tokens, self.codes_NC)
        object.__setattr__(self, "lengths_N", (self.codes_NC >= 0).sum(axis=1))

    @property
    def n_items(self) -> int:
        return len(self.codes_NC)

    def row_of(self, code: Sequence[int]) -> int:
        """The item with this id, given without padding; -1 when it is none's."""
        width = self.codes_NC.shape[1]
        if not 0 < len(code) <= width or min(code) < 0:
            return -1
        padded_C = np.array([*code, *[-1] * (width - len(code))])
        rows = np.flatnonzero((self.codes_NC == padded_C).all(axis=1))
        return int(rows[0]) if len(rows) else -1


def build_index(
    indexing: str, data: "P5Data", *, seed: int, embeddings_ND: NDArray[np.float32] | None = None
) -> ItemIndex:
    """Ids for the data's items. Raises InvalidInput for an unknown indexing or no items."""
    if indexing not in INDEXINGS:
        raise InvalidInput("indexing", f"{indexing!r} was given; it is one of {', '.join(INDEXINGS)}")
    if data.n_items == 0:
        raise InvalidInput("items", "there are none to index; bring a catalogue or events")
    order_N = numbering.canonical_order(data.items_E, data.titles, data.categories)
    if indexing == "random":
        return ItemIndex(*numbering.random(order_N, seed))
    if indexing == "sequential":
        return ItemIndex(*numbering.sequential(order_N))
    if indexing == "independent":
        return ItemIndex(*numbering.independent(order_N))
    raise InvalidInput("indexing", f"{indexing!r} is not there")


def _check(tokens: Sequence[str], codes_NC: NDArray[np.int32]) -> None:
    if codes_NC.dtype != np.int32 or codes_NC.ndim != 2 or codes_NC.shape[1] == 0:
        raise InvalidInput(
            "codes", f"{codes_NC.dtype}{list(codes_NC.shape)} was given, not int32[items, tokens of an id]"
        )
    if len(set(tokens)) < len(tokens):
        raise InvalidInput("tokens", "a name stands for two index tokens")
    if codes_NC.min(initial=0) < -1 or codes_NC.max(initial=-1) >= len(tokens):
        raise InvalidInput("codes", f"a code is no place among the {len(tokens)} index tokens")
    if (codes_NC[:, 0] < 0).any() or ((codes_NC[:, :-1] < 0) & (codes_NC[:, 1:] >= 0)).any():
        raise InvalidInput("codes", "an id is empty or goes on after its end")
    by_code_N = np.lexsort(codes_NC.T)
    is_same = (codes_NC[by_code_N[1:]] == codes_NC[by_code_N[:-1]]).all(axis=1)
    if is_same.any():
        place = int(is_same.argmax())
        one, other = sorted(by_code_N[place : place + 2].tolist())
        name = "".join(tokens[token] for token in codes_NC[one] if token >= 0)
        raise InvalidInput("codes", f"items {one} and {other} have one id, {name}")
