"""Drawing questions that nobody can answer who does not know the user.

A question is put to as many users as it has choices: one of the split, and training users beside, each at a moment of
their own. It is kept when each of their answers is true of its own user and of none of the others; the answers are its
choices. Had another of these users been the one who is asked, the choices would be the same, so that each is as likely
as any other to be true: a guess by popularity, or by anything else that knows no user, is right by chance alone, and
the truth's rank by popularity is uniform. For the same reason a question that is not kept is not mended: common answers
are the harder ones to find others for, and would be true too often among those that are left.

What is drawn for a user depends on the seed, on the user's id and events, and on training users; on nobody else.
Shapes: Q questions, C choices, T tries a user, K coins a try.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.errors import InvalidInput
from models.soft_prompt.answering import PUTS, Answers, Coins, Put
from models.soft_prompt.log import Log, Split
from models.soft_prompt.moments import Moments
from models.soft_prompt.questions import Question
from models.soft_prompt.tasks import COUNTS, PLACES, WORDINGS, Asking, Task

PILOT: Final = 50  # tries a training user, which tell how many a question takes
TRIES_MOST: Final = 5000  # a user: of what takes more, the data have hardly any
BLOCK: Final = 100_000  # tries at a time


def draw(
    log: Log, split: Split | str, asking: Asking | None = None, *, seed: int = 0, tasks: Sequence[Task] = tuple(Task)
) -> list[Question]:
    """Questions about the users of a split, task by task and user by user; the same again for the same seed.

    Users are asked as often as their answers fit together with those of others: who is like everybody less often than
    who is not. A task of which the data have no questions is left out. Raises InvalidInput when that is every task.
    """
    asking, split = asking or Asking(), Split(split)
    drawn = [question for task in tasks for question in _of_task(log, split, asking, seed, task)]
    if not drawn:
        raise InvalidInput(
            "data",
            f"no question can be drawn about the users of {split}; it takes users of more than {asking.recent} events "
            "whose items differ in their categories: set a smaller `recent`, or bring more events",
        )
    return drawn


def even(questions: Sequence[Question], seed: int = 0) -> list[Question]:
    """The questions without so many, drawn at random, that in every task each rank by popularity is true equally often:
    what is left to the chance of which users there are is taken from the guess by popularity too, which then scores
    exactly what chance does. Which questions are left depends on all of them; what they ask does not."""
    rng = np.random.default_rng(seed)
    left: list[int] = []
    for task in Task:
        places = rng.permutation([place for place, one in enumerate(questions) if one.task is task]).tolist()
        of_rank: dict[int, list[int]] = {}
        for place in places:
            of_rank.setdefault(questions[place].popularity_rank, []).append(place)
        choices = max((len(questions[place].choices) for place in places), default=0)
        fewest = min((len(of_rank.get(rank, ())) for rank in range(choices)), default=0)
        left += [place for some in of_rank.values() for place in some[:fewest]]
    return [questions[place] for place in sorted(left)]


def _of_task(log: Log, split: Split, asking: Asking, seed: int, task: Task) -> Iterator[Question]:
    moments = Moments.of(log, task, asking)
    asked_U, pool_U = (moments.those_with(log.users_of(one)) for one in (split, Split.TRAIN))
    if not (len(asked_U) and len(pool_U)):
        return
    put = PUTS[task](log, asking, moments, np.isin(moments.user_M, pool_U))
    drawing = _Drawing(log, task, asking, seed, moments, pool_U, put)
    kept = sum(len(one.moment_Q) for one in drawing.kept(pool_U, PILOT))
    if kept:
        tries = min(math.ceil(asking.each * PILOT * len(pool_U) / kept), TRIES_MOST)
        for one in drawing.kept(asked_U, tries):
            yield from drawing.questions(one)


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """wording_Q: in [0, 1). order_QC: which answer each choice is; 0 is the truth."""

    moment_Q: NDArray[np.int64]
    answers: Answers
    wording_Q: NDArray[np.float64]
    order_QC: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Drawing:
    """One task of one split. pool_U: the training users who have a moment."""

    log: Log
    task: Task
    asking: Asking
    seed: int
    moments: Moments
    pool_U: NDArray[np.int64]
    put: Put

    def kept(self, asked_U: NDArray[np.int64], tries: int) -> Iterator[_Kept]:
        """What is kept of so many tries with each user, some users at a time."""
        step = max(1, BLOCK // tries)
        for begin in range(0, len(asked_U), step):
            yield self._kept(asked_U[begin : begin + step], tries)

    def _kept(self, asked_U: NDArray[np.int64], tries: int) -> _Kept:
        choices = self.asking.choices
        coins_QK = np.concatenate([self._coins(user, tries) for user in asked_U.tolist()])
        bounds = np.cumsum([1, 1, 1, choices - 1, *[choices] * 3])
        window, shared, wording, other, moment, event, category, order = np.split(coins_QK, bounds, axis=1)
        others_QC = self.pool_U[(other * len(self.pool_U)).astype(np.int64)]
        users_QC = np.concatenate([np.repeat(asked_U, tries)[:, None], others_QC], axis=1)
        first_QC, counts_QC = self.moments.first_U[users_QC], self.moments.count_U[users_QC]
        moment_QC = first_QC + (moment * counts_QC).astype(np.int64)
        answers = self.put(moment_QC, Coins(event, category, window[:, 0], shared[:, 0]))
        is_kept_Q = (answers.told_QCC == np.eye(choices, dtype=np.bool_)).all(axis=(1, 2))
        order_QC = np.argsort(order[is_kept_Q], axis=1)
        return _Kept(moment_QC[is_kept_Q, 0], answers.where(is_kept_Q), wording[is_kept_Q, 0], order_QC)

    def _coins(self, user: int, tries: int) -> NDArray[np.float64]:
        """A user's own, whoever else is asked."""
        digest = blake2b(self.log.past.users[user].encode(), digest_size=16, person=self.task[:16].encode()).digest()
        rng = np.random.default_rng([self.seed, int.from_bytes(digest)])
        return rng.random((tries, 5 * self.asking.choices + 2))

    def questions(self, kept: _Kept) -> Iterator[Question]:
        """They in words."""
        answers, wordings = kept.answers, WORDINGS[self.task]
        # Of equally common answers the one with the smaller number: the order of items' digests, which tells nothing.
        by_rank_QC = np.lexsort((answers.answer_QC, -answers.common_QC), axis=1)
        rank_QC = np.take_along_axis(np.argsort(by_rank_QC, axis=1), kept.order_QC, axis=1)
        answer_QC = np.take_along_axis(answers.answer_QC, kept.order_QC, axis=1)
        for user, cut, wording, n, category, order, answer, rank in zip(
            self.moments.user_M[kept.moment_Q].tolist(),
            self.moments.cut_M[kept.moment_Q].tolist(),
            (kept.wording_Q * len(wordings)).astype(np.int64).tolist(),
            answers.n_Q.tolist(),
            answers.category_Q.tolist(),
            kept.order_QC.tolist(),
            answer_QC.tolist(),
            rank_QC.tolist(),
            strict=True,
        ):
            named = self.log.categories_G[category] if category >= 0 else ""
            slots = {"n": n, "nth": PLACES[n - 1], "category": named}
            text, choices = wordings[wording].format(**slots), tuple(map(self._said, answer))
            yield Question(self.task, user, cut, text, choices, order.index(0), tuple(rank), n, named)

    def _said(self, answer: int) -> str:
        match self.task:
            case Task.NEXT_ITEM:
                return self.log.names_N[answer]
            case Task.MATCH:
                return COUNTS[answer]
            case Task.TRAJECTORY:
                earlier, later = divmod(answer, len(self.log.categories_G))
                return f"from {self.log.categories_G[earlier]} to {self.log.categories_G[later]}"
        return self.log.categories_G[answer]
