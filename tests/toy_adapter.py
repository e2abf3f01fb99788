"""A stream adapter without a language model: it reads letters, four to a chunk, and weighs what it has read.

The memory is half of what it was and what the chunk's letters weigh, a to z from 1 to 26; "!" weighs more than can be
told, and "*" more than is trusted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.stream_adapter.state import State

CHUNK = 4
BOUND = 1000.0
_WEIGHTS = {ord("!"): np.nan, ord("*"): 2 * BOUND}


@dataclass(frozen=True, slots=True)
class ToyCores:
    memory_ND: NDArray[np.float32]


class ToyContext:
    def event(self, item: str, value: float | None = None) -> tuple[int, ...]:
        return tuple(map(ord, item))


class ToyAdapter:
    """sizes: users of each call of `advance`."""

    context = ToyContext()

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def fresh(self) -> State:
        return State(np.zeros((1, 1, 2), np.float16), np.zeros(0, np.int32))

    def advance(self, states: Sequence[State], tokens: Sequence[Sequence[int]]) -> list[State]:
        self.sizes.append(len(states))
        return [self._advanced(state, more) for state, more in zip(states, tokens, strict=True)]

    def cores(self, states: Sequence[State]) -> ToyCores:
        return ToyCores(np.stack([state.memory_LQD.ravel() for state in states]).astype(np.float32))

    def checked(self, cores: ToyCores) -> NDArray[np.bool_]:
        return (np.abs(cores.memory_ND) <= BOUND).all(axis=1)

    def _advanced(self, state: State, more: Sequence[int]) -> State:
        memory_D, rest, chunks = state.memory_LQD.ravel(), [*state.tail_T.tolist(), *more], state.chunks
        while len(rest) >= CHUNK:
            weight = sum(_WEIGHTS.get(letter, letter - 96) for letter in rest[:CHUNK])
            memory_D = (memory_D / 2 + np.array([weight, 1.0])).astype(np.float16)
            rest, chunks = rest[CHUNK:], chunks + 1
        return State(memory_D.reshape(1, 1, 2), np.array(rest, np.int32), chunks)
