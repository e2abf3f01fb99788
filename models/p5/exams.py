"""What a trained P5 is measured by: questions about each user's target, which no training has seen.

Shapes: U users, C candidates.
"""

from dataclasses import dataclass

import numpy as np

from models.p5.cases import Answer, Case, posed, with_candidates
from models.p5.corpus import Corpus
from models.p5.drawing import SPARE, VERDICTS, other_stars
from models.p5.facts import HIGH
from models.p5.past import star_number
from models.p5.questions import Asker, Question
from models.p5.templates import Family, Task, family_of


@dataclass(frozen=True, slots=True)
class Exam:
    """user: the place. item: the target, stars: its own, NaN for none. answer: the true one."""

    user: int
    item: int
    stars: float
    question: Question
    answer: Answer


def exams(corpus: Corpus, task: Task, seed: int = 0, asker: Asker | None = None) -> list[Exam]:
    """The task's questions about the targets of those users whose target it can be asked about, users in order.

    asker: that of the model which is asked, where it knows less of the items than the corpus; the corpus's when None.
    Where yes or no is asked, each user is asked twice: about the truth, and about something else. What is drawn
    depends on the seed, and on items only through the order of their first appearance in training.
    """
    if family_of(task) not in corpus.families:
        return []
    data, rng = corpus.data, np.random.default_rng(seed)
    reviews = {review.event: review for review in data.target_reviews}
    strangers_UC = corpus.strangers(np.arange(data.n_users), corpus.mix.candidates + SPARE, rng)
    share_U, step_U = rng.random(data.n_users), rng.integers(0, 4, data.n_users)
    found: list[Exam] = []
    for user in np.flatnonzero(data.targets_U >= 0).tolist():
        item, value, share = data.targets_U.item(user), data.target_values_U.item(user), share_U.item(user)
        review = reviews.get(user)
        spoken = None if review is None else corpus.features.of(review.text, item)
        candidates = with_candidates(strangers_UC[user].tolist(), item, corpus.mix.candidates, share)
        case = Case(item, star_number(value), item, True, share, (0.0, 0), candidates, review, spoken)
        for one in _asked(corpus, task, case, step_U.item(user)):
            question, answer = posed(asker or corpus.asker, task, one, corpus.past_of(user))
            if answer:
                found.append(Exam(user, item, value, question, answer))
    return found


def _asked(corpus: Corpus, task: Task, case: Case, step: int) -> list[Case]:
    """The cases of the task that one target gives. step: from its stars to others."""
    family = family_of(task)
    if case.stars == 0 and (family is Family.RATING or task in (Task.EXPLAIN_RATED, Task.REVIEW_STARS)):
        return []
    if family is Family.REVIEW and case.review is None:
        return []
    if family is Family.EXPLANATION:
        if corpus.explains_by == "reviews":
            return [] if case.spoken is None else [case]
        return [case] if task is Task.EXPLAIN_RATED or case.stars == 0 or case.stars >= HIGH else []
    if task in VERDICTS:
        others = [row for row in case.candidates if row != case.item]
        return [case, *(case._replace(asked=row, is_true=False) for row in others[:1])]
    if task is Task.GIVES:
        other = other_stars(case.stars, step)
        return [case._replace(asked=case.stars), case._replace(asked=other, is_true=False)]
    return [case]
