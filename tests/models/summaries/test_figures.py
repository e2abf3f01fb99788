import pytest

from models.summaries.figures import step_of, tenths, written


@pytest.mark.parametrize(
    ("count", "step"), [(1, 1), (2, 2), (4.9, 3), (5, 5), (9, 5), (10, 10), (99, 50), (100, 100), (737, 500)]
)
def test_a_count_is_told_by_the_step_that_it_has_reached(count: float, step: int) -> None:
    assert step_of(count) == step


def test_a_mean_has_one_decimal_and_none_where_it_is_whole() -> None:
    assert [written(mean) for mean in (4.0, 3.96, 3.94, -0.5)] == ["4", "4", "3.9", "-0.5"]


def test_a_share_is_told_to_a_tenth_and_all_only_where_it_is_all() -> None:
    assert [tenths(share) for share in (0.04, 0.36, 0.99, 1.0)] == ["0%", "40%", "90%", "100%"]
