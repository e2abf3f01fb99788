"""One case of each task, a question and its true answer: what training is made of and what a model is measured by."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from models.p5.data import Review
from models.p5.facts import HIGH
from models.p5.past import Past
from models.p5.questions import STARS, Asker, Less, Question
from models.p5.spoken import Spoken
from models.p5.templates import Task
from models.p5.words import Word, words_of

HEADLINE_WORDS: Final = 16

Answer = tuple[Word, ...]
VERDICTS: Final[tuple[Answer, Answer]] = (("no",), ("yes",))
OPINIONS: Final[tuple[Answer, Answer]] = (("dislike",), ("like",))


class Case(NamedTuple):
    """item, stars: what the user had next, whole stars, 0 for none. asked: what the prompt names, the truth or not: an
    item, or, where stars are asked about, stars. is_true: which of the two. share: in [0, 1), for a choice. less: of
    the stars that the item got, those that others are not asked for. candidates: with the item. review, spoken: what
    the user wrote, and what of it explains the item.
    """

    item: int
    stars: int
    asked: int
    is_true: bool
    share: float
    less: Less = (0.0, 0)
    candidates: Sequence[int] = ()
    review: Review | None = None
    spoken: Spoken | None = None


def posed(asker: Asker, task: Task, case: Case, past: Past) -> tuple[Question, Answer]:
    """The question and its answer, which is empty where there is nothing that it could be made of."""
    return _POSED[task](asker, case, past)


def with_candidates(strangers: Sequence[int], item: int, count: int, share: float) -> list[int]:
    """`count` candidates: the item at a place by `share`, and of the strangers (-1 for none) the first, each once."""
    candidates = [row for row in dict.fromkeys(strangers) if row >= 0 and row != item][: count - 1]
    candidates.insert(int(share * (len(candidates) + 1)), item)
    return candidates


def _stars(asker: Asker, case: Case, past: Past) -> tuple[Question, Answer]:
    return asker.stars(past, case.item, case.less), (STARS[case.stars],)


def _gives(asker: Asker, case: Case, past: Past) -> tuple[Question, Answer]:
    return asker.gives(past, case.item, case.asked, case.less), VERDICTS[case.is_true]


def _likes(asker: Asker, case: Case, past: Past) -> tuple[Question, Answer]:
    return asker.likes(past, case.item, case.less), OPINIONS[case.stars >= HIGH]


def _next(asker: Asker, case: Case, past: Past) -> tuple[Question, Answer]:
    return asker.next(past), (case.item,)


def _pick_next(asker: Asker, case: Case, past: Past) -> tuple[Question, Answer]:
    return asker.pick_next(past, case.candidates), (case.item,)


def _is_next(asker: Asker, case: Case, past: Past) -> tuple[Question, Answer]:
    return asker.is_next(past, case.asked), VERDICTS[case.is_true]


def _explain(asker: Asker, case: Case, past: Past) -> tuple[Question, Answer]:
    question = asker.explain(past, case.item)
    if case.spoken is not None:
        return question, case.spoken.sentence
    return question, asker.explanation(case.item, asker.reasons(past, case.item))


def _explain_rated(asker: Asker, case: Case, past: Past) -> tuple[Question, Answer]:
    question = asker.explain_rated(past, case.item, case.stars)
    if case.spoken is not None:
        return question, case.spoken.sentence
    return question, asker.explanation(case.item, asker.reasons(past, case.item, case.stars))


def _explain_by(asker: Asker, case: Case, past: Past) -> tuple[Question, Answer]:
    if case.spoken is not None:
        return asker.explain_by(past, case.item, case.spoken.feature), case.spoken.sentence
    reasons = asker.reasons(past, case.item)
    features = asker.features(case.item, reasons) or [""]
    feature = features[int(case.share * len(features))]
    return asker.explain_by(past, case.item, feature), asker.explanation(case.item, reasons, feature)


def _headline(asker: Asker, case: Case, past: Past) -> tuple[Question, Answer]:
    review = case.review or Review(-1, "", "")
    return asker.headline(review.text), words_of(review.headline, HEADLINE_WORDS)


def _review_stars(asker: Asker, case: Case, past: Past) -> tuple[Question, Answer]:
    review = case.review or Review(-1, "", "")
    return asker.review_stars(review.text), (STARS[case.stars],)


def _suits(asker: Asker, case: Case, past: Past) -> tuple[Question, Answer]:
    return asker.suits(past, case.asked), VERDICTS[case.is_true]


def _pick(asker: Asker, case: Case, past: Past) -> tuple[Question, Answer]:
    return asker.pick(past, case.candidates), (case.item,)


_POSED: Final[Mapping[Task, Callable[[Asker, Case, Past], tuple[Question, Answer]]]] = {
    Task.STARS: _stars,
    Task.GIVES: _gives,
    Task.LIKES: _likes,
    Task.NEXT: _next,
    Task.PICK_NEXT: _pick_next,
    Task.IS_NEXT: _is_next,
    Task.EXPLAIN: _explain,
    Task.EXPLAIN_RATED: _explain_rated,
    Task.EXPLAIN_BY: _explain_by,
    Task.HEADLINE: _headline,
    Task.REVIEW_STARS: _review_stars,
    Task.SUITS: _suits,
    Task.PICK: _pick,
}
