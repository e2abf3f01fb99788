"""What accuracies say: of each task and dimension, with intervals of resampled users, and differences of paired arms.

A task's accuracy is the share of its questions that are answered right; a dimension's, the mean of its tasks'; the
average, the mean of the dimensions'. Users are what varies: all questions of a user are drawn together, and the draws
are the same for every arm, so that differences are paired.
Shapes: Q questions, U users, T tasks, R = 1 + resamples, of which the first is everybody once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from models.soft_prompt.questions import Question
from models.soft_prompt.tasks import DIMENSIONS, Dimension, Task

AVERAGE: Final = "average"

Drawn = Mapping[str, NDArray[np.float64]]
"""values_R by the name of the task or dimension, and AVERAGE."""


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """Who was asked what. task_Q: places in `tasks`. user_Q: from 0 on. weights_RU: how often each user is drawn."""

    tasks: Sequence[Task]
    task_Q: NDArray[np.int64]
    user_Q: NDArray[np.int64]
    weights_RU: NDArray[np.float64]

    @classmethod
    def of(cls, questions: Sequence[Question], resamples: int, seed: int = 0) -> Self:
        tasks = [task for task in Task if any(one.task is task for one in questions)]
        task_Q = np.array([tasks.index(one.task) for one in questions], np.int64)
        users, user_Q = np.unique([one.user for one in questions], return_inverse=True)
        count = len(users)
        drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
        return cls(tasks, task_Q, user_Q, np.concatenate([np.ones((1, count)), drawn]))

    def accuracies(self, right_Q: NDArray[Any], is_in_Q: NDArray[np.bool_] | None = None) -> Drawn:
        """right_Q: 1 for a question that was answered right, or its chance to be. is_in_Q: of these questions alone.

        A task that nobody in a resample was asked has its accuracy over everybody there.
        """
        asked_Q = np.ones(len(self.task_Q)) if is_in_Q is None else is_in_Q.astype(np.float64)
        right_RT, asked_RT = (self.weights_RU @ self._sums(one_Q) for one_Q in (asked_Q * right_Q, asked_Q))
        whole_T = right_RT[0] / np.maximum(asked_RT[0], 1)
        shares_RT = np.where(asked_RT > 0, right_RT / np.maximum(asked_RT, 1), whole_T)
        found = {str(task): shares_RT[:, place] for place, task in enumerate(self.tasks) if asked_RT[0, place]}
        of_dimension = {
            str(dimension): np.mean(some, axis=0)
            for dimension in Dimension
            if (some := [found[task] for task in found if DIMENSIONS[Task(task)] is dimension])
        }
        return {**found, **of_dimension, AVERAGE: np.mean([*of_dimension.values()], axis=0)}

    def _sums(self, values_Q: NDArray[np.float64]) -> NDArray[np.float64]:
        """sums_UT."""
        sums_UT = np.zeros((self.weights_RU.shape[1], len(self.tasks)))
        np.add.at(sums_UT, (self.user_Q, self.task_Q), values_Q)
        return sums_UT


def interval(values_R: NDArray[np.float64]) -> dict[str, float]:
    """{value, low, high}: of everybody, and the 2.5 % and 97.5 % points over the resamples."""
    low, high = np.quantile(values_R[1:] if len(values_R) > 1 else values_R, [0.025, 0.975])
    return {"value": round(float(values_R[0]), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def differences(ours: Drawn, others: Drawn) -> dict[str, dict[str, float]]:
    """By dimension, and on average over them."""
    named = [*(str(dimension) for dimension in Dimension if dimension in ours), AVERAGE]
    return {name: interval(ours[name] - others[name]) for name in named}


def terciles(lengths_Q: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Which questions are of users with short, of those with middling, and of those with long histories."""
    first, second = np.quantile(lengths_Q, [1 / 3, 2 / 3])
    is_short_Q, is_long_Q = lengths_Q <= first, lengths_Q > second
    return {"short": is_short_Q, "middle": ~is_short_Q & ~is_long_Q, "long": is_long_Q}


def spread(questions: Sequence[Question], each: int, seed: int = 0) -> list[Question]:
    """So many questions of a task at most, or a few less: of as many users as can be, and with each rank of the truth
    by popularity as often as any other."""
    rng = np.random.default_rng(seed)
    left: list[int] = []
    for task in Task:
        places = rng.permutation([place for place, one in enumerate(questions) if one.task is task]).tolist()
        turn_of: dict[int, int] = {}
        by_rank: dict[int, list[tuple[int, int]]] = {}
        for place in places:
            question = questions[place]
            turn = turn_of[question.user] = turn_of.get(question.user, -1) + 1
            by_rank.setdefault(question.popularity_rank, []).append((turn, place))
        choices = max((len(questions[place].choices) for place in places), default=1)
        fewest = min((len(by_rank.get(rank, ())) for rank in range(choices)), default=0)
        count = min(fewest, max(1, each // choices))
        left += [place for some in by_rank.values() for _, place in sorted(some, key=lambda one: one[0])[:count]]
    return [questions[place] for place in sorted(left)]
