"""What P5 is trained on in an epoch: prompts and answers, rendered when asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.p5.corpus import Corpus
from models.p5.drawing import Drawing, draw
from models.p5.facts import HIGH
from models.p5.past import Past
from models.p5.questions import STARS, Question, worded
from models.p5.templates import TEMPLATES, Task, Template
from models.p5.words import Word, words_of

HEADLINE_WORDS: Final = 16

Answer = tuple[Word, ...]
VERDICTS: Final[tuple[Answer, Answer]] = (("no",), ("yes",))
OPINIONS: Final[tuple[Answer, Answer]] = (("dislike",), ("like",))


@dataclass(frozen=True, slots=True)
class Example:
    """prompt, answer: words, and rows for items."""

    template: Template
    prompt: tuple[Word, ...]
    answer: Answer


class _Drawn(NamedTuple):
    """One example of a Drawing, its fields in the same order."""

    event: int
    template: int
    length: int
    item: int
    stars: int
    asked: int
    is_true: bool
    share: float
    less_sum: float
    less_count: int
    pick: int


_COLUMNS: Final = tuple(one.name for one in fields(Drawing))[: len(_Drawn._fields)]


class Examples:
    """The examples of an epoch, in random order."""

    def __init__(self, corpus: Corpus, seed: int, epoch: int) -> None:
        self._corpus = corpus
        self._asker = corpus.asker
        self._drawing = draw(corpus, seed, epoch)

    def __len__(self) -> int:
        return len(self._drawing.event_X)

    def __iter__(self) -> Iterator[Example]:
        for first in range(0, len(self), 1024):
            yield from self[range(first, min(first + 1024, len(self)))]

    def __getitem__(self, numbers: Sequence[int] | NDArray[np.int64]) -> list[Example]:
        """The examples of these numbers, from 0."""
        chosen = np.asarray(numbers, np.int64)
        columns = [getattr(self._drawing, name)[chosen].tolist() for name in _COLUMNS]
        return [self._rendered(_Drawn(*one)) for one in zip(*columns, strict=True)]

    def _rendered(self, drawn: _Drawn) -> Example:
        template = TEMPLATES[drawn.template]
        past = self._corpus.timeline.before(drawn.event, drawn.length)
        question, answer = _ASKED[template.task](self, drawn, past)
        return Example(template, worded(question, template), answer)

    # --- A question and its answer, by task -------------------------------------------------------------------------

    def _next(self, drawn: _Drawn, past: Past) -> tuple[Question, Answer]:
        return self._asker.next(past), (drawn.item,)

    def _pick_next(self, drawn: _Drawn, past: Past) -> tuple[Question, Answer]:
        return self._asker.pick_next(past, self._candidates(drawn)), (drawn.item,)

    def _is_next(self, drawn: _Drawn, past: Past) -> tuple[Question, Answer]:
        return self._asker.is_next(past, drawn.asked), VERDICTS[drawn.is_true]

    def _stars(self, drawn: _Drawn, past: Past) -> tuple[Question, Answer]:
        less = drawn.less_sum, drawn.less_count
        return self._asker.stars(past, drawn.item, less), (STARS[drawn.stars],)

    def _gives(self, drawn: _Drawn, past: Past) -> tuple[Question, Answer]:
        less = drawn.less_sum, drawn.less_count
        return self._asker.gives(past, drawn.item, drawn.asked, less), VERDICTS[drawn.is_true]

    def _likes(self, drawn: _Drawn, past: Past) -> tuple[Question, Answer]:
        less = drawn.less_sum, drawn.less_count
        return self._asker.likes(past, drawn.item, less), OPINIONS[drawn.stars >= HIGH]

    def _explain(self, drawn: _Drawn, past: Past) -> tuple[Question, Answer]:
        return self._asker.explain(past, drawn.item), self._explanation(drawn, past, None)[1]

    def _explain_rated(self, drawn: _Drawn, past: Past) -> tuple[Question, Answer]:
        _, explanation = self._explanation(drawn, past, drawn.stars)
        return self._asker.explain_rated(past, drawn.item, drawn.stars), explanation

    def _explain_by(self, drawn: _Drawn, past: Past) -> tuple[Question, Answer]:
        feature, explanation = self._explanation(drawn, past, None, by_feature=True)
        return self._asker.explain_by(past, drawn.item, feature), explanation

    def _headline(self, drawn: _Drawn, past: Past) -> tuple[Question, Answer]:
        review = self._corpus.review_of[drawn.event]
        return self._asker.headline(review.text), words_of(review.headline, HEADLINE_WORDS)

    def _review_stars(self, drawn: _Drawn, past: Past) -> tuple[Question, Answer]:
        return self._asker.review_stars(self._corpus.review_of[drawn.event].text), (STARS[drawn.stars],)

    def _suits(self, drawn: _Drawn, past: Past) -> tuple[Question, Answer]:
        return self._asker.suits(past, drawn.asked), VERDICTS[drawn.is_true]

    def _pick(self, drawn: _Drawn, past: Past) -> tuple[Question, Answer]:
        return self._asker.pick(past, self._candidates(drawn)), (drawn.item,)

    def _candidates(self, drawn: _Drawn) -> list[int]:
        """Strangers, and the item in a random place among them."""
        strangers = dict.fromkeys(self._drawing.strangers_PC[drawn.pick].tolist())
        candidates = [row for row in strangers if row >= 0][: self._corpus.mix.candidates - 1]
        candidates.insert(int(drawn.share * (len(candidates) + 1)), drawn.item)
        return candidates

    def _explanation(
        self, drawn: _Drawn, past: Past, stars: int | None, *, by_feature: bool = False
    ) -> tuple[str, Answer]:
        """(feature, explanation) by what the review says, or by facts."""
        if self._corpus.explains_by == "reviews":
            spoken = self._corpus.spoken[drawn.event]
            return spoken.feature, spoken.sentence
        reasons = self._asker.reasons(past, drawn.item, stars)
        feature = None
        if by_feature:
            features = self._asker.features(drawn.item, reasons)
            feature = features[int(drawn.share * len(features))]
        return feature or "", self._asker.explanation(drawn.item, reasons, feature)


_ASKED: Final[Mapping[Task, Callable[[Examples, _Drawn, Past], tuple[Question, Answer]]]] = {
    Task.STARS: Examples._stars,
    Task.GIVES: Examples._gives,
    Task.LIKES: Examples._likes,
    Task.NEXT: Examples._next,
    Task.PICK_NEXT: Examples._pick_next,
    Task.IS_NEXT: Examples._is_next,
    Task.EXPLAIN: Examples._explain,
    Task.EXPLAIN_RATED: Examples._explain_rated,
    Task.EXPLAIN_BY: Examples._explain_by,
    Task.HEADLINE: Examples._headline,
    Task.REVIEW_STARS: Examples._review_stars,
    Task.SUITS: Examples._suits,
    Task.PICK: Examples._pick,
}
