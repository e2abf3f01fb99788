"""What a model's scores answer: a rating as the mean of the levels by their probabilities, a choice as a ranking of the
candidates.

Shapes: X cases, A answers: levels (L), or a case's candidates.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.summaries.downstream.cases import Case, Task


def answer(task: Task, case: Case) -> int:
    """The true one, by its place among the answers."""
    return case.level if task is Task.RATING else case.candidates.index(case.item)


def log_chances(task: Task, scores_XA: NDArray[np.float32], cases: Sequence[Case]) -> NDArray[np.float64]:
    """log_X of the true answer's probability."""
    return log_softmax(scores_XA)[np.arange(len(cases)), [answer(task, case) for case in cases]]


def ratings(scores_XL: NDArray[np.float32], levels_L: NDArray[np.float64]) -> NDArray[np.float64]:
    """ratings_X, in the values of the scale."""
    return np.exp(log_softmax(scores_XL)) @ levels_L


def ranks(scores_XA: NDArray[np.float32], cases: Sequence[Case]) -> NDArray[np.int64]:
    """ranks_X of the true item among its candidates, from 1; what ties with it stands before it."""
    true_X1 = scores_XA[np.arange(len(cases)), [answer(Task.CHOICE, case) for case in cases]][:, None]
    return np.asarray((scores_XA >= true_X1).sum(axis=1), np.int64)


def log_softmax(scores_XA: NDArray[np.float32]) -> NDArray[np.float64]:
    """log_XA of the answers' probabilities."""
    shifted_XA = scores_XA.astype(np.float64) - scores_XA.max(axis=1, keepdims=True)
    return np.asarray(shifted_XA - np.log(np.exp(shifted_XA).sum(axis=1, keepdims=True)), np.float64)
