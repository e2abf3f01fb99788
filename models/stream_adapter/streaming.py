"""Users' pasts streamed through an adapter, and questions about them answered by what it makes of them.

Shapes: Q questions, L events.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch

from models.soft_prompt.questions import Question
from models.soft_prompt.reading import Past
from models.soft_prompt.scored import Made, timed
from models.stream_adapter.absorption import Cores
from models.stream_adapter.costs import plainly, text_asked, text_likelihood
from models.stream_adapter.state import State
from models.stream_adapter.trained import StreamAdapter

_Key = tuple[bytes, bytes]


class Streaming:
    """An adapter and the items in words. What was streamed once is kept: a past goes on from the longest one before
    that it begins with, as a user's stream does."""

    def __init__(self, adapter: StreamAdapter, lines_N: Sequence[str]) -> None:
        self.adapter, self._lines_N = adapter, lines_N
        self._kept: dict[_Key, State] = {_key(_NOTHING, 0): adapter.fresh()}

    def states(self, pasts: Sequence[Past]) -> list[State]:
        """After all events of each past; of a control without users, as if there were none."""
        if self.adapter.config.source == "constant":
            return [self.adapter.fresh()] * len(pasts)
        waves: dict[int, list[tuple[_Key, _Key, Past]]] = defaultdict(list)
        wave_of: dict[_Key, int] = {}
        for past in sorted(pasts, key=lambda one: len(one.items_L)):
            own = _key(past, len(past.items_L))
            if own in self._kept or own in wave_of:
                continue
            begins = (_key(past, length) for length in range(len(past.items_L) - 1, -1, -1))
            before = next(key for key in begins if key in self._kept or key in wave_of)
            wave_of[own] = wave_of.get(before, 0) + 1
            waves[wave_of[own]].append((own, before, past))
        for wave in sorted(waves):
            some = waves[wave]
            states = [self._kept[before] for _, before, _ in some]
            added = [self._tokens(past, len(before[0]) // _WIDTH) for _, before, past in some]
            self._kept |= zip((own for own, _, _ in some), self.adapter.advance(states, added), strict=True)
        return [self._kept[_key(past, len(past.items_L))] for past in pasts]

    def cores(self, states: Sequence[State]) -> Cores:
        """Of each user; of one whose update is not trusted, nothing, as where it is served."""
        cores = self.adapter.cores(states)
        return Cores(cores.cores_NLKQR, cores.is_adapted_N & self.adapter.checked(cores))

    def ask(self, questions: Sequence[Question], pasts: Sequence[Past]) -> Made:
        """What is kept of the questions of a task. A prompt has the question alone, for the user is in the weights."""
        states = self.states(pasts)
        asked = [self.adapter.asked(question) for question in questions]
        return {
            "scores_QC": np.stack(self.adapter.scores(self.cores(states), asked)).astype(np.float32),
            "tokens_Q": np.array([len(words) for words, _ in asked], np.int64),
            "history_Q": np.zeros(len(asked), np.int64),
            "seconds_S": timed(lambda question, past: self.ready(past)(question), questions, pasts),
        }

    def ready(self, past: Past) -> Callable[[Question], object]:
        content = self.states([past])[0].to_bytes()

        def answer(question: Question) -> object:
            self.adapter.language.forget()
            return self.adapter.scores(self.cores([State.from_bytes(content)]), [self.adapter.asked(question)])

        return answer

    def plain(self, question: Question) -> object:
        return plainly(self.adapter.language, self.adapter.asked(question))

    def update(self, past: Past) -> tuple[float, int] | None:
        """Of one chunk of new tokens; None of a control, which keeps nothing of a user."""
        if self.adapter.config.source == "constant":
            return None
        [state] = self.states([past])
        size = self.adapter.config.chunk
        added = np.resize(self._tokens(past, 0), size).tolist()
        self.adapter.advance([state], [added])
        start = time.perf_counter()
        [after] = self.adapter.advance([state], [added])
        return time.perf_counter() - start, len(after.to_bytes())

    def drift(self, pasts: Sequence[Past], question: Question) -> tuple[list[float], float]:
        language, nobody = self.adapter.language, self.adapter.fresh()
        states = self.states(pasts)
        text = text_asked(language)
        with torch.inference_mode():
            told = self.adapter.log_likelihoods(self.cores(states), [text] * len(states)).tolist()
        before = text_likelihood(language)
        asked = [self.adapter.asked(question)] * (1 + len(states))
        beside, alone = (
            self.adapter.scores(self.cores([nobody, *others]), asked)[0] for others in (states, [nobody] * len(states))
        )
        return [one / len(text[1][0]) - before for one in told], float(np.abs(beside - alone).max())

    def _tokens(self, past: Past, first: int) -> list[int]:
        """Those of the events from `first` on."""
        values = past.values_L if past.values_L is not None else np.full(len(past.items_L), np.nan)
        told = zip(past.items_L[first:].tolist(), values[first:].tolist(), strict=True)
        return self.adapter.context.tokens((self._lines_N[item], value) for item, value in told)


_NOTHING = Past(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.float32))
_WIDTH = 8  # bytes of an item's row


def _key(past: Past, length: int) -> _Key:
    """The first events of a past."""
    values = past.values_L[:length].astype(np.float32).tobytes() if past.values_L is not None else b""
    return past.items_L[:length].astype(np.int64).tobytes(), values
