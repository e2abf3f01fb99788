"""What an arm scores the choices of questions, kept on disk task by task: long prompts take half an hour on a CPU.

Shapes: Q questions, C choices, S questions that are answered one at a time.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from models.kept import folder_name, load_parts, save_parts
from models.soft_prompt.questions import Question
from models.soft_prompt.reading import Past
from models.soft_prompt.tasks import Task

TIMED: Final = 3  # questions of a task that are answered one at a time, for the latency
_PART: Final = "scores.safetensors"
_KEPT: Final = ("scores_QC", "tokens_Q", "history_Q", "seconds_S")

Made = Mapping[str, NDArray[Any]]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """scores_QC: of each choice. tokens_Q: of each prompt, its answer not counted; history_Q: those of them that tell
    of the user, in vectors or in words. seconds_S: of questions that were answered one at a time."""

    scores_QC: NDArray[np.float32]
    tokens_Q: NDArray[np.int64]
    history_Q: NDArray[np.int64]
    seconds_S: NDArray[np.float64]


def scored_by_task(
    folder: Path,
    name: str,
    by: Mapping[str, Any],
    questions: Sequence[Question],
    pasts: Sequence[Past],
    ask: Callable[[Sequence[Question], Sequence[Past]], Made],
    progress: Progress | None = None,
) -> Scored:
    """What an arm scores the choices, in the order of the questions; from the folder where it was asked them before.

    by: what the scores depend on besides (JSON values). ask: the fields of Scored, for the questions of a task.
    Raises BundleRefused when what is kept is damaged.
    """
    found: list[Made] = []
    places: list[int] = []
    for task in Task:
        some = [place for place, question in enumerate(questions) if question.task is task]
        if not some:
            continue
        own, theirs = [questions[place] for place in some], [pasts[place] for place in some]
        identity = {**by, "asked": _digest(own, theirs)}
        found.append(made_once(folder, f"{name}-{task}", identity, partial(ask, own, theirs)))
        places += some
        if progress is not None:
            progress(len(found), len(Task), f"{name}: {task}")
    order_Q = np.argsort(places)
    scores_QC, tokens_Q, history_Q, seconds_S = (np.concatenate([one[part] for one in found]) for part in _KEPT)
    return Scored(scores_QC[order_Q], tokens_Q[order_Q], history_Q[order_Q], seconds_S)


def made_once(folder: Path, name: str, identity: Mapping[str, Any], make: Callable[[], Made]) -> Made:
    """Arrays that are kept under what they are of: made where they are not there. Raises BundleRefused."""
    kept = folder / folder_name(name.replace("/", "-"), identity)
    if not kept.is_dir():
        save_parts(kept, {_PART: save({part: np.ascontiguousarray(array) for part, array in make().items()})}, identity)
    return load(load_parts(kept, identity)[0][_PART])


def timed(
    answer: Callable[[Question, Past], object], questions: Sequence[Question], pasts: Sequence[Past]
) -> NDArray[np.float64]:
    """seconds_S of TIMED questions among them, answered one at a time."""
    seconds = []
    for question, past in list(zip(questions, pasts, strict=True))[:: max(1, len(questions) // TIMED)][:TIMED]:
        start = time.perf_counter()
        answer(question, past)
        seconds.append(time.perf_counter() - start)
    return np.array(seconds, np.float64)


def _digest(questions: Sequence[Question], pasts: Sequence[Past]) -> str:
    """sha256 of what is asked, and of what is known of whom it is asked about."""
    digest = sha256(repr([*questions]).encode())
    for past in pasts:
        for array in (past.items_L, past.at_L, past.values_L):
            digest.update(b"|" if array is None else array.tobytes() + b"|")
    return digest.hexdigest()
