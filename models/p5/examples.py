"""What P5 is trained on in an epoch: every example drawn at once as arrays, and rendered as prompt and answer when asked.

What is drawn depends on the seed, the epoch and the events, and on items only through the order of their first
appearance: other numbers for the items renumber the examples and change nothing else.
Shapes: E events, X examples, T tasks, R items that occur, C candidates.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.p5.data import P5Data
from models.p5.facts import HIGH
from models.p5.questions import HEADLINE_WORDS, YES_NO, Asker, ItemStars, Person, stars_word, worded
from models.p5.templates import Family, Task, Template, family_of, templates_of
from models.p5.words import Word, words_of

FAMILIES: Final[Mapping[Family, float]] = {
    Family.SEQUENTIAL: 1.0,
    Family.RATING: 0.5,
    Family.DIRECT: 0.25,
    Family.EXPLANATION: 0.25,
    Family.REVIEW: 1.0,
}
TASKS: Final[Mapping[Task, float]] = {Task.NEXT: 8.0, Task.STARS: 4.0}  # 1 for every other

COLD: Final = 1 / 50  # of the histories are empty: what is asked of a user who is new
SHORT: Final = 1 / 5  # end as they do but start later
FOLDS: Final = 5  # of users: the mean of others is that of the four folds a user is not in


@dataclass(frozen=True, slots=True)
class Mix:
    """families: examples of each for every event that it can use, an epoch. tasks: their shares within a family.

    history: most items of one in a prompt. candidates: how many a pick has.
    """

    families: Mapping[Family, float] = field(default_factory=lambda: FAMILIES)
    tasks: Mapping[Task, float] = field(default_factory=lambda: TASKS)
    history: int = 20
    candidates: int = 20


@dataclass(frozen=True, slots=True)
class Example:
    """prompt, answer: words, and rows for items."""

    template: Template
    prompt: tuple[Word, ...]
    answer: tuple[Word, ...]


def families_of(data: P5Data) -> tuple[list[Family], list[str]]:
    """The families that the data allow, and a message for each that is left out."""
    stars = data.values_E[~np.isnan(data.values_E)]
    refused: dict[Family, str] = {}
    if not (np.diff(data.starts_V) > 1).any():
        refused |= dict.fromkeys((Family.SEQUENTIAL, Family.DIRECT), "no user has two events")
    if not len(stars):
        refused[Family.RATING] = "no event has a rating"
    elif stars.min() < 0 or stars.max() > 5:
        refused[Family.RATING] = f"ratings are from {stars.min():g} to {stars.max():g}, not stars from 1 to 5"
    elif stars.min() == stars.max():
        refused[Family.RATING] = f"every rating is {stars.min():g}"
    if not any(data.categories) or not (np.diff(data.starts_V) > 1).any():
        refused[Family.EXPLANATION] = "no item has categories that an explanation could name"
    if not data.reviews:
        refused[Family.REVIEW] = "no event has a review"
    return (
        [family for family in Family if family not in refused],
        [f"{family} is left out: {reason}" for family, reason in refused.items()],
    )


class Corpus:
    """The examples that data allow, of which each epoch draws its own. left_out: a message for each missing family."""

    def __init__(self, data: P5Data, mix: Mix | None = None) -> None:
        self.data = data
        self.mix = mix or Mix()
        self.families, self.left_out = families_of(data)
        self.asker = Asker(
            data.titles,
            data.categories,
            ItemStars.of(data.items_E, data.values_E, data.n_items),
            self.mix.history,
        )
        self.users_E = np.repeat(np.arange(data.n_users), np.diff(data.starts_V))
        self.before_E = np.arange(len(data.items_E)) - data.starts_V[self.users_E]
        self.rows_R = data.by_appearance()
        place_N = np.full(data.n_items, -1, np.int64)
        place_N[self.rows_R] = np.arange(len(self.rows_R))
        self.place_E = place_N[data.items_E]
        self.review_of = {review.event: review for review in data.reviews}
        self._had = np.unique(self.users_E * len(self.rows_R) + self.place_E)
        self._usable = self._usable_events()

    def epoch(self, seed: int, epoch: int) -> "Examples":
        """The examples of an epoch, in random order."""
        rng = np.random.default_rng([seed, epoch])
        parts = [self._drawn(family, np.random.default_rng([seed, epoch, n])) for n, family in enumerate(Family)]
        plan = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        order = rng.permutation(len(plan["event"]))
        folds_U = rng.integers(0, FOLDS, self.data.n_users)
        return Examples(self, {name: column[order] for name, column in plan.items()}, folds_U)

    def has(self, users: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each user has had the item of each place, in training."""
        keys = users * len(self.rows_R) + places
        found = np.searchsorted(self._had, keys)
        return self._had[np.minimum(found, len(self._had) - 1)] == keys

    def strangers(self, users_X: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """places_XC: items that each user has not had, drawn evenly; -1 where a few tries found none."""
        places_XC = rng.integers(0, len(self.rows_R), (len(users_X), count))
        users_XC = np.broadcast_to(users_X[:, None], places_XC.shape)
        for _ in range(4):
            again_XC = self.has(users_XC, places_XC)
            places_XC[again_XC] = rng.integers(0, len(self.rows_R), int(again_XC.sum()))
        places_XC[self.has(users_XC, places_XC)] = -1
        return places_XC

    def person(self, event: int, length: int) -> Person:
        """The user of an event as they were before it, by the newest `length` events."""
        return Person(self.data.items_E[event - length : event], self.data.values_E[event - length : event])

    def _usable_events(self) -> dict[Task, NDArray[np.bool_]]:
        """By task, whether each event is one that it can be asked about."""
        rated_E = ~np.isnan(self.data.values_E)
        usable: dict[Task, NDArray[np.bool_]] = {}
        for task in Task:
            family = family_of(task)
            if family not in self.families or self.mix.families.get(family, 0.0) <= 0:
                usable[task] = np.zeros(len(rated_E), np.bool_)
            elif family is Family.RATING:
                usable[task] = rated_E
            elif family is Family.EXPLANATION:
                usable[task] = self._explainable(task)
            elif family is Family.REVIEW:
                usable[task] = self._reviewed(task)
            else:
                usable[task] = self.before_E > 0
        return usable

    def _explainable(self, task: Task) -> NDArray[np.bool_]:
        explainable_E = np.zeros(len(self.users_E), np.bool_)
        values = self.data.values_E.tolist()
        for event, (item, before, stars) in enumerate(
            zip(self.data.items_E.tolist(), self.before_E.tolist(), values, strict=True)
        ):
            if task is Task.EXPLAIN_RATED:
                told = stars if stars == stars else None
                if told is None:
                    continue
                found = self.asker.evidence(self.person(event, before), item, stars=told)
            else:
                found = None if stars < HIGH else self.asker.evidence(self.person(event, before), item)
            explainable_E[event] = found is not None
        return explainable_E

    def _reviewed(self, task: Task) -> NDArray[np.bool_]:
        reviewed_E = np.zeros(len(self.users_E), np.bool_)
        for review in self.data.reviews:
            known = review.headline if task is Task.HEADLINE else not np.isnan(self.data.values_E[review.event])
            reviewed_E[review.event] = bool(review.text and known)
        return reviewed_E

    def _drawn(self, family: Family, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """The plan of a family's examples. coin: for whatever else is to be chosen. strangers_XC: candidates."""
        tasks = [task for task in Task if family_of(task) is family]
        usable_ET = np.stack([self._usable[task] for task in tasks], axis=1)
        events = _repeated(np.flatnonzero(usable_ET.any(axis=1)), self.mix.families.get(family, 0.0), rng)
        shares_XT = usable_ET[events] * np.array([self.mix.tasks.get(task, 1.0) for task in tasks])
        bounds_XT = np.cumsum(shares_XT, axis=1)
        drawn_X = (rng.random(len(events))[:, None] * bounds_XT[:, -1:] >= bounds_XT).sum(axis=1)
        numbers = np.array([_TASKS.index(task) for task in tasks])
        length_X = self.before_E[events].copy()
        if family in (Family.SEQUENTIAL, Family.DIRECT):
            length_X = _windows(length_X, self.mix.history, rng)
        users_X = self.users_E[events]
        return {
            "event": events,
            "task": numbers[drawn_X],
            "wording": rng.random(len(events)),
            "length": length_X,
            "coin": rng.random(len(events)),
            "which": rng.random(len(events)),
            "strangers": self._candidates(family, users_X, rng),
        }

    def _candidates(self, family: Family, users_X: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        if family not in (Family.SEQUENTIAL, Family.DIRECT):
            return np.full((len(users_X), self.mix.candidates), -1, np.int32)
        return self.strangers(users_X, self.mix.candidates, rng).astype(np.int32)


_TASKS: Final = tuple(Task)
_SEEN: Final[Mapping[Task, tuple[Template, ...]]] = {task: templates_of(task) for task in Task}


class Examples:
    """The examples of an epoch, rendered when asked for."""

    def __init__(self, corpus: Corpus, plan: dict[str, NDArray[Any]], folds_U: NDArray[np.int64]) -> None:
        data = corpus.data
        self._corpus = corpus
        self._plan = plan
        rated_E = ~np.isnan(data.values_E)
        keys = data.items_E[rated_E] * FOLDS + folds_U[corpus.users_E[rated_E]]
        self._folds_U = folds_U
        self._sums = np.bincount(keys, data.values_E[rated_E].astype(np.float64), data.n_items * FOLDS)
        self._counts = np.bincount(keys, minlength=data.n_items * FOLDS)

    def __len__(self) -> int:
        return len(self._plan["event"])

    def __iter__(self) -> Iterator[Example]:
        for first in range(0, len(self), 1024):
            yield from self[range(first, min(first + 1024, len(self)))]

    def __getitem__(self, numbers: Sequence[int] | NDArray[np.int64]) -> list[Example]:
        """The examples of these numbers, from 0."""
        chosen = np.asarray(numbers, np.int64)
        plan = self._plan
        columns = [plan[name][chosen].tolist() for name in ("event", "task", "wording", "length", "coin", "which")]
        strangers = plan["strangers"][chosen]
        return [self._one(*one, strangers[n]) for n, one in enumerate(zip(*columns, strict=True))]

    def _one(
        self,
        event: int,
        number: int,
        wording: float,
        length: int,
        coin: float,
        which: float,
        strangers_C: NDArray[np.int32],
    ) -> Example:
        corpus, task = self._corpus, _TASKS[number]
        asker, data = corpus.asker, corpus.data
        templates = _SEEN[task]
        template = templates[int(wording * len(templates))]
        item, stars = data.items_E.item(event), data.values_E.item(event)
        person = corpus.person(event, length)
        answer: tuple[Word, ...] = (item,)
        if task is Task.NEXT:
            question = asker.next(person)
        elif task is Task.PICK_NEXT or task is Task.PICK:
            candidates = list(dict.fromkeys(corpus.rows_R[place] for place in strangers_C.tolist()[:-1] if place >= 0))
            candidates = [int(row) for row in candidates]
            candidates.insert(int(which * (len(candidates) + 1)), item)
            ask = asker.pick_next if task is Task.PICK_NEXT else asker.pick
            question = ask(person, candidates)
        elif task is Task.IS_NEXT or task is Task.SUITS:
            place = int(strangers_C[0])
            is_true = coin < 0.5 or place < 0
            asked = item if is_true else int(corpus.rows_R[place])
            question = (asker.is_next if task is Task.IS_NEXT else asker.suits)(person, asked)
            answer = YES_NO[is_true]
        elif family_of(task) is Family.RATING:
            key = item * FOLDS + self._folds_U.item(corpus.users_E.item(event))
            less = (self._sums.item(key), self._counts.item(key))
            if task is Task.STARS:
                question, answer = asker.stars(person, item, less), stars_word(stars)
            elif task is Task.LIKES:
                question = asker.likes(person, item, less)
                answer = ("like",) if stars >= HIGH else ("dislike",)
            else:
                is_true = coin < 0.5
                (given,) = stars_word(stars)
                other = 1 + (int(given) + int(which * 4)) % 5
                question = asker.gives(person, item, stars if is_true else other, less)
                answer = YES_NO[is_true]
        elif task is Task.EXPLAIN_RATED:
            question = asker.explain_rated(person, item, stars)
            answer = asker.sentence(asker.evidence(person, item, stars=stars))
        elif task is Task.EXPLAIN:
            question = asker.explain(person, item)
            answer = asker.sentence(asker.evidence(person, item))
        elif task is Task.EXPLAIN_BY:
            names = asker.shared(person, item)
            feature = names[int(which * len(names))]
            question = asker.explain_by(person, item, feature)
            answer = asker.sentence(asker.evidence(person, item, feature=feature))
        else:
            review = corpus.review_of[event]
            if task is Task.HEADLINE:
                question, answer = asker.headline(review.text), words_of(review.headline, HEADLINE_WORDS)
            else:
                question, answer = asker.review_stars(review.text), stars_word(stars)
        return Example(template, worded(question, template), answer)


def _repeated(events: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Each event as often as the share says: whole times all of them, and a random part of them for the rest."""
    whole, rest = int(share), share - int(share)
    part = rng.permutation(events)[: round(rest * len(events))]
    return np.concatenate([np.repeat(events, whole), part])


def _windows(length_X: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Lengths of histories: all that a prompt takes, now and then a shorter one, and now and then none."""
    full_X = np.minimum(length_X, most)
    coin_X = rng.random(len(length_X))
    short_X = rng.integers(1, np.maximum(full_X, 1) + 1)
    return np.where(coin_X < COLD, 0, np.where(coin_X < SHORT, short_X, length_X))
