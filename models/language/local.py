"""Text from a model in a local folder: many prompts at once, and of each the likeliest next token, again and again.

What all prompts begin with, such as an instruction, is read once, and not again by a later call whose prompts begin
alike. The rest is read in packs (models/language/packing.py), a token at a time is written for a batch of prompts, and
those that are finished leave the batch.
Shapes: B prompts of a batch, V tokens of the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaConfig

from features.errors import InvalidInput, WeightsRefused
from models.device import Device, best_device
from models.language.adapters import base_digest, check_base
from models.language.chat_tokens import ChatTokens
from models.language.generator import Completion, Message
from models.language.llama import Cache, Llama
from models.language.lora import merged
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


class LocalGenerator:
    """A TextGenerator (models/language/generator.py). Reads weights from a folder and nothing from the network."""

    def __init__(self, folder: Path, device: Device | None = None, *, adapter: Path | None = None) -> None:
        """folder: a Llama in safetensors, its tokenizer and its chat template. adapter: the folder of a LoRA that is
        added to its weights. Raises WeightsRefused."""
        self._chat = ChatTokens(folder)
        try:
            base = base_digest(folder)
            files = sorted(folder.glob("*.safetensors"))
            weights = {name: weight for file in files for name, weight in load_file(file).items()}
            self.name = f"{folder.name}@{base[:12]}"
            config = LlamaConfig.from_pretrained(folder, local_files_only=True)
            if config.model_type != "llama" or getattr(config, "quantization_config", None):
                raise ValueError(f"a Llama is needed that is not quantised, and this is a {config.model_type}")
            if adapter:
                check_base(adapter, base)
                weights = merged(weights, adapter)
                self.name += f"+{adapter.name}@{base_digest(adapter)[:12]}"
            self._model = Llama(weights, config, device or best_device())
        except WeightsRefused:
            raise
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise WeightsRefused(f"{folder}: {error}; take a folder of a Llama that chats, in safetensors") from None
        ends = config.eos_token_id
        self._ends = {self._chat.end, *(ends if isinstance(ends, list) else [ends])}
        self._begun = Beginning()

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(self._chat.plain(text)) for text in texts]

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Sequence[Message]], most: int) -> list[Completion]:
        tokens = [self._chat.prompt(prompt) for prompt in prompts]
        reads = self._model.reads - most
        for place, prompt in enumerate(tokens):
            if len(prompt) > reads:
                raise InvalidInput(
                    f"{place}",
                    f"a prompt of {len(prompt)} tokens; with {most} to write the model reads {reads} at most",
                )
        written = self.continued(tokens, most)
        return [
            Completion(self._chat.text(own), len(prompt), len(own) + is_finished, is_finished)
            for prompt, (own, is_finished) in zip(tokens, written, strict=True)
        ]

    @torch.inference_mode()
    def continued(self, prompts: Sequence[list[int]], most: int) -> list[tuple[list[int], bool]]:
        """The tokens that are written after each prompt's, and whether an end came after them, which is not among them.

        The prompts are of one token or more, and with `most` no longer than the model reads.
        """
        if not prompts or most < 1:
            return [([], False) for _ in prompts]
        begun = self._beginning(prompts)
        rest = [prompt[len(begun.tokens) :] for prompt in prompts]
        places = sorted(range(len(rest)), key=lambda place: len(rest[place]))  # batches with little padding
        written: list[tuple[list[int], bool]] = []
        for first in range(0, len(places), BATCH):
            cache, logits_BV = self.read([rest[place] for place in places[first : first + BATCH]], begun, most)
            if len(prompts) == 1:
                begun = Beginning(tuple(prompts[0]), cache.cut(cache.size))
            written += self._written(logits_BV, cache, most)
        self._begun = begun
        return [written[row] for row in sorted(range(len(places)), key=places.__getitem__)]

    def read(self, prompts: Sequence[Sequence[int]], begun: Beginning, most: int) -> tuple[Cache, Tensor]:
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
            begun = Beginning(common, self.read([common[kept:]], begun, 0)[0])
        return begun

    def _written(self, logits_BV: Tensor, cache: Cache, most: int) -> list[tuple[list[int], bool]]:
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
            live = [place for place, row in enumerate(rows) if row not in ended]
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
