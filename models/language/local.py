"""Text from a model in a local folder: many prompts at once, the likeliest token at each step.

Shapes: B prompts, L tokens.
"""

from collections.abc import Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoModelForCausalLM

from features.errors import InvalidInput, WeightsRefused
from models.device import Device, best_device
from models.language.adapters import WEIGHTS, base_digest, merged
from models.language.chat_tokens import ChatTokens
from models.language.generator import Completion, Message

BATCH: Final = 16


class LocalGenerator:
    """A TextGenerator. Reads weights from a folder and nothing from the network; for one thread at a time."""

    def __init__(self, folder: Path, device: Device | None = None, *, adapter: Path | None = None) -> None:
        """adapter: the folder of a LoRA, merged into the weights. Raises WeightsRefused."""
        self._device = device or best_device()
        self._tokens = ChatTokens(folder)
        try:
            base = base_digest(folder)
            self.name = f"{folder.name}@{base[:12]}"
            model: Any = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
            if adapter:
                model = merged(model, adapter, base)
                self.name += f"+{adapter.name}@{_digest(adapter / WEIGHTS)}"
        except (OSError, ValueError) as error:
            raise WeightsRefused(f"{folder}: {error}") from None
        self._model = model.to(self._device.name).eval()

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(self._tokens.plain(text)) for text in texts]

    def generate(self, prompts: Sequence[Sequence[Message]], most: int) -> list[Completion]:
        tokens = [self._tokens.prompt(prompt) for prompt in prompts]
        reads = self._model.config.max_position_embeddings - most
        for one in tokens:
            if len(one) > reads:
                raise InvalidInput("prompt", f"{len(one)} tokens; the model reads {reads}, and writes {most}")
        made: dict[int, Completion] = {}
        by_length = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
        for first in range(0, len(tokens), BATCH):
            places = by_length[first : first + BATCH]
            made |= zip(places, self._batch([tokens[place] for place in places], most), strict=True)
        return [made[place] for place in range(len(tokens))]

    def _batch(self, prompts: Sequence[list[int]], most: int) -> list[Completion]:
        width, end = max(map(len, prompts)), self._tokens.end
        tokens_BL = torch.tensor([[end] * (width - len(prompt)) + prompt for prompt in prompts])
        mask_BL = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        with torch.inference_mode(), self._device.autocast():
            written = self._model.generate(
                input_ids=tokens_BL.to(self._device.name),
                attention_mask=mask_BL.to(self._device.name),
                max_new_tokens=most,
                do_sample=False,
            )[:, width:].tolist()
        completions = []
        for prompt, tokens in zip(prompts, written, strict=True):
            is_finished = end in tokens
            own = tokens[: tokens.index(end)] if is_finished else tokens
            completions.append(Completion(self._tokens.text(own), len(prompt), len(own) + is_finished, is_finished))
        return completions


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()[:12]
