"""The arms of the evaluation of weight updates on disk: trainings, scores, and what requests and updates cost.

What is an arm of models/soft_prompt too is kept there, and taken from there where it was trained already.
Shapes: Q questions, N items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.kept import load_parts
from models.language.adapters import base_digest
from models.soft_prompt import arms as soft
from models.soft_prompt.arm_store import ArmStore
from models.soft_prompt.questions import Question
from models.soft_prompt.reading import Past, pasts_of, pasts_of_strangers
from models.soft_prompt.scored import Made, Scored, made_once, scored_by_task
from models.soft_prompt.telling import ALL, Telling
from models.stream_adapter.answering import OwnTuning, Prompting
from models.stream_adapter.arms import AdapterArm, Arm, OwnContextArm
from models.stream_adapter.config import StreamAdapterConfig
from models.stream_adapter.costs import REPEATS, SIZES, measured
from models.stream_adapter.data import AdaptingData
from models.stream_adapter.streaming import Streaming
from models.stream_adapter.trained import StreamAdapter
from models.stream_adapter.training import train

FORMAT: Final = 1
DRIFT: Final = 8  # users by whose updates the drift is measured


def trained_for(
    folder: Path, data: AdaptingData, language: Path, config: StreamAdapterConfig, seed: int
) -> Path | None:
    """The folder of the arm that an evaluation has trained with just these, of those in `folder`; None of none.

    Raises BundleRefused for one that is damaged.
    """
    wanted = {"config": asdict(config), "data": data.digest, "language": base_digest(language), "seed": seed}
    for path in sorted(folder.glob("*/manifest.json")):
        said = load_parts(path.parent, {})[1].get("arm", {})
        if all(said.get(name) == value for name, value in wanted.items()):
            return path.parent
    return None


class Arms:
    """words: the arms of models/soft_prompt, and all that is asked about. arms: all there are, by name."""

    def __init__(self, folder: Path, words: ArmStore, data: AdaptingData, arms: Mapping[str, Arm]) -> None:
        self.folder, self.words, self.data, self.arms = folder, words, data, arms
        self._held: tuple[str, OwnTuning | Streaming] | None = None

    def learnt(self, arm: Arm) -> Mapping[str, Any] | None:
        """The manifest of the training that an arm answers by, made up for where it is missing and may be; None of one
        that has learnt nothing. Raises what `ArmStore.learnt` does."""
        if isinstance(arm, AdapterArm):
            return self._trained(arm)[1]
        learner = self._learner(arm) if isinstance(arm, soft.Arm) else None
        return None if learner is None else self.words.learnt(learner)[1]

    def scored(self, arm: Arm, questions: Sequence[Question]) -> Scored:
        """What an arm scores the choices, in the order of the questions; from disk where it was asked them before.

        Raises what `learnt` does.
        """
        if isinstance(arm, soft.Arm):
            return self.words.scored(arm, self._learner(arm), questions)
        return scored_by_task(
            self.folder / "scores",
            arm.name,
            self._by(arm),
            questions,
            self._pasts(arm, questions),
            lambda own, theirs: self._ready(arm).ask(own, theirs),
            self.words.progress,
        )

    def measured(self, arm: Arm, questions: Sequence[Question]) -> Made:
        """What requests of an arm cost, by the first question, and its updates, as models/stream_adapter/costs.py gives
        them; measured once. Raises what `learnt` does."""
        if isinstance(arm, AdapterArm):
            arm = replace(arm, name=arm.learnt, is_stranger=False)  # a stranger's past costs what one's own does
        question, pasts = questions[0], self._pasts(arm, questions[:DRIFT])
        asked = sha256(repr((question, [past.items_L.tolist() for past in pasts])).encode()).hexdigest()
        identity = {**self._by(arm), "sizes": list(SIZES), "repeats": REPEATS, "asked": asked}

        def make() -> Made:
            answering = self._prompting(arm) if isinstance(arm, soft.Arm) else self._ready(arm)
            return measured(answering, question, self.words.data.events, self._line_tokens, pasts)

        return made_once(self.folder / "costs", arm.name, identity, make)

    def _trained(self, arm: AdapterArm) -> tuple[Path, Mapping[str, Any]]:
        """(folder, manifest)."""
        identity = {**self.words.belongs, "config": asdict(arm.config), "data": self.data.digest}

        def make(checkpoint: Path) -> StreamAdapter:
            words = self.words
            return train(
                self.data,
                words.language,
                arm.config,
                seed=words.seed,
                checkpoint=checkpoint,
                device=words.device,
                progress=words.progress,
            )

        return self.words.trained_once(self.folder, arm.learnt, identity, arm.config.minutes, make)

    def _learner(self, arm: soft.Arm) -> soft.Arm | None:
        learner = self.arms.get(arm.learnt)
        return learner if isinstance(learner, soft.Arm) else None

    def _by(self, arm: Arm) -> dict[str, Any]:
        """What scores depend on besides the questions (JSON values)."""
        if isinstance(arm, soft.Arm):
            return self.words.by(arm, self.learnt(arm) or {})
        by = {"format": FORMAT, "language": self.words.belongs["language"], "seed": self.words.seed}
        if isinstance(arm, OwnContextArm):
            return by | {"config": asdict(arm.config) | {"maps": list(arm.config.maps)}, "told": self._own(arm).digest}
        return by | {"learnt": self._trained(arm)[1]["parts"], "is_stranger": arm.is_stranger}

    def _pasts(self, arm: Arm, questions: Sequence[Question]) -> list[Past]:
        events = self.words.data.events
        if isinstance(arm, AdapterArm) and arm.is_stranger:
            return pasts_of_strangers(events, questions, self.words.seed)
        return pasts_of(events, questions)

    def _prompting(self, arm: soft.Arm) -> Prompting:
        learner = self._learner(arm)
        folder = None if learner is None else self.words.learnt(learner)[0]
        return Prompting(self.words.aligned(arm, folder), self.words.telling(arm))

    def _ready(self, arm: AdapterArm | OwnContextArm) -> OwnTuning | Streaming:
        """The arm with its language model in memory, one at a time."""
        own = arm.learnt or arm.name
        if self._held is None or self._held[0] != own:
            self._held = None  # two would take twice the memory
            self._held = own, self._made(arm)
        return self._held[1]

    def _made(self, arm: AdapterArm | OwnContextArm) -> OwnTuning | Streaming:
        words = self.words
        if isinstance(arm, OwnContextArm):
            return OwnTuning(words.aligned(self._frozen, None), self._own(arm), arm.config, words.seed)
        adapter = StreamAdapter.load(self._trained(arm)[0], words.language, words.device)
        return Streaming(adapter, self.data.lines_N)

    def _own(self, arm: OwnContextArm) -> Telling:
        return Telling.of(self.words.log, self.words.tokens, arm.config.told)

    @cached_property
    def _frozen(self) -> soft.Arm:
        """The arm that is the frozen model and the question alone."""
        return next(
            arm for arm in self.arms.values() if isinstance(arm, soft.Arm) and not (arm.told or arm.config.tokens)
        )

    @cached_property
    def _line_tokens(self) -> NDArray[np.int64]:
        """counts_N of each item in words."""
        return Telling.of(self.words.log, self.words.tokens, ALL).counts_N
