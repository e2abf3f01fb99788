from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_t5 import encoded, ids_of, said, toy_prompts, toy_t5

from features.errors import InvalidInput
from models.p5 import scoring
from models.p5.beam import beam_search
from models.p5.decoder import CachedDecoder
from models.p5.scoring import score_candidates
from models.p5.trie import Trie

T5 = toy_t5()
DECODER = CachedDecoder(T5)
PROMPTS, MASK = toy_prompts()
STATES = encoded(T5, PROMPTS, MASK)
CODES = [(5,), (5, 6), (5, 6, 7), (5, 6, 8), (9, 6, 7), (9, 10), (11,)]
TRIE = Trie.of(ids_of(CODES))

any_rows = st.lists(st.integers(0, len(CODES) - 1), max_size=9)


def scored(candidates: Sequence[Sequence[int]]) -> list[np.ndarray]:
    return score_candidates(DECODER, STATES, MASK, TRIE, [np.array(rows, np.int64) for rows in candidates])


@cache
def likelihood(user: int, row: int) -> float:
    return said(T5, PROMPTS[user][MASK[user] > 0].tolist(), CODES[row])


def assert_said(candidates: Sequence[Sequence[int]], found: Sequence[np.ndarray]) -> None:
    for user, (rows, scores) in enumerate(zip(candidates, found, strict=True)):
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, [likelihood(user, row) for row in rows], atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(any_rows, any_rows, any_rows)
def test_candidates_score_as_each_does_in_a_pass_of_its_own(a: list[int], b: list[int], c: list[int]) -> None:
    """In any order, once or more often, none included."""
    assert_said([a, b, c], scored([a, b, c]))


def test_more_candidates_than_are_run_at_once_score_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = [[6, 5, 4, 3, 2, 1, 0], [2, 4], [0, 1, 6]]
    whole = scored(candidates)
    monkeypatch.setattr(scoring, "MOST", 1)
    in_parts = scored(candidates)
    assert_said(candidates, in_parts)
    for one, other in zip(whole, in_parts, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_search_and_scoring_say_the_same() -> None:
    found = beam_search(DECODER, STATES, MASK, TRIE, beams=7, k=7)
    for scores, expected in zip(scored(found.rows_BK.tolist()), found.log_probabilities_BK, strict=True):
        np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_a_candidate_that_is_no_item_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"1\.rows: 7 was given; items are 0 to 6"):
        scored([[0], [7], []])
