"""What is asked of P5, before its wording: the slots of a task filled for one user. Training, evaluation and serving
ask by the same code, so that a model is asked what it was trained to answer.

Shapes: N items, L events of a history.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.errors import InvalidInput
from models.p5.facts import HIGH, Evidence, Manner, evidence, manner_of, sentence
from models.p5.templates import Family, Task, Template, family_of
from models.p5.words import Word, words_of

RATED: Final = 8  # rated items of a prompt: two words each
LIKED: Final = 6  # items of a prompt that stand for a taste
FAVOURITES: Final = 3  # categories of a prompt that do
TITLE_WORDS: Final = 16
CATEGORY_WORDS: Final = 12
REVIEW_WORDS: Final = 100
HEADLINE_WORDS: Final = 16

# What stands in a slot of which nothing is known.
NOTHING: Final[tuple[Word, ...]] = ("nothing",)
UNKNOWN: Final[tuple[Word, ...]] = ("unknown",)
YES_NO: Final[tuple[tuple[Word, ...], ...]] = (("no",), ("yes",))
_STARS: Final[tuple[tuple[Word, ...], ...]] = tuple((str(number),) for number in range(6))

Values = Mapping[str, tuple[Word, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """A user as a history: rows of items, the oldest first, and the stars given to them, NaN for none; without `stars`
    none were given. Raises InvalidInput when their numbers differ.
    """

    items: InitVar[Sequence[int] | NDArray[np.int64]]
    stars: InitVar[Sequence[float] | NDArray[np.float32] | None] = None
    items_L: NDArray[np.int64] = field(init=False)
    stars_L: NDArray[np.float32] = field(init=False)

    def __post_init__(
        self, items: Sequence[int] | NDArray[np.int64], stars: Sequence[float] | NDArray[np.float32] | None
    ) -> None:
        items_L = np.asarray(items, np.int64)
        stars_L = np.full(len(items_L), np.nan, np.float32) if stars is None else np.asarray(stars, np.float32)
        if len(stars_L) != len(items_L):
            raise InvalidInput("stars", f"{len(stars_L)} for {len(items_L)} items; give one for each, NaN for none")
        object.__setattr__(self, "items_L", items_L)
        object.__setattr__(self, "stars_L", stars_L)


@dataclass(frozen=True, slots=True)
class Question:
    """values: the words of every slot that a prompt of the task may have."""

    task: Task
    values: Values

    @property
    def family(self) -> Family:
        return family_of(self.task)


@dataclass(frozen=True, slots=True, eq=False)
class ItemStars:
    """What is known of how items are rated in training: sums_N and counts_N of stars."""

    sums_N: NDArray[np.float64]
    counts_N: NDArray[np.int64]

    @classmethod
    def of(cls, items_E: NDArray[np.int64], values_E: NDArray[np.float32], n_items: int) -> "ItemStars":
        rated_E = ~np.isnan(values_E)
        rows, values = items_E[rated_E], values_E[rated_E].astype(np.float64)
        return cls(np.bincount(rows, values, n_items), np.bincount(rows, minlength=n_items))

    def mean(self, item: int, less: tuple[float, int] = (0.0, 0)) -> tuple[Word, ...]:
        """The mean as a word. less: sum and count of stars that are left out."""
        count = self.counts_N.item(item) - less[1]
        return (f"{(self.sums_N.item(item) - less[0]) / count:.1f}",) if count > 0 else UNKNOWN


@dataclass(frozen=True, slots=True, eq=False)
class Asker:
    """Fills slots. titles, categories: of each row. others: stars in training. history: most items of a {history}.

    Every method raises InvalidInput for an item that is no row. An empty history words "nothing".
    telling: the categories that say something: those that at most half of the items have.
    """

    titles: Sequence[str]
    categories: Sequence[Sequence[str]]
    others: ItemStars
    history: int = 20
    telling: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        counts = Counter(name for names in self.categories for name in set(names))
        telling = frozenset(name for name, count in counts.items() if 2 * count <= len(self.categories))
        object.__setattr__(self, "telling", telling)

    # --- Sequential -------------------------------------------------------------------------------------------------

    def next(self, person: Person) -> Question:
        """Which item comes next."""
        return Question(Task.NEXT, {"history": self._history(person)})

    def pick_next(self, person: Person, candidates: Sequence[int]) -> Question:
        """Which of the candidates comes next."""
        values = {"history": self._history(person), "candidates": self._rows(candidates)}
        return Question(Task.PICK_NEXT, values)

    def is_next(self, person: Person, item: int) -> Question:
        """Whether the item comes next."""
        return Question(Task.IS_NEXT, {"history": self._history(person), **self._item(item)})

    # --- Rating -----------------------------------------------------------------------------------------------------

    def stars(self, person: Person, item: int, less: tuple[float, int] = (0.0, 0)) -> Question:
        """How many stars the item gets. less: sum and count of stars for it that are left out of {others}."""
        return Question(Task.STARS, self._rating(person, item, less))

    def gives(self, person: Person, item: int, stars: float, less: tuple[float, int] = (0.0, 0)) -> Question:
        """Whether the item gets these stars."""
        return Question(Task.GIVES, {**self._rating(person, item, less), "stars": stars_word(stars)})

    def likes(self, person: Person, item: int, less: tuple[float, int] = (0.0, 0)) -> Question:
        """Whether the user likes the item."""
        return Question(Task.LIKES, self._rating(person, item, less))

    # --- Explanation ------------------------------------------------------------------------------------------------

    def explain(self, person: Person, item: int) -> Question:
        """Why the item is a good choice."""
        return Question(Task.EXPLAIN, {"liked": self._liked(person), **self._item(item)})

    def explain_rated(self, person: Person, item: int, stars: float) -> Question:
        """Why the item gets these stars."""
        return Question(
            Task.EXPLAIN_RATED, {"rated": self._rated(person), "stars": stars_word(stars), **self._item(item)}
        )

    def explain_by(self, person: Person, item: int, feature: str) -> Question:
        """Why the item is a good choice, in terms of a feature, such as one of its categories."""
        values = {"liked": self._liked(person), "feature": words_of(feature, CATEGORY_WORDS) or UNKNOWN}
        return Question(Task.EXPLAIN_BY, {**values, **self._item(item)})

    def evidence(
        self, person: Person, item: int, *, stars: float | None = None, feature: str | None = None
    ) -> Evidence | None:
        """What a prompt shows that speaks for the item, for its stars or by a feature; None when nothing does.

        Only what stands in {liked}, or, with stars, in {rated} counts: an answer follows from its prompt.
        """
        self._rows((item,))
        names = self.telling_of(item) if feature is None else tuple({feature} & set(self.telling_of(item)))
        if not names:
            return None
        shown = self._liked_rows(person) if stars is None else self._rated_rows(person)
        if stars is not None:
            manner = manner_of(star_number(stars))
            shown = [(row, given) for row, given in shown if manner_of(given) is manner is not Manner.HAD]
        return evidence(names, [(row, given, self.categories[row]) for row, given in shown if self.titles[row]])

    def shared(self, person: Person, item: int) -> list[str]:
        """The item's categories that something in {liked} has too: by each of them it can be explained."""
        shown = [self.categories[row] for row, _ in self._liked_rows(person) if self.titles[row]]
        return [name for name in self.telling_of(item) if any(name in names for names in shown)]

    def sentence(self, found: Evidence) -> tuple[str, ...]:
        """The evidence in words."""
        titles = [" ".join(words_of(self.titles[row], TITLE_WORDS)) for row in found.items]
        return tuple(sentence(found, titles).split())

    # --- Review -----------------------------------------------------------------------------------------------------

    @staticmethod
    def headline(review: str) -> Question:
        """A headline for the review."""
        return Question(Task.HEADLINE, {"review": words_of(review, REVIEW_WORDS) or NOTHING})

    @staticmethod
    def review_stars(review: str) -> Question:
        """The stars that a review speaks of."""
        return Question(Task.REVIEW_STARS, {"review": words_of(review, REVIEW_WORDS) or NOTHING})

    # --- Direct -----------------------------------------------------------------------------------------------------

    def suits(self, person: Person, item: int) -> Question:
        """Whether the item suits the user."""
        return Question(Task.SUITS, {**self._taste(person), **self._item(item)})

    def pick(self, person: Person, candidates: Sequence[int]) -> Question:
        """Which of the candidates suits the user best."""
        return Question(Task.PICK, {**self._taste(person), "candidates": self._rows(candidates)})

    # --- Slots ------------------------------------------------------------------------------------------------------

    def telling_of(self, item: int) -> tuple[str, ...]:
        """The item's categories that say something."""
        return tuple(name for name in self.categories[item] if name in self.telling)

    def _rows(self, rows: Sequence[int]) -> tuple[Word, ...]:
        if rows and not (min(rows) >= 0 and max(rows) < len(self.titles)):
            wrong = next(row for row in rows if not 0 <= row < len(self.titles))
            raise InvalidInput("item", f"{wrong} is no row of the {len(self.titles)} items that the model knows")
        return tuple(rows) or NOTHING

    def _history(self, person: Person) -> tuple[Word, ...]:
        return self._rows(person.items_L[-self.history :].tolist())

    def _item(self, item: int) -> dict[str, tuple[Word, ...]]:
        return {
            "item": self._rows((item,)),
            "title": words_of(self.titles[item], TITLE_WORDS) or UNKNOWN,
            "categories": words_of(", ".join(self.categories[item]), CATEGORY_WORDS) or UNKNOWN,
        }

    def _rating(self, person: Person, item: int, less: tuple[float, int]) -> dict[str, tuple[Word, ...]]:
        given = person.stars_L[person.stars_L == person.stars_L]
        return {
            "rated": self._rated(person),
            "mean": (f"{given.sum() / len(given):.1f}",) if len(given) else UNKNOWN,
            **self._item(item),
            "others": self.others.mean(item, less),
        }

    def _rated(self, person: Person) -> tuple[Word, ...]:
        words: list[Word] = []
        for row, stars in self._rated_rows(person):
            words += (row, *stars_word(stars))
        return tuple(words) or NOTHING

    def _rated_rows(self, person: Person) -> list[tuple[int, float]]:
        return self._newest(person, person.stars_L == person.stars_L, RATED)

    def _liked_rows(self, person: Person) -> list[tuple[int, float]]:
        """Those that were not rated below HIGH."""
        return self._newest(person, ~(person.stars_L < HIGH), LIKED)

    def _newest(self, person: Person, wanted_L: NDArray[np.bool_], most: int) -> list[tuple[int, float]]:
        """(row, stars) of the newest wanted events, oldest first."""
        places = np.flatnonzero(wanted_L)[-most:]
        rows = person.items_L[places].tolist()
        self._rows(rows)
        return list(zip(rows, person.stars_L[places].tolist(), strict=True))

    def _liked(self, person: Person) -> tuple[Word, ...]:
        return tuple(row for row, _ in self._liked_rows(person)) or NOTHING

    def _taste(self, person: Person) -> dict[str, tuple[Word, ...]]:
        history, liked = self._history(person), self._liked(person)
        counts = Counter(
            name
            for row in (*history, *liked)
            if not isinstance(row, str)
            for name in self.categories[row]
            if name in self.telling
        )
        favourites = ", ".join(name for name, _ in counts.most_common(FAVOURITES))
        return {"history": history, "liked": liked, "likes": words_of(favourites, CATEGORY_WORDS) or UNKNOWN}


def star_number(stars: float) -> int:
    """Whole stars from 1 to 5; a half counts as the more."""
    return min(5, max(1, int(stars + 0.5)))


def stars_word(stars: float) -> tuple[Word, ...]:
    """The stars as a word."""
    return _STARS[star_number(stars)]


def worded(question: Question, template: Template) -> tuple[Word, ...]:
    """The prompt. Raises InvalidInput when the template asks for something else."""
    values = question.values
    words: list[Word] = []
    try:
        for part in template.parts:
            words.extend(values[part] if isinstance(part, str) else part)
    except KeyError as error:
        raise InvalidInput(
            "template", f"{template.id} has a slot {error} that a question of {question.task} does not fill"
        ) from None
    return tuple(words)
