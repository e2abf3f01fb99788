"""What models have made of a user, as bytes: the newest of each of the two that wrote last, in one value.

    value    record ...                                     the record written last stands first
    record   length | model length u8 | model | as_of length u8 | as_of | payload

The length (big-endian, u16 or u32) is that of the whole record. Two models live side by side while one takes the
other's place, and when the first comes back what it had made is still there. `made.lua` writes the value.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from features.errors import InvalidInput
from features.profile import Position

_NAME_BYTES: Final = 255
_DAMAGE: Final = (struct.error, IndexError, ValueError)

Made = TypeVar("Made")
Make = Callable[[bytes, str, Position], Made]  # of a payload, its model and its as_of


class Records:
    """Records of one form. length: of the length of a record."""

    def __init__(self, length: str) -> None:
        self._length = struct.Struct(length)
        self.head = self._length.size

    def encode(self, model: str, as_of: Position, payload: bytes) -> bytes:
        """Raises InvalidInput for a model without a short name."""
        name, stamp = model.encode(), str(as_of).encode()
        if not 0 < len(name) <= _NAME_BYTES:
            raise InvalidInput("model", f"a name of {len(name)} bytes; give one of 1 to {_NAME_BYTES}")
        body = b"%c%b%c%b%b" % (len(name), name, len(stamp), stamp, payload)
        return self._length.pack(self.head + len(body)) + body

    def decode(self, encoded: bytes, make: Make[Made]) -> tuple[Made, ...]:
        """All that is in a value, the one written last first; without what is damaged and what stands behind it."""
        made: list[Made] = []
        try:
            for model_start, model_end, end in self._records(encoded):
                made.append(_made(encoded, model_start, model_end, end, make))
        except _DAMAGE:
            pass  # it is made anew from the history, and written over
        return tuple(made)

    def of(self, encoded: bytes, model: str, make: Make[Made]) -> Made | None:
        """What the model has in a value; None where it has nothing, or nothing that can be read."""
        name = model.encode()
        try:
            for model_start, model_end, end in self._records(encoded):
                if encoded[model_start:model_end] == name:
                    return _made(encoded, model_start, model_end, end, make)
        except _DAMAGE:
            pass  # as above
        return None

    def _records(self, encoded: bytes) -> Iterator[tuple[int, int, int]]:
        """(where the model's name starts, where it ends, where the record ends) of each record."""
        place = 0
        while place < len(encoded):
            model_start = place + self.head + 1
            end = place + self._length.unpack_from(encoded, place)[0]
            model_end = model_start + encoded[model_start - 1]
            if not model_end < end <= len(encoded):
                raise ValueError("a record that does not fit")
            yield model_start, model_end, end
            place = end


def _made(encoded: bytes, model_start: int, model_end: int, end: int, make: Make[Made]) -> Made:
    start = model_end + 1 + encoded[model_end]
    as_of = Position.parse(encoded[model_end + 1 : start].decode())
    return make(encoded[start:end], encoded[model_start:model_end].decode(), as_of)
