"""Answers of one language model to several users at once, each by the user's own weights: the choice that is likeliest,
or words of the model's own, the likeliest token of each place.

    [question]["Answer:"][answer]

Who asks often, and alone, is answered by weights that were merged once.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

import numpy as np

from models.language.generator import IsWanted, always
from models.soft_prompt.replying import Reply, parts
from models.stream_adapter.absorption import Merged
from models.stream_adapter.context import NEXT
from models.stream_adapter.state import State
from models.stream_adapter.trained import StreamAdapter, Updates

OFTEN: Final = 3  # times that a user asks before the weights are merged, which takes as long as a short question
REMEMBERED: Final = 1024  # users whose times are counted

Key = tuple[str, str]  # a user, and which of the user's states


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """state: the user's, None for an answer of the frozen model. prompt: what is read. answers: one of which is wanted;
    of none, the model's own words. is_mean: whether answers are items that may come next, whole, which the mean
    of their tokens tells apart, for they are of any length, and not the sum."""

    adapter: StreamAdapter
    key: Key
    state: State | None
    prompt: str
    answers: tuple[str, ...] = ()
    is_mean: bool = False


def next_items(adapter: StreamAdapter, key: Key, state: State | None, lines: tuple[str, ...]) -> Ask:
    """Which of these items, in words, comes next."""
    return Ask(adapter, key, state, NEXT, lines, is_mean=True)


class MergedWeights:
    """Weights of the users who ask often: of those who asked last, at most `most`. Safe to use from several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._adapter: StreamAdapter | None = None
        self._merged: OrderedDict[Key, Merged] = OrderedDict()
        self._times: OrderedDict[Key, int] = OrderedDict()
        self._lock = Lock()

    def of(self, ask: Ask) -> Merged | None:
        """Those of the user who asks; None for one who does not ask often, or has no update."""
        if not self._most or ask.state is None:
            return None
        with self._lock:
            if self._adapter is not ask.adapter:  # another's would keep its whole language model in memory
                self._merged.clear()
                self._adapter = ask.adapter
            times = self._times[ask.key] = self._times.pop(ask.key, 0) + 1
            if len(self._times) > REMEMBERED:
                self._times.popitem(last=False)
            if ask.key not in self._merged:
                if times < OFTEN:
                    return None
                self._merged[ask.key] = ask.adapter.merged(ask.adapter.cores([ask.state]))
            self._merged.move_to_end(ask.key)
            if len(self._merged) > self._most:
                self._merged.popitem(last=False)
            return self._merged[ask.key]

    def forget(self, user: str) -> None:
        """Drops what is kept of a user."""
        with self._lock:
            for kept in (self._merged, self._times):
                for key in [key for key in kept if key[0] == user]:
                    del kept[key]

    def __len__(self) -> int:
        return len(self._merged)


def replies(asks: Sequence[Ask], most: int, kept: MergedWeights, is_wanted: IsWanted = always) -> list[Reply]:
    """One an ask, in their order, of at most `most` tokens where they are the model's own words. is_wanted: asked of
    the place of an ask; what is not wanted when its turn comes is left, and not finished.

    Raises InvalidInput for a question that is longer than the model reads.
    """
    found: dict[int, Reply] = {}
    for is_chosen, reply in ((True, _chosen), (False, _written)):
        places = [place for place, ask in enumerate(asks) if bool(ask.answers) is is_chosen]
        while places:
            adapter = asks[places[0]].adapter
            some = [place for place in places if asks[place].adapter is adapter]
            wanted = [place for place in some if is_wanted(place)]
            if wanted:
                found |= zip(wanted, reply(adapter, [asks[place] for place in wanted], most, kept), strict=True)
            places = [place for place in places if place not in some]
    return [found.get(place, Reply("", 0, 0, False)) for place in range(len(asks))]


def _chosen(adapter: StreamAdapter, asks: Sequence[Ask], most: int, kept: MergedWeights) -> list[Reply]:
    asked = [
        adapter.coming(ask.answers) if ask.is_mean else adapter.language.asked(ask.prompt, ask.answers, 0)
        for ask in asks
    ]
    rows = [(place, some) for place, (_, answers) in enumerate(asked) for some in parts(answers)]
    updates = _updates(adapter, [asks[place] for place, _ in rows], kept)
    lifts: list[list[float]] = [[] for _ in asks]
    for (place, _), of_row_C in zip(
        rows, adapter.scores(updates, [(asked[place][0], some) for place, some in rows]), strict=True
    ):
        lifts[place] += of_row_C.tolist()
    return [
        _choice(ask, question, answers, np.array(found))
        for ask, (question, answers), found in zip(asks, asked, lifts, strict=True)
    ]


def _choice(ask: Ask, question: Sequence[int], answers: Sequence[Sequence[int]], lifts_C: np.ndarray) -> Reply:
    if ask.is_mean:
        lifts_C = lifts_C / [len(answer) for answer in answers]
    best = int(lifts_C.argmax())
    return Reply(ask.answers[best].strip(), len(question), len(answers[best]), True, tuple(lifts_C.tolist()))


def _written(adapter: StreamAdapter, asks: Sequence[Ask], most: int, kept: MergedWeights) -> list[Reply]:
    prompts = [adapter.language.asked(ask.prompt, [" "], most)[0] for ask in asks]
    written = adapter.generate(_updates(adapter, asks, kept), prompts, most)
    text = adapter.language.tokens.text
    return [
        Reply(text(tokens), len(prompt), len(tokens), len(tokens) < most)
        for prompt, tokens in zip(prompts, written, strict=True)
    ]


def _updates(adapter: StreamAdapter, asks: Sequence[Ask], kept: MergedWeights) -> Updates:
    """Of each ask; merged ones where all are one user's, who asks often."""
    merged = kept.of(asks[0]) if len({ask.key for ask in asks}) == 1 else None
    return merged or adapter.cores([ask.state or adapter.fresh() for ask in asks])
