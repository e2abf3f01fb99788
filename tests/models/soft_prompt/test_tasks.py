"""What can be asked for."""

from typing import Any

import pytest

from features.errors import InvalidInput
from models.soft_prompt.tasks import COUNTS, PLACES, Asking


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("choices", {"choices": 1}),
        ("choices", {"choices": 9}),
        ("recent", {"recent": 3}),
        ("recent", {"recent": 11}),
        ("last", {"last": 0}),
        ("each", {"each": 0}),
        ("moments", {"moments": 0}),
        ("train", {"train": 0.0}),
        ("train", {"train": 0.8, "validation": 0.3}),
    ],
)
def test_what_cannot_be_asked_for_is_refused_by_its_field(field: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Asking(**wrong)
    assert refusal.value.field == field


def test_every_place_and_count_of_the_widest_window_has_a_word() -> None:
    widest = Asking(recent=len(PLACES))
    assert len(COUNTS) == max(widest.windows) + 1
    assert all(3 <= window <= 10 for window in widest.windows)
