"""A user's stored vectors as bytes: records (features/records.py) of D numbers of float32, little-endian.

Shapes: D dimensions.
"""

from typing import Final

import numpy as np

from features.errors import InvalidInput
from features.profile import Position, UserVector
from features.records import Records

DIMENSIONS_MOST: Final = 4096
RECORDS: Final = Records(">H")


def encode_vector(vector: UserVector) -> bytes:
    """The record of a vector. Raises InvalidInput for one that is no row of finite float32, or has no short name."""
    vector_D = vector.vector_D
    if vector_D.dtype != np.float32 or vector_D.ndim != 1 or not 0 < len(vector_D) <= DIMENSIONS_MOST:
        raise InvalidInput(
            "vector",
            f"{vector_D.dtype} of shape {vector_D.shape}; give a row of float32, at most {DIMENSIONS_MOST} long",
        )
    if not np.isfinite(vector_D).all():
        raise InvalidInput("vector", "it holds numbers that are not finite; is the model sound?")
    return RECORDS.encode(vector.model, vector.as_of, vector_D.astype("<f4", copy=False).tobytes())


def decode_vectors(encoded: bytes) -> tuple[UserVector, ...]:
    """The vectors of a value, the one written last first."""
    return RECORDS.decode(encoded, _vector)


def vector_of(encoded: bytes, model: str) -> UserVector | None:
    """The model's vector of a value, when it has one."""
    return RECORDS.of(encoded, model, _vector)


def _vector(payload: bytes, model: str, as_of: Position) -> UserVector:
    return UserVector(np.frombuffer(payload, "<f4"), model, as_of)
