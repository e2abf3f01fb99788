"""Which item each row of a trained model stands for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import orjson

from features.events import ItemId


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """items: the item of each row. row_of: the row of each item."""

    items: tuple[ItemId, ...]
    row_of: Mapping[ItemId, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "row_of", {item: row for row, item in enumerate(self.items)})

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(cls, items: Iterable[str]) -> "Vocabulary":
        """These items, each once, in the order of their ids' digests.

        That order tells nothing. Ids are often numbered by first appearance, so that rows in the order of ids, or of
        the file, would break ties by what is to be predicted.
        """
        return cls(tuple(sorted((ItemId(item) for item in set(items)), key=_digest)))

    @property
    def digest(self) -> str:
        """32 hexadecimal characters that stand for the items and their order."""
        return blake2b(orjson.dumps(self.items), digest_size=16).hexdigest()


def _digest(item: str) -> bytes:
    return blake2b(item.encode(), digest_size=16).digest()
