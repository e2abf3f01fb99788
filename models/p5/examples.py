"""What P5 is trained on in an epoch: prompts and answers, rendered when asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.p5.cases import Answer, Case, posed, with_candidates
from models.p5.corpus import Corpus
from models.p5.drawing import draw
from models.p5.questions import worded
from models.p5.templates import TEMPLATES, Task, Template
from models.p5.words import Word

AT_ONCE: Final = 1024


@dataclass(frozen=True, slots=True)
class Example:
    """prompt, answer: words, and rows for items."""

    template: Template
    prompt: tuple[Word, ...]
    answer: Answer


class Examples:
    """The examples of an epoch, in random order."""

    def __init__(self, corpus: Corpus, seed: int, epoch: int) -> None:
        self._corpus = corpus
        self._drawing = draw(corpus, seed, epoch)

    def __len__(self) -> int:
        return len(self._drawing.event_X)

    def __iter__(self) -> Iterator[Example]:
        for first in range(0, len(self), AT_ONCE):
            yield from self[range(first, min(first + AT_ONCE, len(self)))]

    def __getitem__(self, numbers: Sequence[int] | NDArray[np.int64]) -> list[Example]:
        """The examples of these numbers, from 0."""
        chosen, drawn = np.asarray(numbers, np.int64), self._drawing
        columns = (
            drawn.template_X,
            drawn.event_X,
            drawn.length_X,
            drawn.item_X,
            drawn.stars_X,
            drawn.asked_X,
            drawn.is_true_X,
            drawn.share_X,
            drawn.less_sum_X,
            drawn.less_count_X,
            drawn.pick_X,
        )
        return [self._rendered(*one) for one in zip(*(column[chosen].tolist() for column in columns), strict=True)]

    def _rendered(
        self,
        place: int,
        event: int,
        length: int,
        item: int,
        stars: int,
        asked: int,
        is_true: bool,
        share: float,
        less_sum: float,
        less_count: int,
        pick: int,
    ) -> Example:
        corpus, template = self._corpus, TEMPLATES[place]
        candidates: Sequence[int] = ()
        if pick >= 0:
            strangers = self._drawing.strangers_PC[pick].tolist()
            candidates = with_candidates(strangers, item, corpus.mix.candidates, share)
        review, spoken = corpus.review_of.get(event), corpus.spoken.get(event)
        case = Case(item, stars, asked, is_true, share, (less_sum, less_count), candidates, review, spoken)
        question, answer = posed(corpus.asker, template.task, case, corpus.timeline.before(event, length))
        if template.task is Task.NEXT:
            answer = corpus.following(event)
        return Example(template, worded(question, template), answer)
