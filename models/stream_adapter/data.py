"""What an adapter is learned from, in one safetensors file: users' events, items in words, and questions about users.

Everything that the training needs besides the language model, so that it can run where there is little else.
Shapes: E events of all users, U users (V = U + 1), N items.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from models.soft_prompt.data import packed, unpacked
from models.soft_prompt.questions import Question


@dataclass(frozen=True, slots=True, eq=False)
class AdaptingData:
    """starts_V: where each user's events begin, oldest first. values_E: ratings, NaN for none. lines_N: items as
    `context.line` tells them. validation: questions that are only measured, of users whom `questions` has none of."""

    starts_V: NDArray[np.int64]
    items_E: NDArray[np.int64]
    values_E: NDArray[np.float32]
    lines_N: Sequence[str]
    questions: Sequence[Question]
    validation: Sequence[Question]

    @property
    def digest(self) -> str:
        """sha256 of all of it."""
        digest = sha256()
        for array in _arrays(self).values():
            digest.update(array.tobytes())
        return digest.hexdigest()


def save_data(data: AdaptingData, path: Path) -> None:
    """Writes everything to one file; what is words is JSON in arrays of bytes."""
    save_file(_arrays(data), path)


def load_data(path: Path) -> AdaptingData:
    """What `save_data` wrote."""
    arrays = load_file(path)
    lines_N = json.loads(arrays.pop("lines_N").tobytes())
    questions, validation = (unpacked(arrays.pop(name)) for name in ("questions", "validation"))
    return AdaptingData(**arrays, lines_N=lines_N, questions=questions, validation=validation)


def _arrays(data: AdaptingData) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {
        "starts_V": data.starts_V,
        "items_E": data.items_E,
        "values_E": data.values_E,
        "lines_N": np.frombuffer(json.dumps(list(data.lines_N)).encode(), np.uint8),
        "questions": packed(data.questions),
        "validation": packed(data.validation),
    }
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}
