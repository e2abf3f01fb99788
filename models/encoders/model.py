"""An encoder: from events to states, and items as vectors of the same space; a score is their inner product.

Shapes: B sequences, L positions, D dimensions, N items, I given items, T states.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.encoders.config import EncoderConfig
from models.encoders.data import GAPS, RATINGS
from models.encoders.layers import layers_of


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """items_BL: item rows, n_items for padding, which stands behind. ratings_BL, gaps_BL: their places on scales."""

    items_BL: Tensor
    ratings_BL: Tensor
    gaps_BL: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """Bags of numbers, one an item: of the words of titles and of categories, with the place where each bag starts."""

    words_W: Tensor
    word_starts_N: Tensor
    categories_G: Tensor
    category_starts_N: Tensor

    @property
    def n_words(self) -> int:
        return int(self.words_W.max()) + 1 if len(self.words_W) else 0

    @property
    def n_categories(self) -> int:
        return int(self.categories_G.max()) + 1 if len(self.categories_G) else 0


class Encoder(nn.Module):
    """`states` reads events, `item_vectors` are what states point at; both of the configuration's dimensions."""

    sides: Mapping[str, Tensor]

    def __init__(self, config: EncoderConfig, n_items: int, sides: Sides) -> None:
        super().__init__()
        self.config = config
        self.n_items = n_items
        size = config.dimensions
        self.rows = nn.Embedding(n_items + 1, size, padding_idx=n_items)
        self.words = self._bag("words", sides.words_W, sides.word_starts_N, sides.n_words)
        self.categories = self._bag("categories", sides.categories_G, sides.category_starts_N, sides.n_categories)
        self.ratings = nn.Embedding(RATINGS, size) if config.rating else None
        self.gaps = nn.Embedding(GAPS, size) if config.gaps else None
        self.layers = layers_of(config)
        for module in self.modules():
            if isinstance(module, nn.Embedding | nn.EmbeddingBag):
                nn.init.normal_(module.weight, std=size**-0.5 / 2)
            elif isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
        with torch.no_grad():
            self.rows.weight[n_items] = 0.0

    def _bag(self, name: str, numbers: Tensor, starts_N: Tensor, count: int) -> nn.EmbeddingBag | None:
        if not getattr(self.config, name) or not count:
            return None
        self.register_buffer(f"{name}_numbers", numbers, persistent=False)
        self.register_buffer(f"{name}_starts", starts_N, persistent=False)
        return nn.EmbeddingBag(count, self.config.dimensions, mode="mean")

    def item_vectors(self) -> Tensor:
        """vectors_ND; of length one when scores are cosines."""
        vectors_ND = self.described()[: self.n_items]
        return functional.normalize(vectors_ND, dim=-1) if self.config.temperature else vectors_ND

    def described(self) -> Tensor:
        """Every item's own row and what its title and categories say; the last row is the padding's, of zeros."""
        vectors = self.rows.weight
        for name, bag in (("words", self.words), ("categories", self.categories)):
            if bag is not None:
                said_ND = bag(self.get_buffer(f"{name}_numbers"), self.get_buffer(f"{name}_starts"))
                vectors = vectors + functional.pad(said_ND, (0, 0, 0, 1))
        return vectors

    def states(self, batch: Batch) -> Tensor:
        """states_BLD after each event."""
        return self._states(self.described(), batch)

    def both(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(states_BLD, vectors_ND), with the items described once."""
        described = self.described()
        vectors_ND = described[: self.n_items]
        if self.config.temperature:
            vectors_ND = functional.normalize(vectors_ND, dim=-1)
        return self._states(described, batch), vectors_ND

    def _states(self, described: Tensor, batch: Batch) -> Tensor:
        events_BLD = functional.embedding(batch.items_BL, described) * self.config.dimensions**0.5
        if self.ratings is not None:
            events_BLD = events_BLD + self.ratings(batch.ratings_BL)
        if self.gaps is not None:
            events_BLD = events_BLD + self.gaps(batch.gaps_BL)
        states_BLD: Tensor = self.layers(events_BLD)
        if self.config.temperature:
            states_BLD = functional.normalize(states_BLD, dim=-1) / self.config.temperature
        return states_BLD
