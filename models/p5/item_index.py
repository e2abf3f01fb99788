"""How items are written as words: each has an id of one or a few index tokens, which the model reads and writes.

Hua et al., "How to Index Item IDs for Recommendation Foundation Models" (SIGIR-AP 2023). Whatever an index knows of
events, it knows from those it is given: training events, and no others.
Shapes: N items, I new items, C the tokens of the longest id, D dimensions of an embedding.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from features.errors import BundleRefused, InvalidInput
from models.p5 import numbering

# What only some indexings need, scipy and polars with it, is imported by them: the others train where there is neither.
if TYPE_CHECKING:
    from models.p5.contents import HashedTexts
    from models.p5.data import P5Data
    from models.p5.quantising import Quantiser

INDEXINGS: Final = (
    "random",
    "sequential",
    "collaborative",
    "semantic",
    "independent",
    "collaborative-independent",
    "semantic-independent",
)
PARTS: Final = ("item_index.json", "item_index.safetensors")


@dataclass(frozen=True, slots=True, eq=False)
class ItemIndex:
    """tokens: names of the index tokens, in the order in which a tokenizer takes them.

    codes_NC: each item's id as places in `tokens`, -1 after its end; no two are the same. lengths_N: their tokens.
    quantiser, texts: what new items get their ids by: of a semantic index, the latter unless it has embeddings.
    """

    tokens: tuple[str, ...]
    codes_NC: NDArray[np.int32]
    quantiser: "Quantiser | None" = field(default=None, repr=False)
    texts: "HashedTexts | None" = field(default=None, repr=False)
    lengths_N: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises InvalidInput for codes that are not such, naming the items that share one, and for a quantiser of
        others."""
        _check(self.tokens, self.codes_NC)
        if self.quantiser is not None:
            self.quantiser.check(self.codes_NC, len(self.tokens))
        if self.texts is not None and (self.quantiser is None or self.texts.dimensions != self.quantiser.dimensions):
            raise InvalidInput("texts", "they make no vectors that the quantiser takes")
        object.__setattr__(self, "lengths_N", (self.codes_NC >= 0).sum(axis=1))

    @property
    def n_items(self) -> int:
        return len(self.codes_NC)

    def grown(
        self,
        titles: Sequence[str],
        categories: Sequence[Sequence[str]],
        embeddings_ID: NDArray[np.float32] | None = None,
    ) -> "ItemIndex":
        """With new items after the others, each with an id of tokens that there are: nothing is trained anew.

        embeddings_ID: of an index that was built from embeddings, by the same embedder. Raises InvalidInput when an
        index gives no ids to new items, without embeddings where it takes them, and when no id is free.
        """
        if self.quantiser is None:
            raise InvalidInput("indexing", "only a semantic index has ids for new items; train again, or with that")
        if self.texts is not None:
            embeddings_ID = self.texts.vectors(titles, categories)
        if embeddings_ID is None or len(embeddings_ID) != len(titles):
            raise InvalidInput("embeddings", f"this index needs one for each of the {len(titles)} new items")
        new_IC = self.quantiser.codes_for(embeddings_ID, self.codes_NC, len(self.tokens))
        return ItemIndex(self.tokens, np.concatenate([self.codes_NC, new_IC]), self.quantiser, self.texts)


def build_index(
    indexing: str, data: "P5Data", *, seed: int, embeddings_ND: NDArray[np.float32] | None = None
) -> ItemIndex:
    """Ids for the data's items, the same ones for the same items in whatever order their rows are.

    embeddings_ND: of what is said of the items, as `contents.embedded` gives them; when None, its counting model takes
    their place. Raises InvalidInput for an unknown indexing, no items, or embeddings of others.
    """
    if indexing not in INDEXINGS:
        raise InvalidInput("indexing", f"{indexing!r} was given; it is one of {', '.join(INDEXINGS)}")
    if data.n_items == 0:
        raise InvalidInput("items", "there are none to index; bring a catalogue or events")
    order_N = numbering.canonical_order(data.by_appearance(), data.titles, data.categories)
    if indexing == "random":
        return ItemIndex(*numbering.random(order_N, seed))
    if indexing == "sequential":
        return ItemIndex(*numbering.sequential(order_N))
    if indexing == "independent":
        return ItemIndex(*numbering.independent(order_N))
    from models.p5.clustering import clustered
    from models.p5.contents import HashedTexts
    from models.p5.quantising import SETTLING, Quantiser

    texts = None
    if embeddings_ND is None:
        texts = HashedTexts.fit(data.titles, data.categories)
        embeddings_ND = texts.vectors(data.titles, data.categories)
    if len(embeddings_ND) != data.n_items:
        raise InvalidInput("embeddings", f"{len(embeddings_ND)} were given for {data.n_items} items")
    if indexing.startswith("collaborative"):
        paths = clustered(data.items_E, data.starts_V, order_N, embeddings_ND, seed)
        own = indexing.endswith("independent")
        return ItemIndex(*(numbering.owned(paths, order_N) if own else numbering.settled(paths, order_N, "l")))
    quantiser = Quantiser.fit(embeddings_ND, seed)
    paths = quantiser.paths(embeddings_ND)
    if indexing.endswith("independent"):
        return ItemIndex(*numbering.owned(paths, order_N))
    return ItemIndex(*numbering.settled(paths, order_N, "d", SETTLING), quantiser, texts)


def to_parts(index: ItemIndex) -> dict[str, bytes]:
    """What `from_parts` reads, by file name."""
    arrays: dict[str, NDArray[Any]] = {"codes": index.codes_NC}
    if index.quantiser is not None:
        arrays |= index.quantiser.arrays()
    if index.texts is not None:
        arrays |= {"texts.rarity": index.texts.rarity_H, "texts.directions": index.texts.directions_HD}
    described = json.dumps({"tokens": index.tokens}, ensure_ascii=False).encode()
    return dict(zip(PARTS, (described, save({k: np.ascontiguousarray(v) for k, v in arrays.items()})), strict=True))


def from_parts(parts: Mapping[str, bytes]) -> ItemIndex:
    """Raises BundleRefused when a part is missing, damaged, or no index: two items with one id above all."""
    try:
        tokens = tuple(map(str, json.loads(parts[PARTS[0]])["tokens"]))
        arrays = load(parts[PARTS[1]])
        quantiser, texts = None, None
        if "mean" in arrays:
            from models.p5.quantising import Quantiser

            quantiser = Quantiser.from_arrays(arrays)
        if "texts.rarity" in arrays:
            from models.p5.contents import HashedTexts

            texts = HashedTexts(arrays["texts.rarity"], arrays["texts.directions"])
        return ItemIndex(tokens, arrays["codes"], quantiser, texts)
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise BundleRefused(f"item index: {error!r}; train again") from None


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
