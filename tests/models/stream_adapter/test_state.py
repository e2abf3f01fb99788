import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InvalidInput
from models.stream_adapter.state import MOST, State

STATE = State(np.arange(12, dtype=np.float16).reshape(2, 2, 3), np.array([7, 300], np.int32), 5)


def test_a_state_reads_back() -> None:
    read = State.from_bytes(STATE.to_bytes())
    np.testing.assert_array_equal(read.memory_LQD, STATE.memory_LQD)
    np.testing.assert_array_equal(read.tail_T, STATE.tail_T)
    assert read.chunks == 5
    assert read.to_bytes() == STATE.to_bytes()


def test_it_is_little_endian_wherever_it_is_written() -> None:
    assert STATE.to_bytes()[-8:] == bytes([7, 0, 0, 0, 44, 1, 0, 0])
    assert STATE.to_bytes()[24:28] == np.array([0, 1], "<f2").tobytes()


@given(st.binary(max_size=80) | st.binary(max_size=40).map(lambda more: STATE.to_bytes()[:20] + more))
def test_other_bytes_are_a_state_or_refused(content: bytes) -> None:
    try:
        read = State.from_bytes(content)
    except InvalidInput:
        return
    assert read.to_bytes() == content


@pytest.mark.parametrize("place", range(24))
def test_an_altered_header_is_refused_or_says_other_chunks(place: int) -> None:
    altered = bytearray(STATE.to_bytes())
    altered[place] ^= 3
    if place >= 16:  # the count of chunks
        assert State.from_bytes(bytes(altered)).chunks != 5
        return
    with pytest.raises(InvalidInput):
        State.from_bytes(bytes(altered))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_neither_written_nor_read(wrong: float) -> None:
    memory = STATE.memory_LQD.copy()
    content = bytearray(STATE.to_bytes())
    content[24:26] = np.array(wrong, "<f2").tobytes()
    memory[0, 0, 0] = wrong
    for action in (State(memory, STATE.tail_T).to_bytes, lambda: State.from_bytes(bytes(content))):
        with pytest.raises(InvalidInput, match="finite"):
            action()


def test_a_state_that_is_too_big_is_refused() -> None:
    with pytest.raises(InvalidInput, match=str(MOST)):
        State(np.zeros((64, 4, 192), np.float16), STATE.tail_T).to_bytes()
    with pytest.raises(InvalidInput, match=str(MOST)):
        State.from_bytes(bytes(MOST + 1))


def test_negative_tokens_are_refused() -> None:
    with pytest.raises(InvalidInput, match="tail"):
        State.from_bytes(State(STATE.memory_LQD, np.array([-1], np.int32)).to_bytes())
