from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_t5 import TOKENS, encoded, ids_of, prefix_free, said, toy_prompts, toy_t5

from features.errors import InvalidInput
from models.p5.beam import Beams, beam_search
from models.p5.decoder import CachedDecoder
from models.p5.scoring import score_candidates
from models.p5.trie import Trie

T5 = toy_t5()
DECODER = CachedDecoder(T5)
PROMPTS, MASK = toy_prompts()
STATES = encoded(T5, PROMPTS, MASK)
Codes = Sequence[tuple[int, ...]]

any_codes = st.lists(
    st.lists(st.integers(2, 5), min_size=1, max_size=4).map(tuple), min_size=1, max_size=12, unique=True
)


@cache
def likelihood(user: int, code: tuple[int, ...], *, ends: bool = True) -> float:
    return said(T5, PROMPTS[user][MASK[user] > 0].tolist(), code, ends=ends)


def ranked(codes: Codes, user: int) -> list[tuple[int, float]]:
    """Every item by its own forward pass, likeliest first."""
    return sorted(((row, likelihood(user, code)) for row, code in enumerate(codes)), key=lambda pair: -pair[1])


def searched(codes: Codes, *, beams: int, k: int, seen: Sequence[Sequence[int]] = ()) -> Beams:
    rows = [np.array(one, np.int64) for one in seen]
    return beam_search(DECODER, STATES, MASK, Trie.of(ids_of(codes)), beams=beams, k=k, seen=rows)


def assert_same(found: Beams, user: int, expected: list[tuple[int, float]]) -> None:
    k = found.rows_BK.shape[1]
    assert found.rows_BK[user].tolist() == ([row for row, _ in expected] + [-1] * k)[:k]
    scores = np.array(([score for _, score in expected] + [-np.inf] * k)[:k])
    np.testing.assert_allclose(found.log_probabilities_BK[user], scores, atol=1e-4)


def random_codes(items: int, length: int, words: int, seed: int = 0) -> list[tuple[int, ...]]:
    codes_NC = np.random.default_rng(seed).integers(2, 2 + words, (4 * items, length))
    return [tuple(code) for code in np.unique(codes_NC, axis=0).tolist()[::2]][:items]


@settings(max_examples=25, deadline=None)
@given(any_codes, st.integers(1, 14), st.integers(0, 10**6))
def test_as_many_beams_as_items_find_what_scoring_every_item_finds(codes: Codes, k: int, seed: int) -> None:
    seen = [np.flatnonzero(chosen) for chosen in np.random.default_rng(seed).random((3, len(codes))) < 0.3]
    found = searched(codes, beams=len(codes), k=k, seen=seen)
    for user in range(3):
        assert_same(found, user, [pair for pair in ranked(codes, user) if pair[0] not in seen[user]][:k])


@settings(max_examples=25, deadline=None)
@given(any_codes.map(prefix_free), st.integers(1, 14), st.integers(0, 10**6))
def test_ids_without_ends_are_found_by_their_tokens_alone(codes: Codes, k: int, seed: int) -> None:
    seen = [np.flatnonzero(chosen) for chosen in np.random.default_rng(seed).random((3, len(codes))) < 0.3]
    trie = Trie.of(ids_of(codes), ends=False)
    found = beam_search(DECODER, STATES, MASK, trie, beams=len(codes), k=k, seen=seen)
    scores = score_candidates(DECODER, STATES, MASK, trie, [np.arange(len(codes))] * 3)
    for user in range(3):
        likelihoods = [likelihood(user, code, ends=False) for code in codes]
        kept = sorted(set(range(len(codes))) - set(seen[user].tolist()), key=lambda row: -likelihoods[row])
        assert_same(found, user, [(row, likelihoods[row]) for row in kept][:k])
        np.testing.assert_allclose(scores[user], likelihoods, atol=1e-4)


@pytest.mark.parametrize(("beams", "k"), [(6, 5), (2, 1)])
def test_few_beams_find_what_generate_finds_among_unseen_items(beams: int, k: int) -> None:
    codes = random_codes(150, 4, 8)
    seen = [[], [0, 1, 2, 3, 77], list(range(0, 150, 2))]
    found = searched(codes, beams=beams, k=k, seen=seen)
    for user in range(3):
        kept = [row for row in range(len(codes)) if row not in seen[user]]
        rows, scores = generated([codes[row] for row in kept], user, beams=beams, k=k)
        assert_same(found, user, [(kept[row], score) for row, score in zip(rows, scores, strict=True)])
    by_many = searched(codes, beams=len(codes), k=k, seen=seen)
    assert found.rows_BK.tolist() != by_many.rows_BK.tolist()  # few enough to miss what many find


def generated(codes: Codes, user: int, *, beams: int, k: int) -> tuple[list[int], list[float]]:
    rows = {code: row for row, code in enumerate(codes)}

    def allowed(_: int, tokens: torch.Tensor) -> list[int]:
        done = tuple(tokens.tolist()[1:])
        return sorted({code[len(done)] for code in codes if code[: len(done)] == done and code != done}) or [1]

    answer = T5.generate(
        input_ids=PROMPTS[user : user + 1],
        attention_mask=MASK[user : user + 1],
        num_beams=beams,
        num_return_sequences=k,
        max_new_tokens=len(codes[0]) + 1,
        prefix_allowed_tokens_fn=allowed,
        length_penalty=0.0,
        return_dict_in_generate=True,
        output_scores=True,
    )
    return [rows[tuple(tokens[1:-1])] for tokens in answer.sequences.tolist()], answer.sequences_scores.tolist()


@pytest.mark.parametrize("left", [1, 3])
def test_with_all_but_few_items_seen_those_few_are_found(left: int) -> None:
    codes = random_codes(200, 3, 30)
    unseen = [np.random.default_rng(user).permutation(200)[:left].tolist() for user in range(3)]
    seen = [[row for row in range(200) if row not in kept] for kept in unseen]
    found = searched(codes, beams=left, k=left, seen=seen)
    for user in range(3):
        assert sorted(found.rows_BK[user].tolist()) == sorted(unseen[user])


def test_with_all_items_seen_nothing_is_found() -> None:
    codes = [(5, 6), (5, 7), (8,)]
    found = searched(codes, beams=4, k=2, seen=[[0, 1, 2], [], [1, 0, 2]])
    assert (found.rows_BK[[0, 2]] == -1).all()
    assert np.isneginf(found.log_probabilities_BK[[0, 2]]).all()
    assert (found.rows_BK[1] >= 0).all()


def test_a_single_item_is_found_with_its_log_probability() -> None:
    found = searched([(5, 6, 7)], beams=1, k=3)
    for user in range(3):
        assert_same(found, user, ranked([(5, 6, 7)], user))


def test_items_of_one_token_each_are_found() -> None:
    codes = [(token,) for token in range(2, TOKENS)]
    found = searched(codes, beams=len(codes), k=4)
    for user in range(3):
        assert_same(found, user, ranked(codes, user)[:4])


def test_an_id_that_begins_others_is_kept_while_longer_ones_go_on() -> None:
    codes = [(5,), (5, 6), (5, 6, 7), (5, 6, 7, 8), (9, 9, 9, 9)]
    found = searched(codes, beams=5, k=5)
    for user in range(3):
        assert_same(found, user, ranked(codes, user))


def test_there_are_as_many_beams_as_items_asked_for() -> None:
    codes = random_codes(150, 4, 8)
    assert searched(codes, beams=1, k=6).rows_BK.tolist() == searched(codes, beams=6, k=6).rows_BK.tolist()


def test_a_user_alone_finds_what_it_finds_among_others() -> None:
    codes = random_codes(150, 4, 8)
    seen = [[1, 2], [], list(range(100))]
    together = searched(codes, beams=6, k=5, seen=seen)
    for user in range(3):
        one = slice(user, user + 1)
        rows = [np.array(seen[user], np.int64)]
        alone = beam_search(DECODER, STATES[one], MASK[one], Trie.of(ids_of(codes)), beams=6, k=5, seen=rows)
        assert alone.rows_BK[0].tolist() == together.rows_BK[user].tolist()
        np.testing.assert_allclose(alone.log_probabilities_BK[0], together.log_probabilities_BK[user], atol=1e-4)


def test_a_seen_row_that_is_no_items_is_refused() -> None:
    with pytest.raises(InvalidInput, match="7 was given"):
        searched([(5,), (6,)], beams=2, k=1, seen=[[0], [7], []])
