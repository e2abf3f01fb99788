"""A user's stored soft prompts as bytes: records (features/records.py) of K u16, big-endian, and K * D numbers of
float16, little-endian.

Half precision is what is kept and what is served, so that a prompt is the same whether it was stored or made a moment
ago: a language model reads it in as little.

Shapes: K vectors of a prompt, D dimensions; X any number of prompts.
"""

from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.errors import InvalidInput
from features.profile import Position, SoftPrompt
from features.records import Records

VECTORS_MOST: Final = 256
DIMENSIONS_MOST: Final = 16_384  # of the largest language models that there are
RECORDS: Final = Records(">I")
_COUNT: Final = Struct(">H")


def halved(vectors_XKD: NDArray[np.float32]) -> NDArray[np.float16]:
    """Vectors of one soft prompt, or of many (X), in half precision. Raises InvalidInput for what is no float32, is too
    big, or holds numbers that are not finite, or not in half precision."""
    if vectors_XKD.dtype != np.float32 or vectors_XKD.ndim < 2:
        raise InvalidInput("soft_prompt", f"{vectors_XKD.dtype} of shape {vectors_XKD.shape}; give rows of float32")
    count, dimensions = vectors_XKD.shape[-2:]
    if not (0 < count <= VECTORS_MOST and 0 < dimensions <= DIMENSIONS_MOST):
        raise InvalidInput(
            "soft_prompt",
            f"{count} vectors of {dimensions}; give 1 to {VECTORS_MOST}, of at most {DIMENSIONS_MOST} dimensions",
        )
    with np.errstate(over="ignore"):
        halved_XKD = vectors_XKD.astype("<f2")
    if not np.isfinite(halved_XKD).all():
        raise InvalidInput("soft_prompt", "it holds numbers that are not finite in half precision; is the model sound?")
    return halved_XKD


def encode_soft_prompt(prompt: SoftPrompt) -> bytes:
    """The record of a soft prompt. Raises InvalidInput as `halved` does, and for a model without a short name."""
    halved_KD = halved(prompt.vectors_KD)
    return RECORDS.encode(prompt.model, prompt.as_of, _COUNT.pack(len(halved_KD)) + halved_KD.tobytes())


def decode_soft_prompts(encoded: bytes) -> tuple[SoftPrompt, ...]:
    """The soft prompts of a value, the one written last first."""
    return RECORDS.decode(encoded, _soft_prompt)


def soft_prompt_of(encoded: bytes, model: str) -> SoftPrompt | None:
    """The model's soft prompt of a value, when it has one."""
    return RECORDS.of(encoded, model, _soft_prompt)


def _soft_prompt(payload: bytes, model: str, as_of: Position) -> SoftPrompt:
    (count,) = _COUNT.unpack_from(payload)
    vectors_KD = np.frombuffer(payload, "<f2", offset=_COUNT.size).reshape(count, -1).astype(np.float32)
    return SoftPrompt(vectors_KD, model, as_of)
