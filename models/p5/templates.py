"""The wordings of every task: prompts with slots, and the slot that answers them.

The five families are those of P5 (Geng et al., "Recommendation as Language Processing", RecSys 2022); the words are our
own. A slot stands alone between spaces. One name has one meaning everywhere:

history      items, oldest first, newest last
rated        the newest few rated items, each followed by its stars
liked        a few items that the user rated high, or, without ratings, had most recently; newest last
likes        the names of the categories that the user favours
item         an item
title        the words of its title
categories   the words of its categories
candidates   items to choose from
stars        1 to 5
mean         the user's mean of stars so far, one decimal: 3.6
others       the mean of stars that others gave the item in training, one decimal
feature      what an explanation shall speak of
explanation, review, headline    text
verdict      yes or no
opinion      like or dislike

A user has no token of their own: users come and go, and are described by what they did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Family(StrEnum):
    """What is asked for, as on the wire."""

    RATING = "rating"
    SEQUENTIAL = "sequential"
    EXPLANATION = "explanation"
    REVIEW = "review"
    DIRECT = "direct"


class Task(StrEnum):
    """One kind of question. Every wording of a task asks for the same."""

    STARS = "stars"  # how many stars the user gives
    GIVES = "gives"  # whether the user gives so many
    LIKES = "likes"  # like or dislike
    NEXT = "next"  # the next item
    PICK_NEXT = "pick-next"  # the next item, of candidates
    IS_NEXT = "is-next"  # whether an item is the next
    EXPLAIN = "explain"  # why the item
    EXPLAIN_RATED = "explain-rated"  # why these stars for the item
    EXPLAIN_BY = "explain-by"  # why the item, by a feature
    HEADLINE = "headline"  # a headline for a review
    REVIEW_STARS = "review-stars"  # the stars that a review speaks of
    SUITS = "suits"  # whether an item suits the user's taste
    PICK = "pick"  # what suits best, of candidates


_OF: Final[Mapping[Task, tuple[Family, str]]] = {
    Task.STARS: (Family.RATING, "stars"),
    Task.GIVES: (Family.RATING, "verdict"),
    Task.LIKES: (Family.RATING, "opinion"),
    Task.NEXT: (Family.SEQUENTIAL, "item"),
    Task.PICK_NEXT: (Family.SEQUENTIAL, "item"),
    Task.IS_NEXT: (Family.SEQUENTIAL, "verdict"),
    Task.EXPLAIN: (Family.EXPLANATION, "explanation"),
    Task.EXPLAIN_RATED: (Family.EXPLANATION, "explanation"),
    Task.EXPLAIN_BY: (Family.EXPLANATION, "explanation"),
    Task.HEADLINE: (Family.REVIEW, "headline"),
    Task.REVIEW_STARS: (Family.REVIEW, "stars"),
    Task.SUITS: (Family.DIRECT, "verdict"),
    Task.PICK: (Family.DIRECT, "item"),
}


def family_of(task: Task) -> Family:
    """The family of a task."""
    return _OF[task][0]


def tasks_of(family: Family) -> tuple[Task, ...]:
    """The tasks of a family."""
    return tuple(task for task in Task if _OF[task][0] is family)


@dataclass(frozen=True, slots=True)
class Template:
    """id: "sequential-3". prompt: words and {slots}. held_out: never trained on.

    parts: the prompt cut up: runs of words, and names of slots. answers: the name of the slot that is the answer.
    """

    id: str
    task: Task
    prompt: str
    held_out: bool = False
    parts: tuple[tuple[str, ...] | str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts: list[tuple[str, ...] | str] = []
        words: list[str] = []
        for word in self.prompt.split():
            if not word.startswith("{"):
                words.append(word)
                continue
            if words:
                parts.append(tuple(words))
            parts.append(word[1:-1])
            words = []
        object.__setattr__(self, "parts", (*parts, *([tuple(words)] if words else [])))

    @property
    def family(self) -> Family:
        return _OF[self.task][0]

    @property
    def answers(self) -> str:
        return _OF[self.task][1]

    @property
    def slots(self) -> frozenset[str]:
        """The names of the prompt's slots."""
        return frozenset(part for part in self.parts if isinstance(part, str))


# The prompts of each task, and those that are held out of training. A held-out prompt has only words that others have:
# to a model trained from nothing, a word it never met means nothing.
_WORDED: Final[Mapping[Task, tuple[Sequence[str], Sequence[str]]]] = {
    Task.STARS: (
        [
            "A user gave these stars: {rated} and {mean} on average. Others gave {item} {others} stars on average. "
            "How many stars will the user give it?",
            "How many stars from 1 to 5 will the user give {item} with a mean of {others} from others? "
            "The mean of the user is {mean} and the latest ratings are {rated}",
            "Mean of the user: {mean} Mean of the item: {others} Latest ratings: {rated} Item: {item} Stars:",
            "Others rated {item} with {others} stars on average. The user rated with {mean} on average, "
            "the latest of all: {rated} Say how many stars the user gives the item.",
            "Predict the rating of {item} named {title} of the kind {categories} that others gave {others} stars, by a "
            "user who gave {mean} on average and {rated} of late.",
        ],
        [
            "Predict how many stars the user will give {item} that others gave {others} on average. "
            "The latest ratings of the user: {rated} with a mean of {mean}",
        ],
    ),
    Task.GIVES: (
        [
            "Will the user give {item} {stars} stars? Others gave it {others} on average, the user gives {mean} on "
            "average and gave {rated} of late. Answer yes or no.",
            "The latest ratings of the user are {rated} with a mean of {mean} and others rated {item} with {others} "
            "stars on average. Is the rating {stars} likely? Answer yes or no.",
        ],
        [
            "Others gave {item} {others} stars on average. The mean of the user is {mean} and the latest ratings are "
            "{rated} Will the user give it {stars} stars? Answer yes or no.",
        ],
    ),
    Task.LIKES: (
        [
            "Will the user like or dislike {item} which others gave {others} stars? The user gave {rated} of late and "
            "{mean} on average.",
            "A user rated {rated} with a mean of {mean} so far. Others rate {item} with {others} on average. "
            "Does the user like or dislike it?",
        ],
        [
            "The user gave {rated} of late and {mean} on average. Does the user like or dislike {item} that others "
            "gave {others} stars on average?",
        ],
    ),
    Task.NEXT: (
        [
            "A user had {history} in this order. What will the user have next?",
            "Predict the next item after {history}",
            "Given the history {history} of a user, which item comes next?",
            "What comes after {history} for this user?",
            "The latest items of a user, the newest last: {history} Next item:",
            "Here is what a user chose, one after another: {history} Which item will the user choose next?",
        ],
        [
            "Given the latest items {history} of a user, the newest last, what will the user choose next?",
        ],
    ),
    Task.PICK_NEXT: (
        [
            "A user had {history} in this order. Choose the next item of {candidates}",
            "Which of {candidates} comes next for a user with the history {history}",
            "History: {history} Candidates: {candidates} Next item:",
        ],
        [
            "Given the history {history} of a user, which of {candidates} comes next?",
        ],
    ),
    Task.IS_NEXT: (
        [
            "A user had {history} in this order. Will the user have {item} next? Answer yes or no.",
            "Is {item} likely to come next after {history} or not? Answer yes or no.",
            "History: {history} Item: {item} Is it the next item? Answer yes or no.",
        ],
        [
            "Given the history {history} of a user, is {item} likely to come next? Answer yes or no.",
        ],
    ),
    Task.EXPLAIN: (
        [
            "Tell a user who liked {liked} why {item} named {title} of the kind {categories} is a good choice.",
            "The user liked {liked} so why should the user choose {item} of the kind {categories} next?",
            "Explain to the user why {title} which is {item} was chosen after {liked}",
        ],
        [
            "Explain to a user who liked {liked} why {item} named {title} is a good choice.",
        ],
    ),
    Task.EXPLAIN_RATED: (
        [
            "The user gave {rated} so far and then gave {item} named {title} {stars} stars. Explain why.",
            "Explain the rating of {stars} stars for {item} of the kind {categories} by a user who rated {rated}",
            "Why did the user who gave {rated} of late give {stars} stars to {title} which is {item}",
        ],
        [
            "Explain why the user who rated {rated} gave {item} named {title} {stars} stars.",
        ],
    ),
    Task.EXPLAIN_BY: (
        [
            "Tell a user who liked {liked} in terms of {feature} why {item} named {title} is a good choice.",
            "Speak of {feature} and explain why {item} was chosen after {liked}",
            "The user liked {liked} so explain {title} which is {item} in terms of {feature}",
        ],
        [
            "Explain to the user who liked {liked} why {item} was chosen in terms of {feature}",
        ],
    ),
    Task.HEADLINE: (
        [
            "Write a headline for this review: {review}",
            "A user wrote: {review} What is a short headline for it?",
            "Review: {review} Headline:",
        ],
        [
            "What is a headline for the review a user wrote: {review}",
        ],
    ),
    Task.REVIEW_STARS: (
        [
            "How many stars go with this review? {review}",
            "A user wrote: {review} Say how many stars go with it.",
            "Review: {review} Stars:",
        ],
        [
            "Predict how many stars go with the review a user wrote: {review}",
        ],
    ),
    Task.SUITS: (
        [
            "Should {item} be shown to a user who liked {liked} and likes {likes} most? Answer yes or no.",
            "A user had {history} and likes {likes} most. Does {item} named {title} of the kind {categories} suit "
            "the user? Answer yes or no.",
            "Taste: {liked} Kinds: {likes} Item: {item} Does it suit? Answer yes or no.",
        ],
        [
            "Does {item} of the kind {categories} suit a user who liked {liked} and likes {likes} most? "
            "Answer yes or no.",
        ],
    ),
    Task.PICK: (
        [
            "A user liked {liked} and likes {likes} most. Choose the item of {candidates} that suits best.",
            "Which of {candidates} should be shown to a user who had {history} and likes {likes} most?",
            "Taste: {liked} Kinds: {likes} Candidates: {candidates} Best item:",
        ],
        [
            "Which of {candidates} suits a user best who liked {liked} and likes {likes} most?",
        ],
    ),
}


def _numbered() -> tuple[Template, ...]:
    templates: list[Template] = []
    numbers = dict.fromkeys(Family, 0)
    for task, (seen, held_out) in _WORDED.items():
        family = family_of(task)
        for prompt in (*seen, *held_out):
            numbers[family] += 1
            templates.append(Template(f"{family}-{numbers[family]}", task, prompt, prompt in held_out))
    return tuple(templates)


TEMPLATES: Final = _numbered()


def templates_of(task: Task, *, held_out: bool = False) -> tuple[Template, ...]:
    """The wordings of a task that are trained on, or those that are held out."""
    return tuple(one for one in TEMPLATES if one.task is task and one.held_out == held_out)
