"""An experiment on the users, as the settings name it, and which variant a user is in.

A split gives each user one variant, for good: a hash of the user decides, so that every process agrees and nothing is
stored. An interleaving shows everybody one list drafted from two pipelines (models/interleaving.py).
"""

from bisect import bisect_right
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from features.events import UserId

CURRENT: Final = "current"  # the bundle in use, followed when it is replaced
POPULAR: Final = "popular"  # what is popular and trending, the same for everybody

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


class Variant(BaseModel):
    """One way to answer. bundle: "current", "popular" or a bundle's name. share: of the users, in a split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    share: Annotated[float, Field(gt=0, lt=1)] | None = None


class Experiment(BaseModel):
    """What is compared. The first variant is what the others are compared with.

    salt: decides the assignment together with the user's id; the name when empty. Experiments with different salts
    assign independently of each other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Slug
    kind: Literal["split", "interleave"] = "split"
    variants: Annotated[dict[Slug, Variant], Field(min_length=2, max_length=8)]
    salt: Annotated[str, Field(max_length=128)] = ""

    @model_validator(mode="after")
    def _shares(self) -> "Experiment":
        shares = [variant.share for variant in self.variants.values()]
        if self.kind == "interleave":
            if len(shares) != 2 or shares != [None, None]:
                raise ValueError("an interleaving is of exactly two variants, and without shares")
            return self
        if None in shares:
            raise ValueError("every variant of a split needs a share")
        total = sum(share or 0.0 for share in shares)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares sum to {total:g}; they must sum to 1")
        return self

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self.variants)

    @cached_property
    def bounds(self) -> tuple[float, ...]:
        """Where in [0, 1) each variant but the first begins: the cumulated shares, in the order of the settings."""
        return tuple(accumulate(variant.share or 0.0 for variant in self.variants.values()))[:-1]

    @cached_property
    def seasoning(self) -> bytes:
        return (self.salt or self.name).encode() + b"\0"  # no id of a user runs into the salt


def assign(user: UserId, experiment: Experiment) -> str:
    """The variant of a split that this user is in: the same in every process, as long as salt and shares stay.

    The hash of salt and user is a number in [0, 1), uniform over users, which falls into one variant's part. Where the
    last variant's share grows at the cost of those before it, nobody leaves the last variant.
    """
    digest = blake2b(experiment.seasoning + user.encode(), digest_size=8).digest()
    place = (int.from_bytes(digest, "big") >> 11) * 2.0**-53  # 53 bits: all that a float below 1 can hold
    return experiment.names[bisect_right(experiment.bounds, place)]
