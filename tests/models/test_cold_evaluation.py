import numpy as np
import pytest
from toy_frames import events_of, items_of
from toy_tastes import ToyEmbedder, tastes

from features.errors import InvalidInput
from features.events import ItemId
from models.cold_evaluation import ARMS, evaluate_cold
from models.encoders.config import EncoderConfig
from models.vocabulary import Vocabulary

CONFIG = EncoderConfig(dimensions=16, dropout=0.0, batch=16, words=False)


def test_items_that_their_titles_place_are_found_and_by_chance_they_are_not() -> None:
    """Of 24 items, two or three are held out at a time; a title says which half of the users an item is for."""
    events, items = tastes(users=200)
    report = evaluate_cold(
        events, items, embedder=ToyEmbedder(), config=CONFIG, epochs=8, shares=10, seed=3, bootstrap=100
    )
    arms = report["arms"]
    assert set(arms) == {*ARMS, "chance"}
    assert arms["map"]["mrr"]["value"] > arms["chance"]["mrr"]["value"] + 0.05
    assert arms["map"]["mrr"]["low"] < arms["map"]["mrr"]["value"] < arms["map"]["mrr"]["high"]
    assert report["comparisons"]["map - category affinity"]["mrr"]["low"] > 0


def test_chance_is_that_of_an_order_by_chance() -> None:
    events, items = tastes(users=200)
    report = evaluate_cold(events, items, embedder=ToyEmbedder(), config=CONFIG, epochs=1, bootstrap=10)
    [n_new] = [3]  # a tenth of 24, rounded up
    ranks = np.arange(1, n_new + 1)
    assert report["arms"]["chance"]["mrr"]["value"] == pytest.approx((1 / ranks).mean())
    assert report["arms"]["chance"]["ndcg@10"]["value"] == pytest.approx((1 / np.log2(ranks + 1)).mean())


def test_nobody_to_ask_is_an_error() -> None:
    events = events_of({f"u{n}": ["a", "b"] for n in range(200)})
    items = items_of({name: [] for name in "abcdefghijklmnopqrst"})
    last = Vocabulary.of(items["item"]).row_of[ItemId("b")]
    kept = next(seed for seed in range(99) if np.random.default_rng(seed).permutation(20)[last] % 10)
    with pytest.raises(InvalidInput, match="nobody's last event"):
        evaluate_cold(events, items, embedder=ToyEmbedder(), config=CONFIG, epochs=1, seed=kept)


@pytest.mark.parametrize("shares", [0, 11])
def test_shares_that_there_are_not_are_refused(shares: int) -> None:
    with pytest.raises(InvalidInput, match="shares"):
        evaluate_cold(*tastes(), embedder=ToyEmbedder(), config=CONFIG, epochs=1, shares=shares)
