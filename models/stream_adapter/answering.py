"""Arms ready to answer: in words or by a soft prompt, and tuned on a user's own history for each request.

Shapes: Q questions, C choices.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from models.soft_prompt.questions import Question
from models.soft_prompt.reading import Past
from models.soft_prompt.scored import Made, timed
from models.soft_prompt.telling import ALL, Telling
from models.soft_prompt.trained import Aligned
from models.stream_adapter.costs import plainly, text_likelihood
from models.stream_adapter.own_context import OwnContext, OwnContextTuner

NOBODY = Past(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.float32))
_ROOM = 512  # tokens for a question and its answers


class Prompting:
    """An arm of models/soft_prompt. Whole histories are whole here, where costs are measured, as far as the model
    reads."""

    def __init__(self, aligned: Aligned, telling: Telling | None) -> None:
        self._aligned = aligned
        if telling is not None and telling.newest == ALL:
            telling = replace(telling, tokens=max(telling.tokens, aligned.language.reads - _ROOM))
        self._telling = telling

    def ready(self, past: Past) -> Callable[[Question], object]:
        def answer(question: Question) -> object:
            asked = question if self._telling is None else self._telling.before(question, past)
            self._aligned.language.forget()
            return self._aligned.scores([asked], [past])

        return answer

    def plain(self, question: Question) -> object:
        return plainly(self._aligned.language, self._aligned.asked(question))

    def update(self, past: Past) -> tuple[float, int] | None:
        if not self._aligned.config.tokens or self._aligned.config.kind == "instructed":
            return None
        self._aligned.prompts([past])
        start = time.perf_counter()
        soft_1KW = self._aligned.prompts([past])
        return time.perf_counter() - start, 2 * soft_1KW.size  # kept in half precision

    def drift(self, pasts: Sequence[Past], question: Question) -> None:
        return None


class OwnTuning:
    """A frozen model, tuned on what is told of a user."""

    def __init__(self, aligned: Aligned, telling: Telling, config: OwnContext, seed: int = 0) -> None:
        """aligned: an arm that reads nothing but words; its language model is this one's from now on."""
        self._aligned, self._telling = aligned, telling
        self._tuner = OwnContextTuner(aligned.language, config, seed)

    def ask(self, questions: Sequence[Question], pasts: Sequence[Past]) -> Made:
        """What is kept of the questions of a task; those about one user at one moment are answered after one tuning."""
        seconds_S = timed(self._answer, questions, pasts)
        texts = [self._telling.history(past) for past in pasts]
        scores: dict[int, object] = {}
        for text in dict.fromkeys(texts):
            places = [place for place, own in enumerate(texts) if own == text]
            with self._tuner.tuned(text):
                some = self._aligned.scores([questions[place] for place in places], [NOBODY] * len(places))
            scores |= zip(places, some, strict=True)
        return {
            "scores_QC": np.array([scores[place] for place in range(len(questions))], np.float32),
            "tokens_Q": np.array([len(self._aligned.asked(one)[0]) for one in questions], np.int64),
            "history_Q": np.zeros(len(questions), np.int64),
            "seconds_S": seconds_S,
        }

    def _answer(self, question: Question, past: Past) -> object:
        with self._tuner.tuned(self._telling.history(past)):
            return self.plain(question)

    def ready(self, past: Past) -> Callable[[Question], object]:
        return lambda question: self._answer(question, past)

    def plain(self, question: Question) -> object:
        return self._aligned.scores([question], [NOBODY])

    def update(self, past: Past) -> tuple[float, int]:
        text = self._telling.history(past)
        start = time.perf_counter()
        with self._tuner.tuned(text):
            seconds = time.perf_counter() - start
        return seconds, 2 * self._tuner.numbers  # kept in half precision

    def drift(self, pasts: Sequence[Past], question: Question) -> tuple[list[float], float]:
        before = text_likelihood(self._aligned.language)
        score_C = np.asarray(self.plain(question))
        found = []
        for past in pasts:
            with self._tuner.tuned(self._telling.history(past)):
                found.append(text_likelihood(self._aligned.language) - before)
        return found, float(np.abs(np.asarray(self.plain(question)) - score_C).max())
