"""What is asked about a user: seven tasks on three dimensions, and their wordings.

The tasks are those of UQABench (Liu et al., KDD 2025, arXiv 2502.19178); the words are our own. Slots of a wording:

nth        "third last": counted back from the user's newest item
n          of how many of the user's newest items
category   the name of one
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from features.errors import InvalidInput

CHOICES_MOST: Final = 8


class Dimension(StrEnum):
    """What it takes to answer."""

    UNDERSTANDING = "sequence-understanding"  # what is in the history
    PREDICTION = "action-prediction"  # what comes after it
    INTEREST = "interest-perception"  # what it says of its user's taste


class Task(StrEnum):
    """One kind of question. Every wording of a task asks for the same."""

    FEATURE = "direct-feature"  # a category of the n-th last item
    MATCH = "match-feature"  # how many of the last n items are of a category
    NEXT_ITEM = "next-item"
    NEXT_CATEGORY = "next-category"  # a category of the next item
    LONG_TERM = "long-term-interest"  # the category chosen most often, of those offered
    SHORT_TERM = "short-term-interest"  # the same among the last n items
    TRAJECTORY = "interest-trajectory"  # the favourite category before the last n items, and that among them


@dataclass(frozen=True, slots=True)
class Asking:
    """choices: offered by a question. recent: how far back, and over how many of the newest items, a question goes.

    last: how many events of a user are kept for predictions, fewer where that is more than a fifth of the user's.
    each: questions of a task for a user, on average. moments: of a user's history, at which questions are asked that no
    later event answers: 1 for the cut alone. train, validation: the shares of users; the others are for testing.
    """

    choices: int = 4
    recent: int = 10
    last: int = 10
    each: int = 8
    moments: int = 8
    train: float = 0.7
    validation: float = 0.1

    def __post_init__(self) -> None:
        """Raises InvalidInput that names the field."""
        if not 2 <= self.choices <= CHOICES_MOST:
            raise InvalidInput("choices", f"{self.choices} was given; it is from 2 to {CHOICES_MOST}")
        if not self.choices <= self.recent <= len(PLACES):
            raise InvalidInput("recent", f"{self.recent} was given; it is from {self.choices} to {len(PLACES)}")
        for name in ("last", "each", "moments"):
            if getattr(self, name) < 1:
                raise InvalidInput(name, f"{getattr(self, name)} was given; it is at least 1")
        if not (self.train > 0 and self.validation >= 0 and self.train + self.validation <= 1):
            raise InvalidInput("train", f"{self.train} and {self.validation} of the users are no shares of one whole")

    @property
    def windows(self) -> tuple[int, int]:
        """Over how many of the newest items matches are counted: the shorter and the longer."""
        return max(self.recent // 2, self.choices - 1), self.recent

    def least(self, task: Task) -> int:
        """How many events a user must have before the question."""
        return 2 * self.recent if task is Task.TRAJECTORY else self.recent


DIMENSIONS: Final[Mapping[Task, Dimension]] = {
    Task.FEATURE: Dimension.UNDERSTANDING,
    Task.MATCH: Dimension.UNDERSTANDING,
    Task.NEXT_ITEM: Dimension.PREDICTION,
    Task.NEXT_CATEGORY: Dimension.PREDICTION,
    Task.LONG_TERM: Dimension.INTEREST,
    Task.SHORT_TERM: Dimension.INTEREST,
    Task.TRAJECTORY: Dimension.INTEREST,
}

PLACES: Final = (
    "last",
    "second last",
    "third last",
    "fourth last",
    "fifth last",
    "sixth last",
    "seventh last",
    "eighth last",
    "ninth last",
    "tenth last",
)
# In words: the digits of 1 and 10 begin alike, which is all that a score of an answer's first token would see.
COUNTS: Final = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

WORDINGS: Final[Mapping[Task, tuple[str, ...]]] = {
    Task.FEATURE: (
        "Which of these is a category of the {nth} item that the user chose?",
        "Look at the user's {nth} item. Which category does it belong to?",
        "Counting back from the newest, the user's {nth} item belongs to which of these categories?",
        "Name a category of the {nth} item in the user's history.",
        "The {nth} choice of this user: of which category was it?",
    ),
    Task.MATCH: (
        "How many of the user's last {n} items belong to the category {category}?",
        "Look at the last {n} items that the user chose. How many of them are of the category {category}?",
        "Count the items of the category {category} among the newest {n} in the user's history.",
        "Of this user's {n} latest choices, how many have the category {category}?",
        "Category {category}: how often does it occur among the last {n} items of the user?",
    ),
    Task.NEXT_ITEM: (
        "Which of these items does the user choose next?",
        "What will this user pick after everything in the history?",
        "Predict the item that comes next for this user.",
        "One of these items follows the user's newest. Which one?",
        "Given what the user has chosen so far, which item comes next?",
    ),
    Task.NEXT_CATEGORY: (
        "Which of these is a category of the item that the user chooses next?",
        "The user is about to choose another item. Of which category will it be?",
        "Predict a category of this user's next item.",
        "Given what the user has chosen so far, which of these categories does the next item have?",
        "What kind of item will the user pick next?",
    ),
    Task.LONG_TERM: (
        "Which of these categories has the user chosen most often?",
        "Over the whole history, which of these categories does the user choose more than the others?",
        "What is this user's strongest lasting interest among these categories?",
        "Of these categories, name the one that occurs most in everything the user chose.",
        "Which of these does this user like to choose best, all in all?",
    ),
    Task.SHORT_TERM: (
        "Which of these categories is the most frequent among the user's last {n} items?",
        "Lately, over the last {n} items, which of these categories did the user choose most?",
        "What is this user's strongest current interest, judged by the newest {n} items?",
        "Of these categories, name the one that occurs most in the {n} latest choices of the user.",
        "Look only at the user's last {n} items. Which of these categories leads?",
    ),
    Task.TRAJECTORY: (
        "How did the user's favourite category change from the earlier history to the last {n} items?",
        "Name the user's most frequent category before the last {n} items, and then the one among them.",
        "Which way did this user's interest move, from everything before the newest {n} items to these?",
        "From which category to which did the user's main interest go when the last {n} items came?",
        "Compare the user's {n} latest choices with all earlier ones. How has the leading category changed?",
    ),
}
