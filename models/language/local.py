"""Text from a model in a local folder: messages are made tokens, and the tokens written after them text."""

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import LlamaConfig

from features.errors import InvalidInput, WeightsRefused
from models.device import Device, best_device
from models.language.adapters import base_digest, check_base
from models.language.chat_tokens import ChatTokens
from models.language.generator import Completion, IsWanted, Message, always
from models.language.llama import Llama
from models.language.lora import merged
from models.language.writing import Writer


class LocalGenerator:
    """A StoppableGenerator (models/language/generator.py). Reads weights from a folder and nothing from the network."""

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
            model = Llama(weights, config, device or best_device())
        except WeightsRefused:
            raise
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise WeightsRefused(f"{folder}: {error}; take a folder of a Llama that chats, in safetensors") from None
        own = config.eos_token_id
        ends = {self._chat.end, *(own if isinstance(own, list) else [own])}
        self._reads, self._writer = model.reads, Writer(model, {end for end in ends if end is not None})

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(self._chat.plain(text)) for text in texts]

    def generate(
        self, prompts: Sequence[Sequence[Message]], most: int, is_wanted: IsWanted = always
    ) -> list[Completion]:
        tokens = [self._chat.prompt(prompt) for prompt in prompts]
        reads = self._reads - most
        for place, prompt in enumerate(tokens):
            if len(prompt) > reads:
                raise InvalidInput(
                    f"prompts.{place}",
                    f"a prompt of {len(prompt)} tokens; with {most} to write the model reads {reads} at most",
                )
        written = self._writer.continued(tokens, most, is_wanted)
        return [
            Completion(self._chat.text(own), len(prompt), len(own) + is_finished, is_finished)
            for prompt, (own, is_finished) in zip(tokens, written, strict=True)
        ]
