"""Trained arms on disk, each under what it was trained for, and beside them the scores that they gave to questions.

An evaluation takes an arm that was trained for exactly what it measures, and no other. A training that is killed goes
on from its last checkpoint.
Shapes: Q questions, C choices.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from features.errors import UnknownName
from models.device import Device
from models.encoders.config import EncoderConfig
from models.encoders.frozen import FrozenEncoder
from models.encoders.model import Encoder, Sides
from models.kept import folder_name, load_parts
from models.language.adapters import base_digest
from models.language.plain_tokens import PlainTokens
from models.soft_prompt.aligning import Progress, align
from models.soft_prompt.arms import Arm
from models.soft_prompt.data import AligningData
from models.soft_prompt.language import Language
from models.soft_prompt.log import Log
from models.soft_prompt.questions import Question
from models.soft_prompt.reading import Past, pasts_of, pasts_of_strangers
from models.soft_prompt.scored import Scored, scored_by_task, timed
from models.soft_prompt.telling import Telling
from models.soft_prompt.trained import Aligned

FORMAT: Final = 1


class Learnt(Protocol):
    """What a training comes to. said: how it was trained, JSON values."""

    said: Mapping[str, Any]

    def save(self, folder: Path) -> None: ...


class ArmStore:
    """A folder of arms trained on one data set. may_train: whether one that is missing is trained, or asked for."""

    def __init__(
        self,
        folder: Path,
        language: Path,
        log: Log,
        data: AligningData,
        encoder_of: Callable[[EncoderConfig], FrozenEncoder],
        *,
        fingerprint: str,
        seed: int = 0,
        may_train: bool = False,
        device: Device | None = None,
        progress: Progress | None = None,
        command: str = "questions",
    ) -> None:
        """language: the folder of the language model. data: events and questions; an arm's encoder is put in the
        place of the one in it. fingerprint, seed: of the data set, and of all that is drawn. command: the evaluation
        that trains what is missing. Raises WeightsRefused."""
        self.folder, self.language, self.log, self.data, self.seed = folder, language, log, data, seed
        self._encoder_of, self.command = encoder_of, command
        self.may_train, self.device, self.progress = may_train, device, progress
        asked = repr([*data.questions, "validation", *data.validation])
        self.belongs: dict[str, Any] = {
            "format": FORMAT,
            "fingerprint": fingerprint,
            "questions": sha256(asked.encode()).hexdigest(),
            "language": base_digest(language),
            "seed": seed,
        }

    @cached_property
    def tokens(self) -> PlainTokens:
        """The language model's."""
        return PlainTokens(self.language)

    def learnt(self, arm: Arm) -> tuple[Path, Mapping[str, Any]]:
        """(folder, manifest) of an arm's training, which is made up for where it is missing and may be.

        Raises UnknownName when it is missing and may not be trained, BundleRefused when it is damaged.
        """
        encoder, telling = self.encoder(arm), self.telling(arm)
        told = None if telling is None else telling.digest
        identity = {**self.belongs, "encoder": encoder.digest, "config": asdict(arm.config), "told": told}

        def train(checkpoint: Path) -> Aligned:
            return align(
                replace(self._told(telling), encoder=encoder),
                self.language,
                arm.config,
                seed=self.seed,
                checkpoint=checkpoint,
                device=self.device,
                progress=self.progress,
            )

        return self.trained_once(self.folder, arm.name, identity, arm.config.minutes, train)

    def trained_once(
        self, folder: Path, name: str, identity: Mapping[str, Any], minutes: float, train: Callable[[Path], Learnt]
    ) -> tuple[Path, Mapping[str, Any]]:
        """(folder, manifest) of a training of this identity (JSON values), kept in a folder of arms; as `learnt`.

        train: makes up for it, from the checkpoint in the file that it is given.
        """
        own = folder / folder_name(name.replace("/", "-"), identity)
        if not own.is_dir():
            if not self.may_train:
                raise UnknownName(
                    f"{name} was not trained for these questions, for {minutes:g} minutes with seed {self.seed}; "
                    f"`tasteprint evaluate {self.command} --arms '{name}' --train` trains it"
                )
            checkpoint = folder / "unfinished" / f"{own.name}.safetensors"
            made = train(checkpoint)
            made.said = {**made.said, "arm": identity}
            made.save(own)
            checkpoint.unlink(missing_ok=True)
        return own, load_parts(own, {"arm": identity})[1]

    def scored(self, arm: Arm, learner: Arm | None, questions: Sequence[Question]) -> Scored:
        """What an arm scores the choices, in the order of the questions; from disk where it was asked them before.
        learner: the arm whose training it answers by.

        Raises what `learnt` does.
        """
        telling = self.telling(arm)
        folder, manifest = (None, {}) if learner is None else self.learnt(learner)
        events = self.data.events
        pasts = pasts_of_strangers(events, questions, self.seed) if arm.is_stranger else pasts_of(events, questions)
        aligned = cache(lambda: self.aligned(arm, folder))
        return scored_by_task(
            self.folder / "scores",
            arm.name,
            self.by(arm, manifest),
            questions,
            pasts,
            lambda own, theirs: _asked(aligned(), telling, own, theirs),
            self.progress,
        )

    def by(self, arm: Arm, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """What the scores of an arm depend on besides the questions (JSON values). manifest: its training's."""
        telling = self.telling(arm)
        return {
            "format": FORMAT,
            "language": self.belongs["language"],
            "encoder": self.encoder(arm).digest,
            "learnt": manifest.get("parts"),
            "told": None if telling is None else telling.digest,
            "style": arm.config.style,
        }

    def encoder(self, arm: Arm) -> FrozenEncoder:
        """What it reads; one that has learnt nothing where it reads none, so that it is the same beside any other."""
        if arm.reads_encoder:
            return self._encoder_of(arm.encoder)
        return blank(arm.encoder.dimensions, arm.encoder.length, self.data.events.n_items)

    def telling(self, arm: Arm) -> Telling | None:
        if not arm.told:
            return None
        if arm.told not in self._tellings:
            self._tellings[arm.told] = Telling.of(self.log, self.tokens, arm.told)
        return self._tellings[arm.told]

    @cached_property
    def _tellings(self) -> dict[int, Telling]:
        return {}

    def _told(self, telling: Telling | None) -> AligningData:
        if telling is None:
            return self.data
        events = self.data.events
        asked = (
            [telling.before(*one) for one in zip(questions, pasts_of(events, questions), strict=True)]
            for questions in (self.data.questions, self.data.validation)
        )
        return AligningData(events, self.data.encoder, *asked)

    def aligned(self, arm: Arm, folder: Path | None) -> Aligned:
        """The arm with its language model, ready to answer. folder: of the training that it answers by, None for none.

        Raises WeightsRefused, BundleRefused.
        """
        encoder = self.encoder(arm)
        if folder is None:
            return Aligned(arm.config, encoder, Language(self.language, self.device))
        return Aligned.load(folder, encoder, self.language, self.device)


@cache
def blank(dimensions: int, length: int, items: int) -> FrozenEncoder:
    """An encoder of that shape that says nothing of anything."""
    config = EncoderConfig("mean", dimensions=dimensions, length=length, words=False, categories=False)
    none = torch.zeros(0, dtype=torch.int64)
    names = Encoder(config, items, Sides(none, none, none, none)).state_dict()
    layers = {name: np.zeros(one.shape, np.float32) for name, one in names.items() if not name.startswith("rows.")}
    return FrozenEncoder(config, np.zeros((items, dimensions), np.float32), layers)


def _asked(
    aligned: Aligned, telling: Telling | None, questions: Sequence[Question], pasts: Sequence[Past]
) -> dict[str, NDArray[Any]]:
    """What is kept of a task's questions."""

    def told(question: Question, past: Past) -> Question:
        return question if telling is None else telling.before(question, past)

    seconds_S = timed(lambda one, past: aligned.scores([told(one, past)], [past]), questions, pasts)
    asked = [told(question, past) for question, past in zip(questions, pasts, strict=True)]
    soft, plain = aligned.config.tokens, aligned.language.tokens.plain
    words = [len(plain(one.text)) - len(plain(question.text)) for one, question in zip(asked, questions, strict=True)]
    return {
        "scores_QC": aligned.scores(asked, pasts),
        "tokens_Q": np.array([soft + len(aligned.asked(one)[0]) for one in asked], np.int64),
        "history_Q": soft + np.array(words, np.int64),
        "seconds_S": seconds_S,
    }
