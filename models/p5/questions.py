"""What is asked of P5, before its wording: the slots of a task filled for one user. Training, evaluation and serving
ask by the same code, so that a model is asked what it was trained to answer.

Shapes: N items, E events.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.errors import InvalidInput
from models.p5.facts import Manner, evidence, manner_of, sentence, true_sentences
from models.p5.past import Past, Rated, star_number
from models.p5.templates import Family, Task, Template, family_of
from models.p5.words import Word, words_of

RATED: Final = 8  # rated items of a prompt: two words each
LIKED: Final = 6  # items of a prompt that stand for a taste
FAVOURITES: Final = 3  # categories of a prompt that do
TITLE_WORDS: Final = 16
CATEGORY_WORDS: Final = 12
REVIEW_WORDS: Final = 100

# What stands in a slot of which nothing is known.
NOTHING: Final[tuple[Word, ...]] = ("nothing",)
UNKNOWN: Final[tuple[Word, ...]] = ("unknown",)
STARS: Final = ("none", "1", "2", "3", "4", "5")

Less = tuple[float, int]
"""Sum and count of stars that are left out of what others gave."""

Values = dict[str, tuple[Word, ...]]


@dataclass(frozen=True, slots=True)
class Question:
    """values: the words of every slot that a prompt of the task may have."""

    task: Task
    values: Mapping[str, tuple[Word, ...]]

    @property
    def family(self) -> Family:
        return family_of(self.task)


@dataclass(frozen=True, slots=True, eq=False)
class ItemStars:
    """How items were rated in training: sums_N and counts_N of stars."""

    sums_N: NDArray[np.float64]
    counts_N: NDArray[np.int64]

    @classmethod
    def of(cls, items_E: NDArray[np.int64], values_E: NDArray[np.float32], n_items: int) -> "ItemStars":
        """From all events, NaN for those without stars."""
        rows, values = items_E[~np.isnan(values_E)], values_E[~np.isnan(values_E)].astype(np.float64)
        sums_N = np.bincount(rows, weights=values, minlength=n_items).astype(np.float64)  # of no event, integers
        return cls(sums_N, np.bincount(rows, minlength=n_items))

    def mean(self, item: int, less: Less) -> float:
        """NaN when nothing is left."""
        count = self.counts_N.item(item) - less[1]
        return (self.sums_N.item(item) - less[0]) / count if count > 0 else math.nan


class Asker:
    """Fills slots. titles, categories: of each row. others: stars in training. history: most items of a {history}.

    Of the categories only those are told and shared that at most half of the items have: others tell nothing.
    Every method raises InvalidInput for an item that is no row, in a history as well. What is empty or not known is
    said in words: "nothing", "unknown".
    """

    def __init__(
        self, titles: Sequence[str], categories: Sequence[Sequence[str]], others: ItemStars, history: int = 20
    ) -> None:
        counts = Counter(name for names in categories for name in set(names))
        telling = {name for name, count in counts.items() if 2 * count <= len(categories)}
        self.titles = titles
        self.categories = [tuple(name for name in names if name in telling) for names in categories]
        self.others = others
        self.history = history
        once: dict[tuple[str, ...], frozenset[str]] = {}
        self._kinds = [once.setdefault(names, frozenset(names)) for names in self.categories]

    # --- Sequential -------------------------------------------------------------------------------------------------

    def next(self, past: Past) -> Question:
        """Which item comes next."""
        return Question(Task.NEXT, {"history": self._rows(past.newest(self.history))})

    def pick_next(self, past: Past, candidates: Sequence[int]) -> Question:
        """Which of the candidates comes next."""
        values = {"history": self._rows(past.newest(self.history)), "candidates": self._rows(candidates)}
        return Question(Task.PICK_NEXT, values)

    def is_next(self, past: Past, item: int) -> Question:
        """Whether the item comes next."""
        return Question(Task.IS_NEXT, self._item(item) | {"history": self._rows(past.newest(self.history))})

    # --- Rating -----------------------------------------------------------------------------------------------------

    def stars(self, past: Past, item: int, less: Less = (0.0, 0)) -> Question:
        """How many stars the user gives the item."""
        return Question(Task.STARS, self._rating(past, item, less))

    def gives(self, past: Past, item: int, stars: float, less: Less = (0.0, 0)) -> Question:
        """Whether the user gives the item these stars."""
        return Question(Task.GIVES, self._rating(past, item, less) | {"stars": (STARS[star_number(stars)],)})

    def likes(self, past: Past, item: int, less: Less = (0.0, 0)) -> Question:
        """Whether the user likes or dislikes the item."""
        return Question(Task.LIKES, self._rating(past, item, less))

    # --- Explanation ------------------------------------------------------------------------------------------------

    def explain(self, past: Past, item: int) -> Question:
        """Why the item is a good choice."""
        return Question(Task.EXPLAIN, self._item(item) | {"liked": self._bare(past.liked(LIKED))})

    def explain_rated(self, past: Past, item: int, stars: float) -> Question:
        """Why the user gives the item these stars."""
        values = {"rated": self._starred(past.rated(RATED)), "stars": (STARS[star_number(stars)],)}
        return Question(Task.EXPLAIN_RATED, self._item(item) | values)

    def explain_by(self, past: Past, item: int, feature: str) -> Question:
        """Why the item is a good choice in terms of a feature, such as one of its categories."""
        values = {"liked": self._bare(past.liked(LIKED)), "feature": words_of(feature, CATEGORY_WORDS) or UNKNOWN}
        return Question(Task.EXPLAIN_BY, self._item(item) | values)

    def reasons(self, past: Past, item: int, stars: float | None = None) -> Rated:
        """Of what the prompt of an explanation shows, the events of other items that share a category with the item: of
        {liked}, or, with stars, of {rated} those rated alike. An explanation by them follows from its prompt.
        """
        self._rows((item,))
        if stars is None:
            shown = past.liked(LIKED)
        else:
            manner = manner_of(star_number(stars))
            shown = [one for one in past.rated(RATED) if manner_of(one[1]) is manner is not Manner.HAD]
        self._bare(shown)
        kinds = self._kinds[item]
        return [
            (row, given)
            for row, given in shown
            if row != item and self.titles[row] and not kinds.isdisjoint(self._kinds[row])
        ]

    def features(self, item: int, reasons: Rated) -> list[str]:
        """The item's categories that one of the reasons has too: by each of them it can be explained."""
        return [name for name in self.categories[item] if any(name in self.categories[row] for row, _ in reasons)]

    def explanation(self, item: int, reasons: Rated, feature: str | None = None) -> tuple[str, ...]:
        """The facts in words. feature: the category to tell them by. Empty when no reason has it."""
        names = self.categories[item] if feature is None else (feature,)
        found = evidence(names, [(row, stars, self.categories[row]) for row, stars in reasons])
        if found is None:
            return ()
        return tuple(sentence(found, [self._title(row) for row in found.items]).split())

    def true_explanations(self, item: int, reasons: Rated) -> Iterator[tuple[str, ...]]:
        """The words of every explanation that the reasons bear out."""
        told = [(self._title(row), stars, self._kinds[row]) for row, stars in reasons]
        for one in true_sentences(self.categories[item], told):
            yield tuple(one.split())

    # --- Review -----------------------------------------------------------------------------------------------------

    @staticmethod
    def headline(review: str) -> Question:
        """A headline for the review."""
        return Question(Task.HEADLINE, {"review": words_of(review, REVIEW_WORDS) or NOTHING})

    @staticmethod
    def review_stars(review: str) -> Question:
        """The stars that the review speaks of."""
        return Question(Task.REVIEW_STARS, {"review": words_of(review, REVIEW_WORDS) or NOTHING})

    # --- Direct -----------------------------------------------------------------------------------------------------

    def suits(self, past: Past, item: int) -> Question:
        """Whether the item suits the user."""
        return Question(Task.SUITS, self._item(item) | self._taste(past))

    def pick(self, past: Past, candidates: Sequence[int]) -> Question:
        """Which of the candidates suits the user best."""
        return Question(Task.PICK, {"candidates": self._rows(candidates)} | self._taste(past))

    # --- Slots ------------------------------------------------------------------------------------------------------

    def _rows(self, rows: Sequence[int]) -> tuple[Word, ...]:
        if rows and not (min(rows) >= 0 and max(rows) < len(self.titles)):
            wrong = next(row for row in rows if not 0 <= row < len(self.titles))
            raise InvalidInput("item", f"{wrong} is no row of the {len(self.titles)} items that the model knows")
        return tuple(rows) or NOTHING

    def _bare(self, rated: Rated) -> tuple[Word, ...]:
        return self._rows([row for row, _ in rated])

    def _starred(self, rated: Rated) -> tuple[Word, ...]:
        self._bare(rated)
        return tuple([word for row, stars in rated for word in (row, STARS[stars])]) or NOTHING

    def _title(self, row: int) -> str:
        return " ".join(words_of(self.titles[row], TITLE_WORDS))

    def _item(self, item: int) -> Values:
        return {
            "item": self._rows((item,)),
            "title": words_of(self.titles[item], TITLE_WORDS) or UNKNOWN,
            "categories": _listed(self.categories[item]),
        }

    def _rating(self, past: Past, item: int, less: Less) -> Values:
        values = self._item(item)
        values["rated"] = self._starred(past.rated(RATED))
        values["mean"] = _mean_word(past.mean())
        values["others"] = _mean_word(self.others.mean(item, less))
        return values

    def _taste(self, past: Past) -> Values:
        liked = [row for row, _ in past.liked(max(self.history, LIKED))]
        values = {"history": self._rows(past.newest(self.history)), "liked": self._rows(liked)}
        counts = Counter([name for row in liked for name in self.categories[row]])
        favourites = sorted(counts, key=counts.__getitem__, reverse=True)[:FAVOURITES]  # the first met of equal ones
        return values | {"liked": tuple(liked[-LIKED:]) or NOTHING, "likes": _listed(favourites)}


def worded(question: Question, template: Template) -> tuple[Word, ...]:
    """The prompt. Raises InvalidInput when the template asks for something else."""
    words: list[Word] = []
    try:
        for part in template.parts:
            words += question.values[part] if isinstance(part, str) else part
    except KeyError as error:
        raise InvalidInput(
            "template", f"{template.id} has the slot {error}, which a question of {question.task} does not fill"
        ) from None
    return tuple(words)


def _listed(names: Sequence[str]) -> tuple[Word, ...]:
    return words_of(", ".join(names), CATEGORY_WORDS) or UNKNOWN


def _mean_word(mean: float) -> tuple[Word, ...]:
    return UNKNOWN if math.isnan(mean) else (f"{mean:.1f}",)
