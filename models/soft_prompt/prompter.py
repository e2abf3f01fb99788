"""What makes soft prompts of users: an adapter, and what it reads of them. It needs no language model.

Of the language model that the prompts are for, it knows the width and the mean length of its embeddings alone.
Shapes: B, N pasts, T words, K vectors of a prompt, W of the language model's embeddings.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from features.errors import InvalidInput
from models.encoders.frozen import FrozenEncoder
from models.soft_prompt.adapters import Adapter
from models.soft_prompt.config import SoftPromptConfig
from models.soft_prompt.reading import ConstantReader, EncoderReader, Past

USERS: Final = 256  # whose prompts are made at once
Words = tuple[Tensor, Tensor]  # (words_BTW, is_word_BT): the embeddings of what is asked


class Prompter:
    """weights: of its own, all that was learned but a language model's updates. Safe to use from several threads."""

    def __init__(
        self, config: SoftPromptConfig, encoder: FrozenEncoder, width: int, norm: float, device: str = "cpu"
    ) -> None:
        """With weights by torch's seed, still to be trained or loaded."""
        self.config, self.width, self.norm, self._device = config, width, norm, device
        dimensions = encoder.config.dimensions
        self.adapter = Adapter(config, dimensions, width, norm, encoder.config.length).to(device)
        is_constant = config.source == "constant"
        reader = ConstantReader(dimensions) if is_constant else EncoderReader(encoder, is_tuned=config.tune_encoder)
        self.reader = reader.to(device)
        learns: dict[str, nn.Module] = {"adapter": self.adapter}
        if is_constant or config.tune_encoder:
            learns["reader"] = self.reader
        self.weights = nn.ModuleDict(learns).eval()

    def soft(self, pasts: Sequence[Past], words: Words) -> Tensor:
        """soft_BKW behind which these words are to stand."""
        soft_BKW: Tensor = self.adapter(*self.reader(pasts), *words)
        return soft_BKW

    @torch.inference_mode()
    def prompts(self, pasts: Sequence[Past], words: Callable[[slice], Words] | None = None) -> NDArray[np.float32]:
        """soft_NKW of users by their pasts. words: of what is asked of some of them, which an "instructed" prompt hangs
        on.

        Raises InvalidInput when it does and there are none.
        """
        if words is None and self.config.kind == "instructed":
            raise InvalidInput("question", "none was given; these soft prompts are made for one question each")
        soft_NKW = np.zeros((len(pasts), self.config.tokens, self.width), np.float32)
        for first in range(0, len(pasts), USERS):
            some = slice(first, first + USERS)
            given = self._nothing(len(pasts[some])) if words is None else words(some)
            soft_NKW[some] = self.soft(pasts[some], given).float().cpu().numpy()
        return soft_NKW

    def _nothing(self, count: int) -> Words:
        """In place of words that are not looked at."""
        is_word_B1 = torch.ones(count, 1, dtype=torch.bool, device=self._device)
        return torch.zeros(count, 1, self.width, device=self._device), is_word_B1
