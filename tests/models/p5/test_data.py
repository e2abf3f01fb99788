"""What P5 is trained on: what fits together, and the way to disk and back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_p5 import NONE, by_hand

from features.errors import InvalidInput
from models.p5.data import P5Data, Review, load_data, save_data

SOME = by_hand(
    [[2, 0], [1, 2, 0]],
    stars=[[4, NONE], [1, 2.5, 5]],
    categories=[["War", "Film Noir"], [], ["Comedy"], []],
    titles=["Café “Ü”", "", "A", "B"],
    targets=[1, -1],
    target_stars=[3, NONE],
    reviews=[Review(1, "Fine", "It is fine.\nReally."), Review(3, "", "x")],
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_data(SOME, tmp_path / "data.safetensors")
    again = load_data(tmp_path / "data.safetensors")
    for name in ("items_E", "values_E", "starts_V", "targets_U", "target_values_U"):
        np.testing.assert_array_equal(getattr(again, name), getattr(SOME, name))
        assert getattr(again, name).dtype == getattr(SOME, name).dtype
    for name in ("titles", "categories", "reviews", "target_reviews"):
        assert getattr(again, name) == getattr(SOME, name)


def test_data_without_events_are_saved_too(tmp_path: Path) -> None:
    save_data(by_hand([]), tmp_path / "data.safetensors")
    assert load_data(tmp_path / "data.safetensors").n_users == 0


def test_items_are_in_order_of_first_appearance() -> None:
    assert SOME.by_appearance().tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    "changed",
    [
        {"items_E": np.array([2, 0, 1, 2, 4])},
        {"items_E": np.array([2, 0, -1, 2, 0])},
        {"items_E": np.array([2, 0, 1, 2])},
        {"starts_V": np.array([0, 2, 4])},
        {"targets_U": np.array([4, -1])},
        {"targets_U": np.array([-2, -1])},
        {"targets_U": np.array([1])},
        {"categories": ((),)},
        {"reviews": (Review(5, "", "x"),)},
        {"target_reviews": (Review(2, "", "x"),)},
    ],
)
def test_what_does_not_fit_together_is_refused(changed: dict[str, Any]) -> None:
    parts = {name: getattr(SOME, name) for name in P5Data.__dataclass_fields__}
    with pytest.raises(InvalidInput):
        P5Data(**parts | changed)
