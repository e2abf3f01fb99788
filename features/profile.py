"""The four forms of one user's state, and the log position that stamps them all.

Shapes: K soft prompt vectors, D dimensions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a log. log_id is made when the log or topic is created; offsets count from 0 within a partition.

    Positions compare only within one (log_id, partition); anything else counts as stale.
    """

    log_id: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.log_id}:{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """The position that `str` wrote. Raises ValueError."""
        log_id, partition, offset = text.rsplit(":", 2)
        return cls(log_id, int(partition), int(offset))

    def covers(self, other: "Position") -> bool:
        """Whether a state stamped with this position has seen `other`; False when the two do not compare."""
        return (self.log_id, self.partition) == (
            other.log_id,
            other.partition,
        ) and self.offset >= other.offset


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence of a summary and the ids of the events that bear it out."""

    text: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserSummary:
    """A few sentences about a user; model names the registry version that wrote them."""

    text: str
    claims: tuple[Claim, ...]
    model: str
    as_of: Position


@dataclass(frozen=True, slots=True)
class UserVector:
    """One vector that searches the item index of the same model version."""

    vector_D: NDArray[np.float32]
    model: str
    as_of: Position


@dataclass(frozen=True, slots=True)
class SoftPrompt:
    """Vectors that prompt a frozen language model, of the model version they were trained for."""

    vectors_KD: NDArray[np.float32]
    model: str
    as_of: Position


@dataclass(frozen=True, slots=True)
class WeightUpdate:
    """Small cores, by the name of the weight matrix they adapt in the frozen language model."""

    cores: dict[str, NDArray[np.float32]]
    model: str
    as_of: Position
