"""A trained soft prompt in a folder, whole but for the language model, and what makes users' soft prompts of it.

    encoder.safetensors, items.json   what an event is read as, and which item each row stands for
    soft-prompt.safetensors           what was learned
    manifest.json                     the version, the language model's name and sha256, the data, the configuration

Shapes: N users, K vectors of a prompt, W of the language model's embeddings.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as arrays
from safetensors import torch as tensors

from features.errors import BundleRefused, InvalidInput, WeightsRefused
from features.events import ItemId
from features.history import UserHistory
from features.profile import SoftPrompt
from features.soft_prompts import halved
from models.encoders.config import EncoderConfig
from models.encoders.frozen import FrozenEncoder
from models.kept import load_parts, save_parts
from models.soft_prompt.config import SoftPromptConfig, configured
from models.soft_prompt.prompter import Prompter
from models.soft_prompt.reading import Past
from models.soft_prompt.trained import FORMAT, WEIGHTS, Aligned
from models.vocabulary import Vocabulary

_ENCODER: Final = "encoder.safetensors"
_ITEMS: Final = "items.json"


class SoftPrompter:
    """Makes soft prompts of histories without the language model. Safe to use from several threads.

    version: what they are kept under. base: the language model's "name" and "sha256". manifest: JSON values.
    """

    def __init__(
        self, folder: Path, prompter: Prompter, encoder: FrozenEncoder, vocabulary: Vocabulary, said: Mapping[str, Any]
    ) -> None:
        self.manifest, self.config = said, prompter.config
        self.version: str = said["version"]
        self.base: Mapping[str, str] = {"name": said["base"], "sha256": said["language"]}
        self.prompter = prompter
        self._folder, self._encoder, self._vocabulary = folder, encoder, vocabulary

    @property
    def is_instructed(self) -> bool:
        """Whether a prompt is made for one question, which takes the language model."""
        return self.config.kind == "instructed"

    def prompts(self, histories: Sequence[UserHistory]) -> list[SoftPrompt | None]:
        """One a user, in their order, rounded to half precision, in which they are kept.

        Items that the encoder does not know are left out. A user of whom nothing is left has none: nobody's past was
        empty when it was learned what a prompt says. Raises InvalidInput when prompts are instructed.
        """
        return self._made(histories, lambda pasts, _: self.prompter.prompts(pasts))

    def instructed(
        self, histories: Sequence[UserHistory], texts: Sequence[str], aligned: Aligned
    ) -> list[SoftPrompt | None]:
        """The same, each for the text that is to stand behind it. aligned: as `with_language` gives it."""
        return self._made(histories, lambda pasts, places: aligned.prompts(pasts, [texts[place] for place in places]))

    def with_language(self, folder: Path) -> Aligned:
        """It and the language model in a folder, to ask behind soft prompts. Raises WeightsRefused when they were
        trained for another, BundleRefused."""
        return Aligned.load(self._folder, self._encoder, folder)

    def _made(
        self,
        histories: Sequence[UserHistory],
        make: Callable[[list[Past], list[int]], NDArray[np.float32]],
    ) -> list[SoftPrompt | None]:
        pasts = [self._past(history) for history in histories]
        known = [
            place
            for place, (past, history) in enumerate(zip(pasts, histories, strict=True))
            if len(past.items_L) and history.as_of is not None
        ]
        made: list[SoftPrompt | None] = [None] * len(histories)
        if known:
            vectors_NKW = halved(make([pasts[place] for place in known], known)).astype(np.float32)
            for place, vectors_KW in zip(known, vectors_NKW, strict=True):
                as_of = histories[place].as_of
                if as_of is not None:
                    made[place] = SoftPrompt(vectors_KW, self.version, as_of)
        return made

    def _past(self, history: UserHistory) -> Past:
        """The newest events that the encoder knows: as many as it reads, and the one before, since when the first of
        them is counted. Most histories are of known items, and need not be read further."""
        config, row_of = self._encoder.config, self._vocabulary.row_of.get
        wanted = most = config.length + 1
        while True:
            if config.rating or config.gaps:
                items, at_L, values_L = history.recent_events(most)
            else:
                items, at_L, values_L = history.recent_items(most), None, None
            rows_L = np.array([row_of(item, -1) for item in items], np.int64)
            is_known_L = rows_L >= 0
            if is_known_L.sum() >= wanted or len(items) < most:
                break
            most *= 2
        if at_L is None or values_L is None:
            return Past(rows_L[is_known_L])
        return Past(rows_L[is_known_L], at_L[is_known_L], values_L[is_known_L])


def save_soft_prompt(
    folder: Path, aligned: Aligned, vocabulary: Vocabulary, base: str, data: Mapping[str, str], said: Mapping[str, Any]
) -> None:
    """Writes what `load_soft_prompt` reads; all or nothing.

    vocabulary: of the encoder's rows. base: the language model's name. data: "name" and "fingerprint". said: what else
    the manifest is to say. Raises InvalidInput, as `check` does.
    """
    check(aligned.config)
    encoder = aligned.encoder
    layers = {f"layers.{name}": np.ascontiguousarray(array) for name, array in encoder.layers.items()}
    config = json.dumps(asdict(encoder.config), sort_keys=True)
    parts = aligned.parts() | {
        _ENCODER: arrays.save({"items": encoder.items_ND, **layers}, {"config": config}),
        _ITEMS: json.dumps(vocabulary.items).encode(),
    }
    told = aligned.manifest() | {"base": base, "data": dict(data), "encoder_kind": encoder.config.kind, **said}
    told["length"] = encoder.config.length
    save_parts(folder, parts, told | {"version": _version(parts, told)})


def load_soft_prompt(folder: Path) -> SoftPrompter:
    """What `save_soft_prompt` wrote. Raises BundleRefused: something is missing, damaged, or does not fit together."""
    parts, said = load_parts(folder, {"format": FORMAT})
    try:
        config = configured(said["config"])
        vocabulary = Vocabulary(tuple(map(ItemId, json.loads(parts[_ITEMS]))))
        encoder = _encoder(parts[_ENCODER])
        prompter = Prompter(config, encoder, said["width"], said["norm"])
        weights = tensors.load(parts[WEIGHTS])
        if not all(bool(weight.isfinite().all()) for weight in weights.values()):
            raise BundleRefused(f"{folder}: its weights are not finite; remove it and train again, at a lower rate")
        prompter.weights.load_state_dict(weights)
        prompter.weights.requires_grad_(False)
        if len(vocabulary) != len(encoder.items_ND) or encoder.digest != said["encoder"]:
            raise BundleRefused(
                f"{folder}: its items and its encoder are not of one training; remove it and train again"
            )
        if _version(parts, said) != said["version"]:
            raise BundleRefused(f"{folder}: its version is not that of its parts; remove it and train again")
        return SoftPrompter(folder, prompter, encoder, vocabulary, said)
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError, WeightsRefused) as error:
        if isinstance(error, BundleRefused):
            raise
        raise BundleRefused(f"{folder}: incomplete: {error}; remove it and train again") from None


def check(config: SoftPromptConfig) -> None:
    """Raises InvalidInput for what is there to measure others by, and not to serve: without a user in it, or of use to
    a language model alone that was tuned along with it."""
    if config.kind == "none" or config.source != "user":
        raise InvalidInput("kind", f"{config.kind} of source {config.source} has nothing of a user; it is not served")
    if config.lora:
        raise InvalidInput("lora", f"{config.lora} was given; what is served prompts a language model as it is: set 0")


def _version(parts: Mapping[str, bytes], said: Mapping[str, Any]) -> str:
    """Of all that its soft prompts are made of, and of the language model that they are for."""
    made_of = [sha256(parts[name]).hexdigest() for name in (_ENCODER, _ITEMS, WEIGHTS)] + [said["language"]]
    config = said["config"]
    return f"{config['kind']}-{config['tokens']}@{sha256(''.join(made_of).encode()).hexdigest()[:12]}"


def _encoder(content: bytes) -> FrozenEncoder:
    found = arrays.load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    config = EncoderConfig(**json.loads(header["__metadata__"]["config"]))
    layers = {name.removeprefix("layers."): array for name, array in found.items() if name != "items"}
    return FrozenEncoder(config, found["items"], layers)
