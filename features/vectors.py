"""A user's stored vectors as bytes: the newest of each of the two models that wrote last, in one value.

    value    record ...                                      the record written last stands first
    record   length u16 | model length u8 | model | as_of length u8 | as_of | D numbers of float32, little-endian

The length (big-endian) is that of the whole record. Two models live side by side while one takes the other's place.
`vector.lua` writes the value.

Shapes: D dimensions.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final

import numpy as np

from features.errors import InvalidInput
from features.profile import Position, UserVector

DIMENSIONS_MOST: Final = 4096
_LENGTH: Final = Struct(">H")
_NAME_BYTES: Final = 255


def encode_vector(vector: UserVector) -> bytes:
    """The record of a vector. Raises InvalidInput for one that is no row of finite float32, or has no short name."""
    vector_D, model = vector.vector_D, vector.model.encode()
    if vector_D.dtype != np.float32 or vector_D.ndim != 1 or not 0 < len(vector_D) <= DIMENSIONS_MOST:
        raise InvalidInput(
            "vector",
            f"{vector_D.dtype} of shape {vector_D.shape}; give a row of float32, at most {DIMENSIONS_MOST} long",
        )
    if not np.isfinite(vector_D).all():
        raise InvalidInput("vector", "it holds numbers that are not finite; is the model sound?")
    if not 0 < len(model) <= _NAME_BYTES:
        raise InvalidInput("model", f"a name of {len(model)} bytes; give one of 1 to {_NAME_BYTES}")
    as_of = str(vector.as_of).encode()
    body = b"%c%b%c%b%b" % (len(model), model, len(as_of), as_of, vector_D.astype("<f4", copy=False).tobytes())
    return _LENGTH.pack(_LENGTH.size + len(body)) + body


def decode_vectors(encoded: bytes) -> tuple[UserVector, ...]:
    """The vectors of a value, the one written last first."""
    return tuple(_vector(encoded, *where) for where in _records(encoded))


def vector_of(encoded: bytes, model: str) -> UserVector | None:
    """The model's vector of a value, when it has one."""
    name = model.encode()
    for model_start, model_end, end in _records(encoded):
        if encoded[model_start:model_end] == name:
            return _vector(encoded, model_start, model_end, end)
    return None


def _records(encoded: bytes) -> Iterator[tuple[int, int, int]]:
    """(where the model's name starts, where it ends, where the record ends) of each record."""
    place = 0
    while place < len(encoded):
        model_start = place + _LENGTH.size + 1
        end = place + _LENGTH.unpack_from(encoded, place)[0]
        yield model_start, model_start + encoded[model_start - 1], end
        place = end


def _vector(encoded: bytes, model_start: int, model_end: int, end: int) -> UserVector:
    start = model_end + 1 + encoded[model_end]
    vector_D = np.frombuffer(encoded, "<f4", (end - start) // 4, start)
    as_of = Position.parse(encoded[model_end + 1 : start].decode())
    return UserVector(vector_D, encoded[model_start:model_end].decode(), as_of)
