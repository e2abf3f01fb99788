from hypothesis import given
from hypothesis import strategies as st

from models.language.packing import bins, packed


def test_prompts_lie_end_to_end_and_positions_begin_anew() -> None:
    pack = packed([[5, 6, 7], [8], [9, 9]], begin=4)
    assert pack.tokens_P.tolist() == [5, 6, 7, 8, 9, 9]
    assert pack.positions_P.tolist() == [4, 5, 6, 4, 4, 5]
    assert pack.spans == (slice(0, 3), slice(3, 4), slice(4, 6))
    assert pack.lasts.tolist() == [2, 3, 5]


def test_the_longest_goes_first_into_the_first_bin_with_room() -> None:
    assert bins([4, 6, 3, 7, 20], 10) == [[4], [3, 2], [1, 0]]


@given(st.lists(st.integers(1, 12)), st.integers(1, 10))
def test_everything_is_in_one_bin_and_no_bin_is_too_full(lengths: list[int], most: int) -> None:
    found = bins(lengths, most)
    assert sorted(place for one in found for place in one) == list(range(len(lengths)))
    sums = [sum(lengths[place] for place in one) for one in found]
    assert all(total <= most or len(one) == 1 for total, one in zip(sums, found, strict=True))
    assert sum(2 * total <= most for total in sums) <= 1  # two half empty bins would have been one
