"""What data allow to be asked: which families, about which events, and the strangers that answers of "no" need.

Shapes: E events, U users, R items that occur, X examples, C candidates.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.errors import InvalidInput
from models.p5.data import P5Data
from models.p5.facts import HIGH
from models.p5.past import Past, Timeline, star_numbers
from models.p5.questions import Asker, ItemStars
from models.p5.spoken import Features, Spoken
from models.p5.templates import Family, Task, tasks_of

TRIES: Final = 4  # at an item that a user has not had


@dataclass(frozen=True, slots=True)
class Mix:
    """families: examples of each an epoch, for every event that it can use. tasks: shares within a family, 1 for those
    not named. history: most items of one in a prompt. candidates: how many a pick has. following: how
    many items an answer to NEXT names, the next one and those after it: lessons that cost next to nothing.
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
    following: int = 1

    def __post_init__(self) -> None:
        """Raises InvalidInput that names the field."""
        for name, least in (("history", 1), ("candidates", 2), ("following", 1)):
            if getattr(self, name) < least:
                raise InvalidInput(name, f"{getattr(self, name)} was given; it is at least {least}")
        for share in (*self.families.values(), *self.tasks.values()):
            if not 0 <= share < math.inf:
                raise InvalidInput("mix", f"a share of {share} was given; shares are finite and not negative")


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
        self.features = Features(data.reviews, data.items_E.tolist())
        self.spoken = self._spoken()
        place_N = np.full(data.n_items, -1, np.int64)
        place_N[self.rows_R] = np.arange(len(self.rows_R))
        self._had = np.unique(self.users_E * len(self.rows_R) + place_N[data.items_E])
        self.usable = self._usable()

    @property
    def explains_by(self) -> str:
        """What explanations are made of: "reviews" or "facts"."""
        return "reviews" if self.data.reviews else "facts"

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

    def past_of(self, user: int) -> Past:
        """A user with all events of the training part."""
        begin, end = self.data.starts_V[user : user + 2].tolist()
        return self.timeline.before(end, end - begin)

    def had(self, user: int) -> NDArray[np.int64]:
        """The rows of all events of a user in the training part, oldest first."""
        return self.data.items_E[self.data.starts_V[user] : self.data.starts_V[user + 1]]

    def following(self, event: int) -> tuple[int, ...]:
        """The item of an event and those that the user had after it, as many as the mix says."""
        end = min(event + self.mix.following, self.data.starts_V.item(self.users_E.item(event) + 1))
        return tuple(self.data.items_E[event:end].tolist())

    def _has(self, users: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
        keys = users * len(self.rows_R) + places
        found = np.searchsorted(self._had, keys)
        is_had: NDArray[np.bool_] = self._had[np.minimum(found, len(self._had) - 1)] == keys
        return is_had

    def _spoken(self) -> dict[int, Spoken]:
        """By event, what its review says that explains the item."""
        found: dict[int, Spoken] = {}
        for review in self.data.reviews:
            spoken = self.features.of(review.text, self.data.items_E.item(review.event), is_one=True)
            if spoken is not None:
                found[review.event] = spoken
        return found

    def _usable(self) -> dict[Task, NDArray[np.bool_]]:
        said = list(self.review_of.values())
        rated_E = ~np.isnan(self.data.values_E)
        usable = dict.fromkeys(Task, np.zeros(len(self.users_E), np.bool_))
        for family in self.families:
            if self.mix.families.get(family, 0.0) <= 0:
                continue
            if family in (Family.SEQUENTIAL, Family.DIRECT):
                usable |= dict.fromkeys(tasks_of(family), self.before_E > 0)
            elif family is Family.RATING:
                usable |= dict.fromkeys(tasks_of(family), rated_E)
            elif family is Family.REVIEW:
                usable[Task.HEADLINE] = self._chosen(one.event for one in said if one.headline)
                usable[Task.REVIEW_STARS] = self._chosen(one.event for one in said) & rated_E
            elif self.data.reviews:
                usable |= dict.fromkeys(tasks_of(family), self._chosen(self.spoken))
                usable[Task.EXPLAIN_RATED] = usable[Task.EXPLAIN] & rated_E
            else:
                usable |= dict.fromkeys(tasks_of(family), self._explainable(by_stars=False))
                usable[Task.EXPLAIN_RATED] = self._explainable(by_stars=True)
        return usable

    def _explainable(self, *, by_stars: bool) -> NDArray[np.bool_]:
        """Which events facts explain: as a good choice, unless they were rated below HIGH, or by their stars."""
        explained: list[int] = []
        numbers = star_numbers(self.data.values_E).tolist()
        for event, (item, stars, before) in enumerate(
            zip(self.data.items_E.tolist(), numbers, self.before_E.tolist(), strict=True)
        ):
            if stars if by_stars else stars == 0 or stars >= HIGH:
                past = self.timeline.before(event, before)
                if self.asker.reasons(past, item, stars if by_stars else None):
                    explained.append(event)
        return self._chosen(explained)

    def _chosen(self, events: Iterable[int]) -> NDArray[np.bool_]:
        chosen_E = np.zeros(len(self.users_E), np.bool_)
        chosen_E[list(events)] = True
        return chosen_E
