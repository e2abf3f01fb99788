"""How even questions are, and what is scored by guesses that know nothing of the user.

Shapes: Q questions, C choices.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from models.soft_prompt.questions import Question
from models.soft_prompt.tasks import Task


def report(questions: Sequence[Question], learnt: Sequence[Question] | None = None) -> dict[str, Any]:
    """Per task, ready for JSON: how many there are, of how many users and moments (histories to encode); the share of
    each position of the truth and of each rank of it by popularity; the accuracy of the guess by popularity, and of the
    guess of the choice that was most often true.

    learnt: the questions by which that is told, those of training; the same questions when None, which flatters it
    where answers are many.
    """
    by_task = {
        str(task): _of_task(some, questions if learnt is None else learnt)
        for task in Task
        if (some := [one for one in questions if one.task is task])
    }
    return {"questions": len(questions), "users": len({one.user for one in questions}), "tasks": by_task}


def _of_task(questions: Sequence[Question], learnt: Sequence[Question]) -> dict[str, Any]:
    task, choices = questions[0].task, len(questions[0].choices)
    true = Counter(one.choices[one.truth] for one in learnt if one.task is task)
    most = [max(range(choices), key=lambda place: true[one.choices[place]]) for one in questions]
    truths_Q = np.array([one.truth for one in questions])
    return {
        "dimension": str(questions[0].dimension),
        "questions": len(questions),
        "users": len({one.user for one in questions}),
        "moments": len({(one.user, one.cut) for one in questions}),
        "chance": 1 / choices,
        "positions": _shares(truths_Q, choices),
        "popularity_ranks": _shares(np.array([one.popularity_rank for one in questions]), choices),
        "popularity_guess": float(np.mean([one.guess == one.truth for one in questions])),
        "majority_guess": float(np.mean(truths_Q == np.array(most))),
    }


def _shares(places_Q: np.ndarray, choices: int) -> list[float]:
    return [float(share) for share in np.bincount(places_Q, minlength=choices) / len(places_Q)]
