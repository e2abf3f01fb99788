"""An encoder, an adapter and a language model put together: what is trained, and what then makes soft prompts.

It belongs to one encoder and one language model, by the sha256 of their weights, and is refused with any other.
Shapes: B, N pasts, L events, D dimensions of states, T words, K vectors of a prompt, W of the language model's
embeddings, F answers, C choices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from features.errors import InvalidInput, WeightsRefused
from models.checkpointing import copied
from models.device import Device
from models.encoders.frozen import FrozenEncoder
from models.kept import load_parts, save_parts
from models.language.adapters import base_digest
from models.soft_prompt.config import SoftPromptConfig, configured
from models.soft_prompt.language import Language
from models.soft_prompt.layout import Asked, Before, laid_out
from models.soft_prompt.prompter import Prompter, Words
from models.soft_prompt.questions import Question, rendered
from models.soft_prompt.reading import Past

FORMAT: Final = 1
TOKENS: Final = 2048  # of a batch that is scored, with its padding
WEIGHTS: Final = "soft-prompt.safetensors"


class Aligned:
    """said: how it was trained, JSON values; nothing before it was."""

    def __init__(
        self,
        config: SoftPromptConfig,
        encoder: FrozenEncoder,
        language: Language,
        said: Mapping[str, Any] | None = None,
    ) -> None:
        """With weights by torch's seed, still to be trained or loaded."""
        self.config, self.encoder, self.language, self.said = config, encoder, language, said or {}
        self.prompter = Prompter(config, encoder, language.width, language.norm, language.device.name)
        self.adapter, self.reader = self.prompter.adapter, self.prompter.reader
        self.weights = self.prompter.weights  # the language model's updates are kept by themselves

    def lifts(self, pasts: Sequence[Past], asked: Sequence[Asked]) -> Tensor:
        """lifts_F of the answers, by which choices are compared (Language.lifts)."""
        return self.language.lifts(self.log_likelihoods(pasts, asked), asked)

    def log_likelihoods(self, pasts: Sequence[Past], asked: Sequence[Asked]) -> Tensor:
        """log_chances_F of the answers to the questions, each behind the soft prompt of its user's past."""
        language = self.language
        if not self.config.tokens:
            rows = laid_out(asked).to(language.device.name)
            words_BTW = language.words(rows)
            return language.log_likelihoods(words_BTW[:, :0], words_BTW, rows)
        questions = [words for words, _ in asked]
        rows = laid_out([((), answers) for _, answers in asked]).to(language.device.name)
        soft_BKW = self.prompter.soft(pasts, language.embedded(questions))
        return language.log_likelihoods(soft_BKW, language.words(rows), rows, self.before(questions))

    def before(self, questions: Sequence[Sequence[int]]) -> Before:
        """The questions, in tokens, as they are read before a soft prompt."""
        if self.adapter.update is None:
            return self.language.known(questions)
        words_BQW, is_word_BQ = self.language.embedded(questions)
        return self.language.read(self.adapter.reworded(words_BQW, is_word_BQ), is_word_BQ)

    def prompts(self, pasts: Sequence[Past], texts: Sequence[str] | None = None) -> NDArray[np.float32]:
        """soft_NKW of users by their pasts. texts: what is asked of each, which an "instructed" prompt hangs on.

        Raises InvalidInput when it does and there are none.
        """
        return self.prompter.prompts(pasts, None if texts is None else lambda some: self._words(texts[some]))

    @torch.inference_mode()
    def scores(self, questions: Sequence[Question], pasts: Sequence[Past]) -> NDArray[np.float32]:
        """scores_NC: the lift of each choice, as words or as its letter, by the configuration's style.

        Raises InvalidInput for questions of different numbers of choices, or too long.
        """
        if len({len(question.choices) for question in questions}) > 1:
            raise InvalidInput("questions", "have different numbers of choices; score them apart")
        asked = [self.asked(question) for question in questions]
        sizes = [self.config.tokens + len(one) + sum(map(len, answers)) for one, answers in asked]
        order = sorted(range(len(asked)), key=sizes.__getitem__)
        found: dict[int, NDArray[np.float32]] = {}
        while order:
            count = max(1, sum(sizes[place] * (rank + 1) <= TOKENS for rank, place in enumerate(order)))
            some, order = order[:count], order[count:]
            lifts_F = self.lifts([pasts[place] for place in some], [asked[place] for place in some])
            found |= zip(some, lifts_F.view(len(some), -1).cpu().numpy(), strict=True)
        return np.array([found[place] for place in range(len(asked))], np.float32)

    def asked(self, question: Question) -> Asked:
        """The tokens of a question and of its choices."""
        return self.language.asked(*rendered(question, self.config.style), self.config.tokens)

    def reads(self, asked: Asked) -> int:
        """The tokens that are read for a question in training."""
        words, answers = asked
        is_read_anew = not self.config.tokens or len(self.language.updates)
        return self.config.tokens + sum(len(answer) - 1 for answer in answers) + (len(words) if is_read_anew else 0)

    @torch.inference_mode()
    def _words(self, texts: Sequence[str]) -> Words:
        """(words_BTW, is_word_BT) of texts."""
        asked = [self.language.asked(text, ["."], self.config.tokens) for text in texts]  # with room for an answer
        return self.language.embedded([words for words, _ in asked])

    @property
    def version(self) -> str:
        """What its soft prompts are kept under."""
        digest = sha256("".join(sorted(sha256(part).hexdigest() for part in self.parts().values())).encode())
        return f"{self.config.kind}-{self.config.tokens}@{digest.hexdigest()[:12]}"

    def parts(self) -> dict[str, bytes]:
        """The files that hold what was learned."""
        return {WEIGHTS: save(copied(self.weights))} | self.language.parts()

    def save(self, folder: Path) -> None:
        """Writes what was learned, in safetensors and JSON, and what it belongs to; all or nothing."""
        save_parts(folder, self.parts(), self.manifest())

    def manifest(self) -> dict[str, Any]:
        """What it is, what it belongs to, and how it was trained: JSON values."""
        belongs = {"encoder": self.encoder.digest, "language": self.language.digest}
        shape = {"width": self.language.width, "norm": self.language.norm}
        return {"format": FORMAT, "config": asdict(self.config), **belongs, **shape, **self.said}

    @classmethod
    def load(cls, folder: Path, encoder: FrozenEncoder, language: Path, device: Device | None = None) -> "Aligned":
        """What `save` wrote, with the encoder and the folder of the language model that it was trained with.

        Raises WeightsRefused when they are others, BundleRefused when it is damaged.
        """
        parts, manifest = load_parts(folder, {"format": FORMAT})
        for name, given, theirs in (
            ("encoder", encoder.digest, manifest.get("encoder")),
            ("language model", base_digest(language), manifest.get("language")),
        ):
            if given != theirs:
                raise WeightsRefused(
                    f"{folder}: was trained for another {name} (sha256 {str(theirs)[:12]}, this is {given[:12]}); "
                    "train it again"
                )
        try:
            config = configured(manifest["config"])
            aligned = cls(config, encoder, Language(language, device, lora=folder if config.lora else None), manifest)
            aligned.weights.load_state_dict(load(parts[WEIGHTS]))
        except (KeyError, TypeError, RuntimeError, SafetensorError, InvalidInput) as error:
            raise WeightsRefused(f"{folder}: {error}; train it again") from None
        return aligned
