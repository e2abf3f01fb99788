"""All that is kept of a user's stream: what the recurrence remembers, and the tokens that it has not read yet.

    "TPSA", version, layers, queries, dimensions, tokens of the tail, chunks read | memory, fp16 | tail, int32

Little-endian throughout. Shapes: L adapted layers, Q queries, D dimensions of a layer's values, T tokens.
"""

import struct
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from features.errors import InvalidInput

MOST: Final = 64 * 1024  # bytes of a state
_MAGIC: Final = b"TPSA"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<4sHHHHIQ")


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """memory_LQD: of the chunks read so far, nought before the first. tail_T: token ids: with what is read next begins.
    chunks: how many were read."""

    memory_LQD: NDArray[np.float16]
    tail_T: NDArray[np.int32]
    chunks: int = 0

    def to_bytes(self) -> bytes:
        """Raises InvalidInput when they would be too many, or the memory is not finite."""
        layers, queries, dimensions = self.memory_LQD.shape
        header = _HEADER.pack(_MAGIC, _VERSION, layers, queries, dimensions, len(self.tail_T), self.chunks)
        content = header + self.memory_LQD.astype("<f2").tobytes() + self.tail_T.astype("<i4").tobytes()
        _check(content, self.memory_LQD)
        return content

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Raises InvalidInput for anything that `to_bytes` does not write."""
        if not _HEADER.size <= len(content) <= MOST:
            raise InvalidInput("state", f"of {len(content)} bytes; it has {_HEADER.size} to {MOST}")
        magic, version, layers, queries, dimensions, tokens, chunks = _HEADER.unpack_from(content)
        if (magic, version) != (_MAGIC, _VERSION):
            raise InvalidInput("state", f"begins with {content[:6]!r}; this is version {_VERSION} of {_MAGIC!r}")
        size = 2 * layers * queries * dimensions
        if len(content) != _HEADER.size + size + 4 * tokens:
            raise InvalidInput("state", f"of {len(content)} bytes; its header says {_HEADER.size + size + 4 * tokens}")
        memory_LQD = np.frombuffer(content, "<f2", size // 2, _HEADER.size).reshape(layers, queries, dimensions)
        tail_T = np.frombuffer(content, "<i4", tokens, _HEADER.size + size)
        _check(content, memory_LQD)
        if (tail_T < 0).any():
            raise InvalidInput("state", "its tail is not of tokens")
        return cls(memory_LQD.astype(np.float16), tail_T.astype(np.int32), chunks)


def _check(content: bytes, memory_LQD: NDArray[np.float16]) -> None:
    if len(content) > MOST:
        raise InvalidInput("state", f"of {len(content)} bytes; at most {MOST} are kept")
    if not np.isfinite(memory_LQD).all():
        raise InvalidInput("state", "its memory is not finite")
