"""What data allow to be asked: which families, about which events, and the strangers that answers of "no" need.

Shapes: E events, U users, R items that occur, X examples, C candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.p5.data import P5Data
from models.p5.facts import HIGH
from models.p5.past import Timeline, star_numbers
from models.p5.questions import Asker, ItemStars
from models.p5.spoken import spoken
from models.p5.templates import Family, Task, family_of

TRIES: Final = 4  # at an item that a user has not had


@dataclass(frozen=True, slots=True)
class Mix:
    """families: examples of each an epoch, for every event that it can use. tasks: shares within a family, 1 for those
    not named. history: most items of one in a prompt. candidates: how many a pick has.
    """

    families: Mapping[Family, float] = field(
        default_factory=lambda: {
            Family.SEQUENTIAL: 1.0,
            Family.RATING: 0.5,
            Family.DIRECT: 0.25,
            Family.EXPLANATION: 0.25,
            Family.REVIEW: 1.0,
        }
    )
    tasks: Mapping[Task, float] = field(default_factory=lambda: {Task.NEXT: 8.0, Task.STARS: 4.0})
    history: int = 20
    candidates: int = 20


def families_of(data: P5Data) -> tuple[list[Family], list[str]]:
    """The families that the data allow, and a message for each that is left out."""
    reasons: dict[Family, str] = {}
    if not (np.diff(data.starts_V) > 1).any():
        reasons |= dict.fromkeys((Family.SEQUENTIAL, Family.DIRECT), "no user has two events")
    if np.isnan(data.values_E).all():
        reasons[Family.RATING] = "no event has a rating from 1 to 5 stars, or all have the same"
    if not data.reviews:
        reasons[Family.REVIEW] = "no event has a review"
        if not any(data.categories):
            reasons[Family.EXPLANATION] = "no event has a review, and no item a category that it could share"
    return (
        [family for family in Family if family not in reasons],
        [f"{family} is left out: {reason}" for family, reason in reasons.items()],
    )


class Corpus:
    """The training part, ready to be asked about. left_out: a message for each family that the data lack.

    usable: by task, usable_E, the events that it can be asked about.
    """

    def __init__(self, data: P5Data, mix: Mix | None = None) -> None:
        self.data = data
        self.mix = mix or Mix()
        self.families, self.left_out = families_of(data)
        others = ItemStars.of(data.items_E, data.values_E, data.n_items)
        self.asker = Asker(data.titles, data.categories, others, self.mix.history)
        self.timeline = Timeline(data.items_E, data.values_E)
        self.users_E = np.repeat(np.arange(data.n_users), np.diff(data.starts_V))
        self.before_E = np.arange(len(data.items_E)) - data.starts_V[self.users_E]
        self.rows_R = data.by_appearance()
        self.review_of = {review.event: review for review in data.reviews}
        self.spoken = spoken(data.reviews, data.items_E.tolist())
        place_N = np.full(data.n_items, -1, np.int64)
        place_N[self.rows_R] = np.arange(len(self.rows_R))
        self._had = np.unique(self.users_E * len(self.rows_R) + place_N[data.items_E])
        self.usable = {task: self._usable(task) for task in Task}

    @property
    def explains_by(self) -> str:
        """What explanations are made of: "reviews" or "facts"."""
        return "reviews" if self.data.reviews else "facts"

    def _usable(self, task: Task) -> NDArray[np.bool_]:
        family = family_of(task)
        if family not in self.families or self.mix.families.get(family, 0.0) <= 0:
            return np.zeros(len(self.users_E), np.bool_)
        if family in (Family.SEQUENTIAL, Family.DIRECT):
            return self.before_E > 0
        if family is Family.RATING:
            return ~np.isnan(self.data.values_E)
        if family is Family.EXPLANATION:
            return self._explainable(task)
        return self._chosen([event for event in self.review_of if self._says(task, event)])

    def strangers(self, users_X: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """rows_XC: items that each user has not had in training, drawn evenly; -1 where a few tries found none."""
        places = rng.integers(0, len(self.rows_R), len(users_X) * count)
        users = np.repeat(users_X, count)
        wrong = np.flatnonzero(self._has(users, places))
        for _ in range(TRIES):
            places[wrong] = rng.integers(0, len(self.rows_R), len(wrong))
            wrong = wrong[self._has(users[wrong], places[wrong])]
        rows = self.rows_R[places]
        rows[wrong] = -1
        return rows.reshape(-1, count)

    def _has(self, users: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
        keys = users * len(self.rows_R) + places
        found = np.searchsorted(self._had, keys)
        is_had: NDArray[np.bool_] = self._had[np.minimum(found, len(self._had) - 1)] == keys
        return is_had

    def _explainable(self, task: Task) -> NDArray[np.bool_]:
        if self.data.reviews:
            return self._chosen(list(self.spoken))
        explainable: list[int] = []
        numbers = star_numbers(self.data.values_E).tolist()
        for event, (item, stars, before) in enumerate(
            zip(self.data.items_E.tolist(), numbers, self.before_E.tolist(), strict=True)
        ):
            past = self.timeline.before(event, before)
            if task is Task.EXPLAIN_RATED:
                if stars and self.asker.reasons(past, item, stars):
                    explainable.append(event)
            elif (not stars or stars >= HIGH) and self.asker.reasons(past, item):
                explainable.append(event)
        return self._chosen(explainable)

    def _says(self, task: Task, event: int) -> bool:
        review = self.review_of[event]
        known = bool(review.headline) if task is Task.HEADLINE else not np.isnan(self.data.values_E[event])
        return bool(review.text) and known

    def _chosen(self, events: Sequence[int]) -> NDArray[np.bool_]:
        chosen_E = np.zeros(len(self.users_E), np.bool_)
        chosen_E[list(events)] = True
        return chosen_E
