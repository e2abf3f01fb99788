"""Trained arms on disk, each under what it was trained for, and beside them the scores that they gave to questions.

An evaluation takes an arm that was trained for exactly what it measures, and no other. A training that is killed goes
on from its last checkpoint; scores are kept task by task, for on a CPU those of long prompts take half an hour.
Shapes: Q questions, C choices.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load, save

from features.errors import UnknownName
from models.device import Device
from models.encoders.config import EncoderConfig
from models.encoders.frozen import FrozenEncoder
from models.encoders.model import Encoder, Sides
from models.kept import folder_name, load_parts, save_parts
from models.language.adapters import base_digest
from models.language.plain_tokens import PlainTokens
from models.soft_prompt.aligning import Progress, align
from models.soft_prompt.arms import Arm
from models.soft_prompt.data import AligningData
from models.soft_prompt.language import Language
from models.soft_prompt.log import Log
from models.soft_prompt.questions import Question
from models.soft_prompt.reading import Past, pasts_of, pasts_of_strangers
from models.soft_prompt.tasks import Task
from models.soft_prompt.telling import Telling
from models.soft_prompt.trained import Aligned

FORMAT: Final = 1
TIMED: Final = 3  # questions of a task that are answered one at a time, for the latency
_SCORES: Final = "scores.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """scores_QC: of each choice. tokens_Q: of each prompt, its answer not counted; history_Q: those of them that tell
    of the user, in vectors or in words. seconds_S: of questions that were answered one at a time."""

    scores_QC: NDArray[np.float32]
    tokens_Q: NDArray[np.int64]
    history_Q: NDArray[np.int64]
    seconds_S: NDArray[np.float64]


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
    ) -> None:
        """language: the folder of the language model. data: events and questions; an arm's encoder is put in the
        place of the one in it. fingerprint, seed: of the data set, and of all that is drawn. Raises WeightsRefused."""
        self.folder, self.language, self.log, self.data, self.seed = folder, language, log, data, seed
        self._encoder_of = encoder_of
        self._may_train, self._device, self._progress = may_train, device, progress
        asked = repr([*data.questions, "validation", *data.validation])
        self._belongs = {
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
        identity = {**self._belongs, "encoder": encoder.digest, "config": asdict(arm.config), "told": told}
        folder = self.folder / folder_name(arm.name.replace("/", "-"), identity)
        if not folder.is_dir():
            if not self._may_train:
                raise UnknownName(
                    f"{arm.name} was not trained for these questions, for {arm.config.minutes:g} minutes with seed "
                    f"{self.seed}; `tasteprint evaluate questions --arms '{arm.name}' --train` trains it"
                )
            checkpoint = self.folder / "unfinished" / f"{folder.name}.safetensors"
            aligned = align(
                replace(self._told(telling), encoder=encoder),
                self.language,
                arm.config,
                seed=self.seed,
                checkpoint=checkpoint,
                device=self._device,
                progress=self._progress,
            )
            aligned.said = {**aligned.said, "arm": identity}
            aligned.save(folder)
            checkpoint.unlink(missing_ok=True)
        return folder, load_parts(folder, {"arm": identity})[1]

    def scored(self, arm: Arm, learner: Arm | None, questions: Sequence[Question]) -> Scored:
        """What an arm scores the choices, in the order of the questions; from disk where it was asked them before.
        learner: the arm whose training it answers by.

        Raises what `learnt` does.
        """
        encoder, telling = self.encoder(arm), self.telling(arm)
        folder, manifest = (None, {}) if learner is None else self.learnt(learner)
        by = {
            "format": FORMAT,
            "language": self._belongs["language"],
            "encoder": encoder.digest,
            "learnt": manifest.get("parts"),
            "told": None if telling is None else telling.digest,
            "style": arm.config.style,
        }
        events = self.data.events
        pasts = pasts_of_strangers(events, questions, self.seed) if arm.is_stranger else pasts_of(events, questions)
        aligned: Aligned | None = None
        found: list[Mapping[str, NDArray[Any]]] = []
        places: list[int] = []
        for task in Task:
            some = [place for place, question in enumerate(questions) if question.task is task]
            if not some:
                continue
            own, theirs = [questions[place] for place in some], [pasts[place] for place in some]
            identity = {**by, "asked": _digest(own, theirs)}
            kept = self.folder / "scores" / folder_name(f"{arm.name.replace('/', '-')}-{task}", identity)
            if not kept.is_dir():
                if aligned is None:
                    aligned = self._aligned(arm, folder, encoder)
                save_parts(kept, {_SCORES: save(_asked(aligned, telling, own, theirs))}, identity)
            found.append(load(load_parts(kept, identity)[0][_SCORES]))
            places += some
            if self._progress is not None:
                self._progress(len(found), len(Task), f"{arm.name}: {task}")
        order_Q = np.argsort(places)
        scores_QC, tokens_Q, history_Q, seconds_S = (np.concatenate([one[name] for one in found]) for name in _KEPT)
        return Scored(scores_QC[order_Q], tokens_Q[order_Q], history_Q[order_Q], seconds_S)

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

    def _aligned(self, arm: Arm, folder: Path | None, encoder: FrozenEncoder) -> Aligned:
        if folder is None:
            return Aligned(arm.config, encoder, Language(self.language, self._device))
        return Aligned.load(folder, encoder, self.language, self._device)


@cache
def blank(dimensions: int, length: int, items: int) -> FrozenEncoder:
    """An encoder of that shape that says nothing of anything."""
    config = EncoderConfig("mean", dimensions=dimensions, length=length, words=False, categories=False)
    none = torch.zeros(0, dtype=torch.int64)
    names = Encoder(config, items, Sides(none, none, none, none)).state_dict()
    layers = {name: np.zeros(one.shape, np.float32) for name, one in names.items() if not name.startswith("rows.")}
    return FrozenEncoder(config, np.zeros((items, dimensions), np.float32), layers)


_KEPT: Final = ("scores_QC", "tokens_Q", "history_Q", "seconds_S")


def _asked(
    aligned: Aligned, telling: Telling | None, questions: Sequence[Question], pasts: Sequence[Past]
) -> dict[str, NDArray[Any]]:
    """What is kept of a task's questions."""

    def told(question: Question, past: Past) -> Question:
        return question if telling is None else telling.before(question, past)

    seconds = []
    for question, past in list(zip(questions, pasts, strict=True))[:: max(1, len(questions) // TIMED)][:TIMED]:
        start = time.perf_counter()
        aligned.scores([told(question, past)], [past])
        seconds.append(time.perf_counter() - start)
    asked = [told(question, past) for question, past in zip(questions, pasts, strict=True)]
    soft, plain = aligned.config.tokens, aligned.language.tokens.plain
    words = [len(plain(one.text)) - len(plain(question.text)) for one, question in zip(asked, questions, strict=True)]
    return {
        "scores_QC": aligned.scores(asked, pasts),
        "tokens_Q": np.array([soft + len(aligned.asked(one)[0]) for one in asked], np.int64),
        "history_Q": soft + np.array(words, np.int64),
        "seconds_S": np.array(seconds, np.float64),
    }


def _digest(questions: Sequence[Question], pasts: Sequence[Past]) -> str:
    """sha256 of what is asked, and of what is known of whom it is asked about."""
    digest = sha256(repr([*questions]).encode())
    for past in pasts:
        for array in (past.items_L, past.at_L, past.values_L):
            digest.update(b"|" if array is None else array.tobytes() + b"|")
    return digest.hexdigest()
