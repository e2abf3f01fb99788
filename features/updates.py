"""A user's stored weight updates as bytes: records (features/records.py) of two counts and a state.

    payload   revision u32 | generation u32 | state         big-endian

The revision counts how often the record was written, so that of two who have read the same one only the first writes.
The generation is the tenant's when it was written, and a reset of all users moves the tenant's on: the state of an
older one is nothing from then on, while the position that it stands at still says which events have had their turn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Final

from features.errors import InvalidInput
from features.events import UserId
from features.profile import Position, WeightUpdate
from features.records import Records

STATE_MOST: Final = 65_536  # bytes
RECORDS: Final = Records(">I")
_COUNTS: Final = Struct(">II")

Written = tuple[WeightUpdate, int]  # an update and its revision


@dataclass(frozen=True, slots=True)
class StoredUpdate:
    """A model's update of one user as it is kept, and what a write needs to know of the moment it was read.

    update: None where the model has none. revision: 0 then. generation: of the tenant. seen: the last event in the
    user's profile, None for a user nobody has heard of. erased_at: epoch seconds of the last erasure.
    """

    user: UserId
    update: WeightUpdate | None = None
    revision: int = 0
    generation: int = 0
    seen: Position | None = None
    erased_at: float | None = None


def encode_update(update: WeightUpdate, revision: int, generation: int) -> bytes:
    """The record of an update. Raises InvalidInput for a state that is too big, and for a model without a short
    name."""
    if len(update.state) > STATE_MOST:
        raise InvalidInput("update", f"a state of {len(update.state)} bytes; {STATE_MOST} at most are kept of a user")
    return RECORDS.encode(update.model, update.as_of, _COUNTS.pack(revision, generation) + update.state)


def decode_updates(encoded: bytes, generation: int) -> tuple[Written, ...]:
    """The updates of a value, the one written last first; of an older generation without their states."""
    return RECORDS.decode(encoded, _written(generation))


def update_of(encoded: bytes, model: str, generation: int) -> Written | None:
    """The model's update of a value, when it has one."""
    return RECORDS.of(encoded, model, _written(generation))


def _written(generation: int) -> Callable[[bytes, str, Position], Written]:
    def written(payload: bytes, model: str, as_of: Position) -> Written:
        revision, its_own = _COUNTS.unpack_from(payload)
        state = payload[_COUNTS.size :] if its_own == generation else b""
        return WeightUpdate(state, model, as_of), revision

    return written
