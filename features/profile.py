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
    """One sentence of a summary. facts: keys of the facts that it states. evidence: ids of events that bear it out.

    is_operators: an operator's own sentence, which no event bears out.
    """

    text: str
    facts: tuple[str, ...]
    evidence: tuple[str, ...]
    is_operators: bool = False


@dataclass(frozen=True, slots=True)
class UserSummary:
    """One version of a few sentences about a user.

    kind: what it is for. facts: the digest of the facts that it was made of. model: what wrote it, "template" where no
    generator's words stood the check. prompt: the version of the prompt. made_at: epoch seconds.
    """

    kind: str
    claims: tuple[Claim, ...]
    facts: str
    model: str
    prompt: str
    made_at: float
    as_of: Position

    @property
    def text(self) -> str:
        return " ".join(claim.text for claim in self.claims)


@dataclass(frozen=True, slots=True)
class Correction:
    """What an operator has said about a fact of one user; outlives every refresh.

    fact: the fact's key. text: the sentence that stands for it from now on, None to say nothing of it; is_pinned: the
    sentence is always part of the summary, whether or not the history bears the fact out. made_at: epoch seconds.
    """

    fact: str
    text: str | None
    is_pinned: bool
    made_at: float


@dataclass(frozen=True, slots=True)
class StoredSummary:
    """A kind of summary of one user as it is kept. versions: newest first. stale: why the newest could not be made
    anew though the facts have changed, "" when nothing is in the way. revision: how often it was written."""

    versions: tuple[UserSummary, ...] = ()
    stale: str = ""
    revision: int = 0


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
    """What changes a frozen language model for this user, by a stream adapter of this model version.

    state: bytes that are the adapter's own affair; b"" while nothing changes the model, as after a reset.
    """

    state: bytes
    model: str
    as_of: Position
