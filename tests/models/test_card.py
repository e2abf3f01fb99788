from models.card import card

MANIFEST = {
    "name": "p5-0",
    "kind": "p5",
    "seed": 0,
    "fit": "serve",
    "data": {"name": "ring", "fingerprint": "toy", "events": 10, "users": 2, "items": 5},
    "weights": {"p5": 1.0, "popularity": 0.5},
}
P5 = {
    "config": {"indexing": "semantic"},
    "epoch": 3,
    "families": ["rating", "direct"],
    "left_out": ["review is left out: no event has a review"],
}


def test_a_card_says_which_questions_are_answered_and_which_are_not() -> None:
    told = card({**MANIFEST, "p5": P5}, {}, None)
    for fact in ("semantic ids", "answers rating, direct, best epoch 3", "- review is left out"):
        assert fact in told
    assert "Questions" not in card(MANIFEST, {}, None)
