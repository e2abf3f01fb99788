"""Trained downstream models on disk, each under what it was trained for: the data, the task, the configuration, the
seed, and what its prompts tell.

An evaluation takes one that was trained for exactly what it measures, and no other.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from safetensors.torch import load, save
from tokenizers import Tokenizer

from features.errors import UnknownName
from models.checkpointing import copied
from models.device import best_device
from models.kept import folder_name, load_parts, save_parts
from models.summaries.downstream.cases import Case, Cases, Log, Task
from models.summaries.downstream.config import DownstreamConfig
from models.summaries.downstream.forms import Told, Writer, told
from models.summaries.downstream.model import Downstream
from models.summaries.downstream.tokens import QUESTIONS, Prompts, trained_on
from models.summaries.downstream.train import Progress, new_model, train
from models.summaries.retrieval import Retriever

FORMAT: Final = 1
_QUESTIONS_COUNT: Final = 1000  # times, so that their words are pieces of their own


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """A trained model, the prompts that it reads, and how it was trained (JSON values)."""

    model: Downstream
    prompts: Prompts
    said: Mapping[str, Any]


class DownstreamStore:
    """A folder of trained models. may_train: whether one that is missing is trained, or asked for."""

    def __init__(self, folder: Path, *, may_train: bool = False, progress: Progress | None = None) -> None:
        self.folder = folder
        self._may_train = may_train
        self._progress = progress

    def get(
        self,
        log: Log,
        cases: Cases,
        task: Task,
        retriever: Retriever,
        writer: Writer,
        config: DownstreamConfig,
        *,
        fingerprint: str,
        seed: int,
    ) -> Reader:
        """The model of a task; loaded, or trained where it is missing and may be.

        Raises UnknownName when it is missing and may not be trained, BundleRefused when it is damaged.
        """
        validation = told(log, cases.validation, task, retriever, writer)
        identity = {
            "format": FORMAT,
            "fingerprint": fingerprint,
            "task": str(task),
            "config": asdict(config),
            "seed": seed,
            "told": sha256(json.dumps(validation).encode()).hexdigest(),
        }
        folder = self.folder / folder_name(str(task), identity)
        if folder.is_dir():
            parts, said = load_parts(folder, identity)
            prompts = Prompts(Tokenizer.from_buffer(parts[_TOKENIZER]), log, task, config.length)
            model = new_model(log, prompts, config)
            model.load_state_dict(load(parts[_WEIGHTS]))
            return Reader(model.to(best_device().name).eval(), prompts, said)
        if not self._may_train:
            raise UnknownName(
                f"no downstream model of {task} was trained for this data with this configuration, these summaries and "
                f"seed {seed}; `tasteprint evaluate summaries --train` trains it"
            )
        known = list(zip(cases.training, told(log, cases.training, task, retriever, writer), strict=True))
        text = trained_on(_texts(log, known), config.vocabulary)
        prompts = Prompts(text, log, task, config.length)
        checkpoint = self.folder / "unfinished" / f"{folder.name}.safetensors"
        trained = train(
            log,
            prompts,
            known,
            list(zip(cases.validation, validation, strict=True)),
            config,
            identity=json.dumps(identity, sort_keys=True),
            seed=seed,
            checkpoint=checkpoint,
            progress=self._progress,
        )
        manifest = identity | {
            "round": trained.round,
            "curves": {name: list(values) for name, values in trained.curves.items()},
            "cpu_minutes": round(trained.seconds / 60, 1),
        }
        parts = {_TOKENIZER: text.to_str().encode(), _WEIGHTS: save(copied(trained.model))}
        save_parts(folder, parts, manifest)
        checkpoint.unlink(missing_ok=True)
        return Reader(trained.model, prompts, manifest)


_TOKENIZER: Final = "tokenizer.json"
_WEIGHTS: Final = "weights.safetensors"


def _texts(log: Log, known: Sequence[tuple[Case, Told]]) -> list[str]:
    """What the training's prompts are made of, each entry and each sentence once."""
    learnt = {entry.text for entries, count in zip(log.entries, log.learnt_U, strict=True) for entry in entries[:count]}
    return [
        *learnt,
        *{sentence for _, (_, summary) in known for sentence in summary},
        *[*QUESTIONS.values()] * _QUESTIONS_COUNT,
    ]
