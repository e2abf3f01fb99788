"""What a weight update is measured against: a LoRA of the same frozen model, tuned for each request on the history of
its user, for a few steps.

LoRA is Hu et al.'s (2022): W + 2 B A, where B begins at nought. The loss is that of the history's own words.
Shapes: T tokens of a history, W dimensions of an embedding.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.errors import InvalidInput
from models.language.tuning import with_updates
from models.soft_prompt.language import Language


@dataclass(frozen=True, slots=True)
class OwnContext:
    """told: newest events that are learned from. rank: of the updates of `maps`. steps: over all of them, each."""

    told: int = 24
    rank: int = 8
    steps: int = 3
    learning_rate: float = 1e-3
    maps: tuple[str, ...] = ("q_proj", "v_proj")


class OwnContextTuner:
    """Tunes a language model in memory, and takes it back. numbers: that an update has."""

    def __init__(self, language: Language, config: OwnContext, seed: int = 0) -> None:
        """Puts updates that change nothing yet into the model of `language`, which is still to be asked."""
        self.language, self.config = language, config
        torch.manual_seed(seed)
        language.whole = with_updates(language.model, config.rank, config.maps).to(language.device.name)
        self.updates = nn.ParameterList(one for one in language.whole.parameters() if one.requires_grad)
        self.numbers = sum(one.numel() for one in self.updates)
        self._before = [one.detach().clone() for one in self.updates]

    @contextmanager
    def tuned(self, text: str) -> Iterator[None]:
        """The model as tuned on a history, within the block; as it was again afterwards. Of no text it learns nothing.

        Raises InvalidInput for a text that is longer than the model reads.
        """
        tokens = self.language.tokens.plain(text)
        if len(tokens) > self.language.reads:
            raise InvalidInput("history", f"of {len(tokens)} tokens; the model reads {self.language.reads}")
        try:
            if len(tokens) > 1:
                self._learn(torch.tensor([tokens], device=self.language.device.name))
            yield
        finally:
            with torch.no_grad():
                for one, before in zip(self.updates, self._before, strict=True):
                    one.copy_(before)

    def _learn(self, tokens_1T: Tensor) -> None:
        optimizer = torch.optim.AdamW(self.updates.parameters(), self.config.learning_rate, weight_decay=0)
        for _ in range(self.config.steps):
            with torch.enable_grad(), self.language.device.autocast():
                loss = functional.cross_entropy(self._logits(tokens_1T).float(), tokens_1T[0, 1:])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    def _logits(self, tokens_1T: Tensor) -> Tensor:
        model = self.language.model
        states_TW = model.get_decoder()(input_ids=tokens_1T[:, :-1], use_cache=False).last_hidden_state[0]
        logits_TV: Tensor = model.get_output_embeddings()(states_TW)
        return logits_TV
