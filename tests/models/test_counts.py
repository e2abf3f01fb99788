"""Each counting model against a slow twin that shares no code with it."""

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from toy_frames import events_of

from features.frames import Sequences, ordered, sequences
from models.counts.content import ContentConfig, fit_content
from models.counts.ease import EaseConfig, fit_ease
from models.counts.itemknn import ItemKnnConfig, fit_itemknn
from models.counts.neighbours import HISTORY_LENGTH, Neighbours, Stack, strongest, strongest_dense
from models.counts.pctm import PctmConfig, fit_pctm
from models.counts.popularity import fit_popularity
from models.counts.transitions import TransitionsConfig, fit_transitions

ITEMS = 12
HISTORIES = [[int(item) for item in np.random.default_rng(user).integers(0, ITEMS, 4 + user % 9)] for user in range(40)]


@pytest.fixture
def known() -> Sequences:
    names = {f"u{user:02d}": [f"i{item}" for item in history] for user, history in enumerate(HISTORIES)}
    return sequences(ordered(events_of(names)), [f"i{item}" for item in range(ITEMS)])


def slow_pairs(window: int, weight: dict[int, float]) -> dict[tuple[int, int], float]:
    pairs: dict[tuple[int, int], float] = defaultdict(float)
    for history in HISTORIES:
        for i, a in enumerate(history):
            for distance in range(1, window + 1):
                if i + distance < len(history) and history[i + distance] != a:
                    pairs[a, history[i + distance]] += weight[distance]
    return pairs


def slow_scores(weights: dict[tuple[int, int], float], history: list[int], decay: float, steps: int) -> list[float]:
    scores = [0.0] * ITEMS
    for back, a in enumerate(reversed(history)):
        if back < steps:
            for b in range(ITEMS):
                scores[b] += decay**back * weights.get((a, b), 0.0)
    return scores


def probes() -> list[NDArray[np.int64]]:
    return [np.array(history, np.int64) for history in ([3], [0, 1, 2], [5, 5, 7, 1, 0, 11, 3])]


def test_transitions_are_the_rules_counted_one_by_one(known: Sequences) -> None:
    config = TransitionsConfig(window=3, norm=0.5, decay=0.5)
    model = fit_transitions(known, ITEMS, config)
    counts = [max(sum(history.count(item) for history in HISTORIES), 1) for item in range(ITEMS)]
    rules = {
        (a, b): weight / math.sqrt(counts[a])
        for (a, b), weight in slow_pairs(3, {distance: 1 / distance for distance in (1, 2, 3)}).items()
    }
    expected = [slow_scores(rules, probe.tolist(), 0.5, model.steps) for probe in probes()]
    np.testing.assert_allclose(model.scores(probes()), expected, rtol=1e-5)


def test_pctm_is_the_mean_of_saturated_evidence_less_popularity(known: Sequences) -> None:
    config = PctmConfig(window=4, power=0.5, tau=0.9, decay=0.6, popularity=0.04)
    model = fit_pctm(known, ITEMS, config)
    # Distance 1 has no event between, d = 0, hence (d + 1)^-power = distance^-power.
    pairs = slow_pairs(4, {distance: distance**-0.5 for distance in range(1, 5)})
    evidence = {pair: math.log(1 + count / 0.9) for pair, count in pairs.items()}
    counts = [sum(history.count(item) for history in HISTORIES) for item in range(ITEMS)]
    for probe, scores in zip(probes(), model.scores(probes()), strict=True):
        total = sum(0.6**back for back in range(min(len(probe), model.steps)))
        expected = [
            score / total - 0.04 * math.log(1 + counts[item])
            for item, score in enumerate(slow_scores(evidence, probe.tolist(), 0.6, model.steps))
        ]
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)


def test_itemknn_is_the_cosine_of_close_pairs(known: Sequences) -> None:
    model = fit_itemknn(known, ITEMS, ItemKnnConfig(closeness=0.8, window=5, decay=0.7))
    pairs = slow_pairs(5, {distance: 0.8**distance for distance in range(1, 6)})
    counts = [max(sum(history.count(item) for history in HISTORIES), 1) for item in range(ITEMS)]
    cosines = {
        (a, b): (pairs.get((a, b), 0.0) + pairs.get((b, a), 0.0)) / math.sqrt(counts[a] * counts[b])
        for a in range(ITEMS)
        for b in range(ITEMS)
    }
    expected = [slow_scores(cosines, probe.tolist(), 0.7, model.steps) for probe in probes()]
    np.testing.assert_allclose(model.scores(probes()), expected, rtol=1e-5)


def test_ease_minimises_its_loss_with_a_zero_diagonal(known: Sequences) -> None:
    model = fit_ease(known, ITEMS, EaseConfig(l2=7.0, decay=1.0))
    weights_NN = np.zeros((ITEMS, ITEMS))
    np.put_along_axis(weights_NN, model.neighbours_NK.astype(np.int64), model.weights_NK.astype(np.float64), axis=1)
    x_UN = np.array([[float(item in history) for item in range(ITEMS)] for history in HISTORIES])
    assert np.abs(np.diag(weights_NN)).max() == 0
    # At the constrained minimum the gradient of |X - XB|^2 + l2 |B|^2 vanishes off the diagonal.
    gradient_NN = x_UN.T @ (x_UN @ weights_NN - x_UN) + 7.0 * weights_NN
    np.fill_diagonal(gradient_NN, 0.0)
    np.testing.assert_allclose(gradient_NN, 0.0, atol=1e-3)


def test_items_that_share_rare_words_are_similar() -> None:
    titles = ["Star Wars", "Star Trek", "Kolya", "The Wars of Kolya", ""]
    model = fit_content(titles, [["Space"], ["Space"], [], [], []], ContentConfig())
    scores_BN = model.scores([np.array([0]), np.array([4])])
    assert scores_BN[0].argmax() == 1
    assert scores_BN[0, 0] == 0
    assert scores_BN[0, 2] == 0 < scores_BN[0, 3]
    assert not scores_BN[1].any()


def test_an_event_a_half_life_old_counts_half_in_the_trend() -> None:
    known = sequences(ordered(events_of({"ann": "abb"})), "abc")
    popularity = fit_popularity(known, 3, half_life=1.0)
    assert popularity.counts_N.tolist() == [1, 2, 0]
    assert popularity.trending_N.tolist() == [0.25, 1.5, 0]
    assert popularity.scores([np.array([0]), np.array([1])]).tolist() == [[1, 2, 0], [1, 2, 0]]


def test_only_the_strongest_neighbours_are_kept_and_the_lower_row_of_equals() -> None:
    weights_NN = np.array([[0.0, 2.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 5.0], [0.1, 0.2, 0.3, 0.0]])
    table = strongest(weights_NN, 2, 0.5)
    assert table.neighbours_NK.tolist() == [[1, 3], [0, 0], [3, 0], [2, 1]]
    np.testing.assert_allclose(table.weights_NK, [[2, 2], [0, 0], [5, 1], [0.3, 0.2]], rtol=1e-6)
    by_size = strongest_dense(np.array([[0.0, -3.0], [1.0, 0.5]]), 1, 0.5)
    assert by_size.weights_NK.tolist() == [[-3.0], [1.0]]


def test_only_the_newest_events_of_a_long_history_count(known: Sequences) -> None:
    model = replace(fit_itemknn(known, ITEMS, ItemKnnConfig()), decay=1.0)
    long = np.random.default_rng(3).integers(0, ITEMS, 3 * HISTORY_LENGTH)
    np.testing.assert_array_equal(model.scores([long]), model.scores([long[-HISTORY_LENGTH:]]))


def test_scores_do_not_depend_on_the_batch(known: Sequences) -> None:
    model = fit_transitions(known, ITEMS, TransitionsConfig())
    histories = [np.array(history, np.int64) for history in HISTORIES * 8] + [np.empty(0, np.int64)]
    together = model.scores(histories)
    np.testing.assert_array_equal(together, np.concatenate([model.scores([history]) for history in histories]))
    assert not together[-1].any()


def test_the_history_item_that_added_most_is_named() -> None:
    neighbours_NK = np.array([[3], [3], [4], [0], [0]], np.int32)
    near = Neighbours(neighbours_NK, np.array([[1.0], [5.0], [2.0], [0.0], [0.0]], np.float32), 0.5)
    gathered = Stack([near]).gather([[1, 0, 2], [0]])
    steps_BJ = gathered.because(np.array([[3, 4, 1], [3, 4, 1]]), np.array([[1.0], [1.0]]))
    # Item 3: 5 * 0.25 from item 1, two steps back, beats 1 * 0.5 from item 0; nothing leads to item 1.
    assert steps_BJ.tolist() == [[2, 0, -1], [0, -1, -1]]
