"""Replies to exams as figures: of one wording, and the mean over several of one task.

Shapes: X exams, U users, T templates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.metrics import bootstrap as resampled_mean
from models.metrics import hit_rate, ndcg
from models.p5.drawing import PICKS
from models.p5.exams import Exam
from models.p5.measures import auc, bleu, distinct, resampled, rmse, rouge
from models.p5.replies import ANSWERS, Reply
from models.p5.templates import Task

RATINGS: Final = (Task.STARS, Task.REVIEW_STARS)


@dataclass(frozen=True, slots=True, eq=False)
class Grades:
    """Of one template. each: by measure, values_X of which means are taken. whole: measures of all exams together; None
    where they say nothing. errors_X: of stars, the expected ones less the true.
    """

    each: Mapping[str, NDArray[np.float64]]
    whole: Mapping[str, float | None] = field(default_factory=dict)
    errors_X: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


def main_measure(task: Task) -> str:
    """The one that has an interval, and by which templates are compared."""
    if task is Task.NEXT:
        return "ndcg@10"
    if task in PICKS:
        return "hr@1"
    if task in RATINGS:
        return "rmse"
    return "accuracy" if task in ANSWERS else "rouge-l"


def grade(task: Task, exams: Sequence[Exam], replies: Sequence[Reply]) -> Grades:
    """Every reply counts, an item that was not found as one beyond all ranks."""
    values_X = np.array([one.value for one in replies], np.float64)
    if task is Task.NEXT:
        ranks_X = values_X.astype(np.int64)
        each = {f"hr@{k}": hit_rate(ranks_X, k) for k in (5, 10)} | {f"ndcg@{k}": ndcg(ranks_X, k) for k in (5, 10)}
        return Grades(each)
    if task in PICKS:
        ranks_X = values_X.astype(np.int64)
        return Grades({"hr@1": hit_rate(ranks_X, 1), "ndcg@10": ndcg(ranks_X, 10)})
    if task in RATINGS:
        errors_X = values_X - np.array([one.stars for one in exams], np.float64)
        return Grades({"mae": np.abs(errors_X)}, {"rmse": rmse(errors_X)}, errors_X)
    if task in ANSWERS:
        is_true_X = np.array([one.answer[0] == ANSWERS[task][0] for one in exams], np.bool_)
        share = float(is_true_X.mean())
        accuracy_X = ((values_X > 0.5) == is_true_X).astype(np.float64)
        return Grades({"accuracy": accuracy_X}, {"auc": auc(values_X, is_true_X), "always": max(share, 1 - share)})
    texts, true = [one.text for one in replies], [" ".join(map(str, one.answer)) for one in exams]
    return Grades(rouge(texts, true), {"bleu-4": bleu(texts, true), "distinct": distinct(texts)})


def figures(task: Task, exams: Sequence[Exam], graded: Mapping[str, Grades], bootstrap: int) -> dict[str, Any]:
    """Means over templates, the main measure with an interval over users and by template. graded: by template's id."""
    main, grades = main_measure(task), list(graded.values())
    users_X = np.unique([one.user for one in exams], return_inverse=True)[1]
    found: dict[str, Any] = {"templates": len(grades), "users": int(users_X.max()) + 1, "questions": len(exams)}
    found |= {name: float(np.mean([one.each[name] for one in grades])) for name in grades[0].each}
    for name in grades[0].whole:
        values = [value for one in grades if (value := one.whole[name]) is not None]
        found[name] = float(np.mean(values)) if values else None
    if bootstrap:
        if task in RATINGS:  # one question a user
            errors_TX = np.stack([one.errors_X for one in grades])
            spread = resampled(lambda chosen: rmse(errors_TX[:, chosen]), len(exams), bootstrap, seed=0)
        else:
            values_U = by_user(np.mean([one.each[main] for one in grades], axis=0), users_X)
            spread = resampled_mean(values_U, bootstrap, seed=0)
        found |= {f"{main}_low": spread.low, f"{main}_high": spread.high}
    found["by_template"] = {
        name: one.whole[main] if main in one.whole else float(one.each[main].mean()) for name, one in graded.items()
    }
    return found


def by_user(values_X: NDArray[np.float64], users_X: NDArray[np.int64]) -> NDArray[np.float64]:
    """values_U: each user's mean; users: numbered from 0."""
    return np.asarray(np.bincount(users_X, values_X) / np.bincount(users_X), np.float64)
