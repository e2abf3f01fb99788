"""What a model's scores answer: a rating as the mean of the levels by their probabilities, a choice as a ranking of the
candidates.

Shapes: X cases, A answers: levels (L), or items (N) of which some are candidates (C).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.summaries.downstream.cases import Case, Task


def answer(task: Task, case: Case) -> int:
    """The true one, by its place among those that a model of the task scores."""
    return case.level if task is Task.RATING else case.item


def among(task: Task, scores_XA: NDArray[np.float32], cases: Sequence[Case]) -> NDArray[np.float64]:
    """The scores of what may be answered: of all levels, or of a case's candidates in their order, minus infinity where
    a case has fewer."""
    if task is Task.RATING:
        return scores_XA.astype(np.float64)
    most = max((len(case.candidates) for case in cases), default=0)
    scores_XC = np.full((len(cases), most), -np.inf)
    for row, case in enumerate(cases):
        scores_XC[row, : len(case.candidates)] = scores_XA[row, list(case.candidates)]
    return scores_XC


def log_chances(task: Task, scores_XA: NDArray[np.float32], cases: Sequence[Case]) -> NDArray[np.float64]:
    """log_X of the true answer's probability: of all levels, or among the candidates."""
    places = [case.level if task is Task.RATING else case.candidates.index(case.item) for case in cases]
    return log_softmax(among(task, scores_XA, cases))[np.arange(len(cases)), places]


def ratings(scores_XL: NDArray[np.float32], levels_L: NDArray[np.float64]) -> NDArray[np.float64]:
    """ratings_X, in the values of the scale."""
    return np.exp(log_softmax(scores_XL)) @ levels_L


def ranks(scores_XN: NDArray[np.float32], cases: Sequence[Case]) -> NDArray[np.int64]:
    """ranks_X of the true item among its candidates, from 1; what ties with it stands before it."""
    scores_XC = among(Task.CHOICE, scores_XN, cases)
    true_X1 = scores_XN[np.arange(len(cases)), [case.item for case in cases]][:, None]
    return np.asarray((scores_XC >= true_X1).sum(axis=1), np.int64)


def log_softmax(scores_XA: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float64]:
    """log_XA of the answers' probabilities."""
    shifted_XA = scores_XA.astype(np.float64) - scores_XA.max(axis=1, keepdims=True)
    return np.asarray(shifted_XA - np.log(np.exp(shifted_XA).sum(axis=1, keepdims=True)), np.float64)
