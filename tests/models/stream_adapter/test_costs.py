"""Costs of arms whose work is counted by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from toy_adaptation import DATA, DRAWN

from models.soft_prompt.questions import Question
from models.soft_prompt.reading import Past
from models.stream_adapter.costs import SIZES, measured, past_of_tokens, told

COUNTS = np.full(20, 10, np.int64)  # tokens of each item


class Counting:
    """An arm that keeps what it is asked. changes: whether a user changes it."""

    def __init__(self, *, changes: bool) -> None:
        self.changes, self.seen, self.plainly = changes, list[int](), 0

    def ready(self, past: Past) -> Callable[[Question], object]:
        return lambda question: self.seen.append(len(past.items_L))

    def plain(self, question: Question) -> object:
        self.plainly += 1
        return None

    def update(self, past: Past) -> tuple[float, int] | None:
        return (0.25, 100) if self.changes else None

    def drift(self, pasts: Sequence[Past], question: Question) -> tuple[list[float], float] | None:
        return ([0.1, -0.3], 0.0) if self.changes else None


def test_every_size_of_a_history_is_asked_and_as_often_without() -> None:
    arm = Counting(changes=True)
    found = measured(arm, DRAWN[0], DATA.events, COUNTS, [])
    assert sorted(set(arm.seen)) == [size // 10 for size in SIZES]
    assert arm.plainly == len(arm.seen) - len(SIZES)  # the first of each is not timed
    report = told(found)
    assert [*report["latency"]] == [str(size) for size in SIZES]
    assert report["update"] == {"ms": 250, "bytes": 100}
    assert report["drift"] == {"text": -0.1, "text_most": 0.3, "others": 0.0}


def test_what_keeps_nothing_has_no_update_and_no_drift() -> None:
    report = told(measured(Counting(changes=False), DRAWN[0], DATA.events, COUNTS, []))
    assert (report["update"], report["drift"]) == (None, None)


@pytest.mark.parametrize("tokens", [0, 1, 95, 100, 50_000])
def test_a_past_has_as_many_tokens_as_fit(tokens: int) -> None:
    counts = np.arange(1, 21)
    past = past_of_tokens(DATA.events, counts, tokens)
    size = int(counts[past.items_L].sum())
    assert tokens - 20 < size <= tokens
    assert len(past.at_L) == len(past.values_L) == len(past.items_L)
