"""The questions that an adapter is taught by, and their users' streams before them.

Chunks are cut from each user's first event on, as they are when they are streamed, and what is younger than the last
full one is not seen. The frozen model's keys and values of chunks never change, and are kept.
Shapes: B questions of a batch, U different contexts of it, S chunks of one, N questions; L, Q, D and
the others as in mapping.py.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from features.errors import InvalidInput
from models.soft_prompt.course import Course, Lot
from models.soft_prompt.layout import Asked
from models.soft_prompt.questions import Question
from models.stream_adapter.absorption import Cores
from models.stream_adapter.chunks import ChunkCache
from models.stream_adapter.context import NEXT, Streams
from models.stream_adapter.data import AdaptingData
from models.stream_adapter.trained import StreamAdapter

Span = tuple[int, int, int]  # a user, and the first and the end of the chunks of a context

SLACK: Final = 2.0  # times the largest norm of a core among training users: what is beyond is not trusted
BOUNDED: Final = 64  # contexts by which that is known
STANDARD: Final = 32  # chunks that keys, values and maps are measured by
EVENED: Final = 256  # users by whose memories these are evened


class Lessons:
    """The questions of a training, and what their users' streams were before them."""

    def __init__(self, adapter: StreamAdapter, data: AdaptingData, seed: int) -> None:
        """Questions before which no chunk is full are left out. Raises InvalidInput when none remain."""
        self.adapter, self.config, self._seed = adapter, adapter.config, seed
        self.streams = Streams(adapter.context, data.lines_N, data.starts_V, data.items_E, data.values_E)
        self._longest = 0 if 0 in self.config.stages else max(self.config.stages)
        self.questions = self._newest([one for one in data.questions if self._end(one)])
        self.validation = self._newest([one for one in data.validation if self._end(one)])[: self.config.validation]
        if not self.questions or not self.validation:
            raise InvalidInput(
                "questions",
                f"{len(self.questions)} to learn from and {len(self.validation)} to measure by with "
                f"{self.config.chunk} tokens of events before them; bring longer histories, or set a smaller chunk",
            )
        self._course = Course.of(adapter, self.questions, seed)
        self._spans = self._spans_of(self.questions)
        most = self.config.cache * 1e9
        self._learnt = ChunkCache(adapter.reader, self.streams, self._spans, most)
        self._measured = ChunkCache(adapter.reader, self.streams, self._spans_of(self.validation), math.inf)
        size = len(adapter.reader.layers) * 2 * self.config.chunk * adapter.reader.dimensions
        self._room = most / (2 * size)  # chunks

    def length(self, done: float) -> int:
        """The most chunks of a context, 0 for all, when this part of the training is done."""
        stages = self.config.stages
        return stages[min(int(done * len(stages)), len(stages) - 1)]

    def span(self, question: Question, length: int) -> Span:
        """The newest full chunks before a question, at most `length`; all for 0."""
        end = self._end(question)
        return question.user, max(0, end - length) if length else 0, end

    def steps(self, number: int) -> Iterator[list[Lot]]:
        """Those of a round.

        Of each as many questions as there are in all, tasks have their parts: as many users at a time as the cache has
        room for, so that each one's chunks are read once.
        """
        first, end = self._course.round(number)
        places: list[int] = []
        while first + len(places) < end:
            asked_before, begin = divmod(first + len(places), len(self.questions))
            places += self._order(asked_before)[begin : begin + end - first - len(places)]
        yield from self._course.cut(places, np.random.default_rng((self._seed, number, 1)))

    def memory(self, spans: Sequence[Span], cache: ChunkCache | None = None) -> Tensor:
        """memory_BLQD after contexts; one that several questions share is read once, and none for a control without
        users."""
        if self.config.source == "constant":
            return torch.zeros(
                len(spans), *self.adapter.mapping.queries_LQD.shape, device=self.adapter.language.device.name
            )
        cache = cache or self._learnt
        places = {span: place for place, span in enumerate(dict.fromkeys(spans))}
        counts_U = [end - first for _, first, end in places]
        reads = [self.adapter.mapping.read(cache.chunks(*span)) for span in places]  # one by one: nothing is copied
        reads_USLQD = pad_sequence(reads, batch_first=True)
        memory_ULQD = self.adapter.mapping.scan(reads_USLQD, torch.tensor(counts_U, device=reads_USLQD.device))
        return memory_ULQD[[places[span] for span in spans]]

    def cores(self, spans: Sequence[Span], cache: ChunkCache | None = None) -> Cores:
        """Of each context."""
        return self.adapter.cores_of(self.memory(spans, cache), np.ones(len(spans), np.bool_))

    def told(self, span: Span) -> list[int]:
        """The tokens of a context, with what comes before them where a chunk sees its predecessor."""
        user, first, end = span
        return self.streams.tokens(user)[self.config.chunk * first : self.config.chunk * end].tolist()

    def following(self, question: Question) -> Asked | None:
        """What the user does next in words, a chunk of it from the first event on that no chunk holds a part of; None
        where nothing follows."""
        begins_E = self.streams.ends(question.user)
        begin = int(begins_E[np.searchsorted(begins_E, self.config.chunk * self._end(question))])
        tokens = self.streams.tokens(question.user)[begin : begin + self.config.chunk].tolist()
        language = self.adapter.language
        return ([*language.tokens.plain(NEXT), *language.cue], [tokens]) if tokens else None

    @torch.no_grad()
    def right(self) -> NDArray[np.bool_]:
        """is_right_N: whether the likeliest choice is the true one, of the questions set aside."""
        asked = [self.adapter.asked(question) for question in self.validation]
        spans = [self.span(question, self._longest) for question in self.validation]
        cores = torch.cat([self.cores(some, self._measured).cores_NLKQR for some in _cut(spans, self.config.batch)])
        scores = self.adapter.scores(Cores(cores, np.ones(len(spans), np.bool_)), asked)
        return np.array([one.argmax() == question.truth for one, question in zip(scores, self.validation, strict=True)])

    @torch.no_grad()
    def measure(self) -> None:
        """Sets what keys, values, maps and memories are measured by, from some training users' chunks."""
        windows = [
            window
            for user in self._order_of_users(0)[:STANDARD]
            for window in self.adapter.reader.windows(
                self.streams.tokens(user), self._spans[user][1] - 1, self._spans[user][1]
            )
        ]
        read: list[Tensor] = []
        self.adapter.absorption.measure(lambda: read.append(self.adapter.reader.read(windows)))
        self.adapter.mapping.standardise(torch.cat(read))
        if self.config.source == "user":
            spans = [(user, *self._spans[user]) for user in self._order_of_users(0)[:EVENED]]
            newest = [(user, max(first, end - (self._longest or end)), end) for user, first, end in spans]
            self.adapter.absorption.even(torch.cat([self.memory(some) for some in _cut(newest, self.config.batch)]))

    @torch.no_grad()
    def bound(self) -> dict[str, Any]:
        """Sets the norms up to which cores are trusted by training users' contexts, and says of what (JSON values)."""
        rng = np.random.default_rng((self._seed, 2))
        drawn = rng.permutation(len(self.questions))[:BOUNDED].tolist()
        spans = [self.span(self.questions[place], self._longest) for place in drawn]
        norms_NLK = np.concatenate([self.cores(some).norms() for some in _cut(spans, self.config.batch)])
        most_LK = norms_NLK.max(axis=0)
        self.adapter.absorption.bound_LK.copy_(torch.from_numpy(SLACK * most_LK))
        return {"slack": SLACK, "contexts": len(spans), "largest": round(float(most_LK.max()), 4)}

    def _end(self, question: Question) -> int:
        """How many full chunks there are before a question."""
        return self.streams.length(question.user, question.cut) // self.config.chunk

    def _newest(self, questions: Sequence[Question]) -> list[Question]:
        """Those whose contexts are within the newest chunks of their users that are read."""
        if not self.config.newest:
            return list(questions)
        last: dict[int, int] = {}
        for question in questions:
            last[question.user] = max(last.get(question.user, 0), self._end(question))
        return [one for one in questions if self.span(one, self._longest)[1] >= last[one.user] - self.config.newest]

    def _spans_of(self, questions: Sequence[Question]) -> dict[int, tuple[int, int]]:
        """Of each user, the first chunk that any question wants, and the end."""
        spans: dict[int, tuple[int, int]] = {}
        for question in questions:
            user, first, end = self.span(question, self._longest)
            known = spans.get(user, (first, end))
            spans[user] = min(first, known[0]), max(end, known[1])
        return spans

    def _order(self, asked_before: int) -> list[int]:
        """Places of as many questions as there are, those of users whose chunks fit the cache together mixed with one
        another."""
        block_of: dict[int, int] = {}
        block, room = 0, self._room
        for user in self._order_of_users(asked_before):
            count = self._spans[user][1] - self._spans[user][0]
            if count > room and room < self._room:
                block, room = block + 1, self._room
            block_of[user], room = block, room - count
        count, rng = len(self.questions), np.random.default_rng((self._seed, asked_before))
        drawn = self._course.places(asked_before * count, (asked_before + 1) * count, rng)
        return sorted(drawn, key=lambda place: block_of[self.questions[place].user])

    def _order_of_users(self, number: int) -> list[int]:
        users = sorted(self._spans)
        return [users[place] for place in np.random.default_rng((self._seed, number, 3)).permutation(len(users))]


def _cut(spans: Sequence[Span], size: int) -> list[Sequence[Span]]:
    return [spans[first : first + size] for first in range(0, len(spans), size)]
