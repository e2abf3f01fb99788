"""What a soft prompt is learned from, in one safetensors file: users' events, their encoder, and questions about them.

Everything that the training needs besides the language model, so that it can run where there is little else.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from models.encoders.config import EncoderConfig
from models.encoders.data import EncoderData
from models.encoders.frozen import FrozenEncoder
from models.soft_prompt.questions import Question
from models.soft_prompt.tasks import Task


@dataclass(frozen=True, slots=True, eq=False)
class AligningData:
    """events: of the users that the questions' rows count, items as the encoder's rows. validation: questions that are
    only measured, of users whom `questions` has none of."""

    events: EncoderData
    encoder: FrozenEncoder
    questions: Sequence[Question]
    validation: Sequence[Question]

    @property
    def digest(self) -> str:
        """sha256 of all of it."""
        digest = sha256(self.encoder.digest.encode())
        for questions in (self.questions, self.validation):
            digest.update(packed(questions).tobytes())
        for one in fields(EncoderData):
            digest.update(np.ascontiguousarray(getattr(self.events, one.name)).tobytes())
        return digest.hexdigest()


def save_data(data: AligningData, path: Path) -> None:
    """Writes everything to one file; the questions are JSON in arrays of bytes."""
    arrays: dict[str, NDArray[Any]] = {
        f"events.{one.name}": getattr(data.events, one.name) for one in fields(EncoderData)
    }
    arrays |= {f"encoder.{name}": array for name, array in data.encoder.layers.items()}
    arrays |= {"items": data.encoder.items_ND}
    arrays |= {"questions": packed(data.questions), "validation": packed(data.validation)}
    config = json.dumps(asdict(data.encoder.config))
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path, {"encoder": config})


def load_data(path: Path) -> AligningData:
    """What `save_data` wrote."""
    arrays = load_file(path)
    with safe_open(path, "np") as file:
        config = EncoderConfig(**json.loads(file.metadata()["encoder"]))
    events, layers = (
        {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for prefix in ("events.", "encoder.")
    )
    encoder = FrozenEncoder(config, arrays["items"], layers)
    return AligningData(EncoderData(**events), encoder, *map(unpacked, (arrays["questions"], arrays["validation"])))


def packed(questions: Sequence[Question]) -> NDArray[np.uint8]:
    """Questions in an array."""
    return np.frombuffer(json.dumps([asdict(question) for question in questions]).encode(), np.uint8)


def unpacked(content: NDArray[np.uint8]) -> tuple[Question, ...]:
    """What `packed` made an array of."""
    return tuple(_question(**one) for one in json.loads(content.tobytes()))


def _question(task: str, choices: list[str], ranks: list[int], **more: Any) -> Question:
    return Question(task=Task(task), choices=tuple(choices), ranks=tuple(ranks), **more)
