"""The arms of the evaluation of weight updates on disk: trainings, scores, and what requests and updates cost.

What is an arm of models/soft_prompt too is kept there, and taken from there where it was trained already.
Shapes: Q questions, N items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.soft_prompt import arms as soft
from models.soft_prompt.arm_store import ArmStore
from models.soft_prompt.questions import Question
from models.soft_prompt.reading import Past, pasts_of, pasts_of_strangers
from models.soft_prompt.scored import Made, Scored, made_once, scored_by_task
from models.soft_prompt.telling import ALL, Telling
from models.stream_adapter.answering import OwnTuning, Prompting
from models.stream_adapter.arms import AdapterArm, Arm, OwnContextArm
from models.stream_adapter.costs import REPEATS, SIZES, Answering, measured
from models.stream_adapter.data import AdaptingData
from models.stream_adapter.streaming import Streaming
from models.stream_adapter.trained import StreamAdapter
from models.stream_adapter.training import train

FORMAT: Final = 1
DRIFT: Final = 8  # users by whose updates the drift is measured


class Arms:
    """words: the arms of models/soft_prompt, and all that is asked about. arms: all there are, by name."""

    def __init__(self, folder: Path, words: ArmStore, data: AdaptingData, arms: Mapping[str, Arm]) -> None:
        self.folder, self.words, self.data, self.arms = folder, words, data, arms
        self._ready: tuple[str, Answering] | None = None

    def learnt(self, arm: Arm) -> Mapping[str, Any] | None:
        """The manifest of the training that an arm answers by, made up for where it is missing and may be; None of one
        that has learnt nothing. Raises what `ArmStore.learnt` does."""
        found = self._learnt(arm)
        return None if found is None else found[1]

    def scored(self, arm: Arm, questions: Sequence[Question]) -> Scored:
        """What an arm scores the choices, in the order of the questions; from disk where it was asked them before.

        Raises what `learnt` does.
        """
        if isinstance(arm, soft.Arm):
            return self.words.scored(arm, self._learner(arm), questions)
        pasts = self._pasts(arm, questions)
        ask = partial(self._ask, arm)
        return scored_by_task(self.folder / "scores", arm.name, self._by(arm), questions, pasts, ask, self._progress)

    def measured(self, arm: Arm, questions: Sequence[Question]) -> Made:
        """What requests of an arm cost, by the first question, and its updates, as models/stream_adapter/costs.py gives
        them; measured once. Raises what `learnt` does."""
        question, pasts = questions[0], self._pasts(arm, questions[:DRIFT])
        asked = sha256(repr((question, [past.items_L.tolist() for past in pasts])).encode()).hexdigest()
        identity = {**self._by(arm), "sizes": list(SIZES), "repeats": REPEATS, "asked": asked}

        def make() -> Made:
            return measured(self._answering(arm), question, self.words.data.events, self._counts_N, pasts)

        return made_once(self.folder / "costs", arm.name, identity, make)

    def _learnt(self, arm: Arm) -> tuple[Path, Mapping[str, Any]] | None:
        if isinstance(arm, OwnContextArm):
            return None
        if isinstance(arm, soft.Arm):
            learner = self._learner(arm)
            return None if learner is None else self.words.learnt(learner)
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
        return by | {"learnt": (self.learnt(arm) or {})["parts"], "is_stranger": arm.is_stranger}

    def _pasts(self, arm: Arm, questions: Sequence[Question]) -> list[Past]:
        events = self.words.data.events
        if isinstance(arm, AdapterArm) and arm.is_stranger:
            return pasts_of_strangers(events, questions, self.words.seed)
        return pasts_of(events, questions)

    def _ask(self, arm: Arm, questions: Sequence[Question], pasts: Sequence[Past]) -> Made:
        ready = self._answering(arm)
        assert isinstance(ready, OwnTuning | Streaming)
        return ready.ask(questions, pasts)

    def _answering(self, arm: Arm) -> Answering:
        """The arm with its language model in memory, one at a time."""
        if self._ready is None or self._ready[0] != arm.name:
            self._ready = None  # two would take twice the memory
            self._ready = arm.name, self._made_ready(arm)
        return self._ready[1]

    def _made_ready(self, arm: Arm) -> Answering:
        words, found = self.words, self._learnt(arm)
        folder = None if found is None else found[0]
        if isinstance(arm, soft.Arm):
            return Prompting(words.aligned(arm, folder), words.telling(arm))
        if isinstance(arm, OwnContextArm):
            return OwnTuning(words.aligned(self._frozen, None), self._own(arm), arm.config, words.seed)
        assert folder is not None
        return Streaming(StreamAdapter.load(folder, words.language, words.device), self.data.lines_N)

    def _own(self, arm: OwnContextArm) -> Telling:
        return Telling.of(self.words.log, self.words.tokens, arm.config.told)

    @cached_property
    def _frozen(self) -> soft.Arm:
        """The arm that is the frozen model and the question alone."""
        return next(
            arm for arm in self.arms.values() if isinstance(arm, soft.Arm) and not (arm.told or arm.config.tokens)
        )

    @cached_property
    def _counts_N(self) -> NDArray[np.int64]:
        """Tokens of each item in words."""
        return Telling.of(self.words.log, self.words.tokens, ALL).counts_N

    @property
    def _progress(self) -> Any:
        return self.words.progress
