"""A user's stored soft prompt as bytes: that of the model that wrote last.

    value   model length u8 | model | as_of length u8 | as_of | K u16 | K * D numbers of float16, little-endian

K is big-endian; D follows from the length. Half precision is what is kept and what is served, so that a prompt is the
same whether it was stored or made a moment ago: a language model reads it in as little.

Shapes: K vectors of a prompt, D dimensions; X any number of prompts.
"""

from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.errors import InvalidInput
from features.profile import Position, SoftPrompt

VECTORS_MOST: Final = 256
DIMENSIONS_MOST: Final = 16_384  # of the largest language models that there are
_COUNT: Final = Struct(">H")
_NAME_BYTES: Final = 255


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
    """The value of a soft prompt. Raises InvalidInput as `halved` does, and for a model without a short name."""
    halved_KD, model = halved(prompt.vectors_KD), prompt.model.encode()
    if not 0 < len(model) <= _NAME_BYTES:
        raise InvalidInput("model", f"a name of {len(model)} bytes; give one of 1 to {_NAME_BYTES}")
    as_of = str(prompt.as_of).encode()
    head = b"%c%b%c%b" % (len(model), model, len(as_of), as_of)
    return head + _COUNT.pack(len(halved_KD)) + halved_KD.tobytes()


def decode_soft_prompt(encoded: bytes) -> SoftPrompt | None:
    """The soft prompt of a value, None of an empty one."""
    if not encoded:
        return None
    model_end = 1 + encoded[0]
    as_of_end = model_end + 1 + encoded[model_end]
    (count,) = _COUNT.unpack_from(encoded, as_of_end)
    vectors_KD = np.frombuffer(encoded, "<f2", offset=as_of_end + _COUNT.size).reshape(count, -1).astype(np.float32)
    as_of = Position.parse(encoded[model_end + 1 : as_of_end].decode())
    return SoftPrompt(vectors_KD, encoded[1:model_end].decode(), as_of)
