"""Side information: each can be used or left, and is learnt from where it alone tells what comes next."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from toy_frames import events_of, items_of
from toy_sequences import CPU, by_hand, read, tiny, untrained

from models.encoders.data import EncoderData
from models.encoders.model import Encoder
from models.encoders.train import sides_of, train

ITEMS, USERS = 24, 150
FLAGS = ("words", "categories", "rating", "gaps")


def described() -> EncoderData:
    """Every item has a word and a category."""
    bags = [[item % 2] for item in range(6)]
    return by_hand([[0, 1, 2]], 6, words=bags, categories=bags)


def parameters(encoder: Encoder) -> set[str]:
    return {name.partition(".")[0] for name, _ in encoder.named_parameters()}


@pytest.mark.parametrize("flag", FLAGS)
def test_what_is_off_has_no_parameters(flag: str) -> None:
    data = described()
    module = "ratings" if flag == "rating" else flag
    assert parameters(untrained(tiny(), data)) == {"rows", "layers"}
    assert parameters(untrained(tiny(**{flag: True}), data)) == {"rows", "layers", module}
    everything = dict.fromkeys(FLAGS, True) | {flag: False}
    assert module not in parameters(untrained(tiny(**everything), data))


def test_items_without_any_words_have_no_parameters_for_them() -> None:
    encoder = untrained(tiny(words=True, categories=True), by_hand([[0, 1, 2]], 3))
    assert parameters(encoder) == {"rows", "layers"}


def test_an_items_vector_is_its_row_and_the_means_of_its_words_and_categories() -> None:
    words, categories = [[0, 1], [1], [], [0, 1, 2]], [[0], [], [1], [0, 1]]
    data = by_hand([[0, 1, 2]], 4, words=words, categories=categories)
    encoder = untrained(tiny(words=True, categories=True), data)
    assert encoder.words is not None
    assert encoder.categories is not None
    with torch.no_grad():
        found = encoder.item_vectors()
        for item in range(4):
            expected = encoder.rows.weight[item].clone()
            for bag, numbers in ((encoder.words, words[item]), (encoder.categories, categories[item])):
                if numbers:
                    expected += sum(bag.weight[number] for number in numbers) / len(numbers)
            torch.testing.assert_close(found[item], expected)
        assert not encoder.described()[4].any()  # the padding says nothing


def test_words_are_those_of_two_titles_or_more_whatever_their_case() -> None:
    items = items_of({name: [] for name in ("Blue Moon", "blue sky", "Grey sky", "grey")})
    data, vocabulary, _ = read(events_of({"ann": ["grey", "blue sky"]}), items)
    words = {
        item: set(data.words_W[data.word_starts_M[row] : data.word_starts_M[row + 1]].tolist())
        for row, item in enumerate(vocabulary.items)
    }
    the, blue, grey, sky = range(4)  # the commonest first, and then by the alphabet
    assert words == {
        "Blue Moon": {the, blue},
        "blue sky": {the, blue, sky},
        "Grey sky": {the, grey, sky},
        "grey": {the, grey},
    }


def test_scores_of_a_temperature_are_cosines_divided_by_it() -> None:
    data = described()
    encoder = untrained(tiny(temperature=0.1), data)
    from models.encoders.train import Arrays

    batch, _ = Arrays(data, encoder.config, CPU).gathered(np.array([0]), np.array([3]))
    with torch.no_grad():
        states_BLD, vectors_ND = encoder.both(batch)
        torch.testing.assert_close(vectors_ND.norm(dim=-1), torch.ones(6))
        torch.testing.assert_close(states_BLD.norm(dim=-1), torch.full((1, 3), 10.0))
        torch.testing.assert_close(states_BLD, encoder.states(batch))
        torch.testing.assert_close(vectors_ND, encoder.item_vectors())


def told_by_events(side: str) -> EncoderData:
    """A high rating of an event, or a long pause before it, is followed by the item three further on a ring, the other
    by the item five before: steps that do not cancel out, so that the items themselves do not tell."""
    generator = np.random.default_rng(1)
    histories: list[list[int]] = []
    values: list[list[float]] = []
    times: list[list[float]] = []
    targets: list[int] = []
    for _ in range(USERS):
        signs = generator.integers(2, size=6)
        items = [int(generator.integers(ITEMS))]
        for sign in signs:
            items.append((items[-1] + (3 if sign else -5)) % ITEMS)
        if items[-1] in items[:-1]:  # what was had is no target
            continue
        histories.append(items[:-1])
        targets.append(items[-1])
        values.append([5.0 if sign else 1.0 for sign in signs])
        times.append(np.cumsum([100_000.0 if sign else 1.0 for sign in signs]).tolist())
    if side == "rating":
        return by_hand(histories, ITEMS, targets=targets, values=values)
    return by_hand(histories, ITEMS, targets=targets, at=times)


def told_by_items(side: str) -> EncoderData:
    """Every user stays with one of eight groups; half of the items are met by nobody but as targets."""
    generator = np.random.default_rng(2)
    histories, targets = [], []
    for _ in range(USERS):
        group = int(generator.integers(8))
        known = [group + 8 * place for place in range(5)]
        histories.append(generator.permutation(known).tolist())
        targets.append(group + 8 * int(generator.integers(5, 10)))
    bags: Sequence[Sequence[int]] = [[item % 8] for item in range(80)]
    given: Mapping[str, Any] = {side: bags}
    return by_hand(histories, 80, targets=targets, **given)


@pytest.mark.parametrize("flag", FLAGS)
def test_what_a_side_alone_tells_is_learnt_with_it_and_not_without(flag: str) -> None:
    data = told_by_items(flag) if flag in ("words", "categories") else told_by_events(flag)
    reached = {}
    for used in (True, False):
        config = tiny("sasrec", epochs=30, patience=30, **{flag: used})
        reached[used] = max(train(data, config, device=CPU).curves["ndcg@10"])
    assert reached[True] > reached[False] + 0.15, reached


def test_an_event_is_read_with_the_gap_before_it_even_at_the_start_of_a_stretch() -> None:
    data = by_hand([[0, 1, 2, 3], [4]], 5, at=[[0, 1, 100, 101], [7]], values=[[5, 4, float("nan"), 1], [2]])
    from models.encoders.train import Arrays

    batch, _ = Arrays(data, tiny(), CPU).gathered(np.array([2, 4]), np.array([4, 5]))
    assert batch.items_BL.tolist() == [[2, 3], [4, 5]]
    assert batch.gaps_BL.tolist() == [[4, 1], [0, 0]]
    assert batch.ratings_BL.tolist() == [[0, 2], [3, 0]]
    assert sides_of(data).n_words == 0
