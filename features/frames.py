"""Tables of events cut into what models learn from and what they are measured on.

A frame of events has the columns event_id, user, item, at (epoch seconds) and maybe others; rows without an item are
left out by `ordered`. Everything after `ordered` keeps its order: users together, each user's events oldest first.
Shapes: E events, U users.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from heapq import nsmallest
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

HELD_OUT_MOST: Final = 2000  # users: the interval of an NDCG@10 of .1 is then about .01 wide


@dataclass(frozen=True, slots=True)
class Split:
    """history: what a model may be fitted on and is fed with; targets: one event a user, later than the history."""

    history: pl.DataFrame
    targets: pl.DataFrame


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """Every user's items as rows of a vocabulary, oldest first, one user after another.

    items_E: rows. at_E: epoch seconds. starts_V: where each user begins, and E at the end (V = U + 1).
    values_E: ratings, NaN for none.
    """

    users: tuple[str, ...]
    items_E: NDArray[np.int64]
    at_E: NDArray[np.float64]
    starts_V: NDArray[np.int64]
    values_E: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.users)

    def numbers(self) -> NDArray[np.int64]:
        """numbers_E: the number of the user of each event."""
        return np.repeat(np.arange(len(self.users)), np.diff(self.starts_V))

    def followers(self) -> NDArray[np.int64]:
        """followers_E: how many events of the same user come after each event."""
        return np.repeat(self.starts_V[1:], np.diff(self.starts_V)) - 1 - np.arange(len(self.items_E))

    def histories(self, most: int | None = None) -> list[NDArray[np.int64]]:
        """Each user's newest `most` items (all when None), oldest first."""
        return self._newest(self.items_E, most)

    def told(self, most: int | None = None) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float32]]]:
        """(times, ratings) of the same events as `histories`."""
        return self._newest(self.at_E, most), self._newest(self.values_E, most)

    def _newest(self, column_E: NDArray[Any], most: int | None) -> list[NDArray[Any]]:
        begins, ends = self.starts_V[:-1], self.starts_V[1:]
        if most is not None:
            begins = np.maximum(begins, ends - most)
        return [column_E[begin:end] for begin, end in zip(begins, ends, strict=True)]


def ordered(events: pl.DataFrame, tie_seed: int = 0) -> pl.DataFrame:
    """The events that have an item, users together, oldest first.

    Equal times of one user stand in the order of their event ids (the file's, since imported ids are zero-padded row
    numbers) for tie_seed 0, and in a random order made from the seed for any other. Ranking results move by 10 %
    with the order of ties in MovieLens 100K, so a figure is a mean over several seeds.
    """
    events = events.filter(pl.col("item").is_not_null()).sort("user", "at", "event_id")
    if tie_seed == 0:
        return events
    shuffle = pl.Series("shuffle", np.random.default_rng(tie_seed).permutation(events.height))
    return events.with_columns(shuffle).sort("user", "at", "shuffle").drop("shuffle")


def at_least(events: pl.DataFrame, count: int) -> pl.DataFrame:
    """The events of users who have at least `count` of them."""
    return events.filter(pl.len().over("user") >= count)


def hold_out_last(events: pl.DataFrame, users: Sequence[str] | None = None) -> Split:
    """Each user's last event as target, all other events as history; `events` as `ordered` gives them.

    users: whose events are held out; everybody's when None.
    """
    is_last = pl.int_range(pl.len()).over("user") == pl.len().over("user") - 1
    if users is not None:
        is_last &= pl.col("user").is_in(pl.Series(users, dtype=pl.String).implode())
    return Split(events.filter(~is_last), events.filter(is_last))


def held_out_users(events: pl.DataFrame, most: int = HELD_OUT_MOST) -> list[str]:
    """The users whose last event no served model is fitted on: what two models are compared by, whenever they were
    fitted.

    Of the users with at least three events, the `most` with the smallest digests (BLAKE2b of the id). A data set that
    grows by later events therefore never brings back a user who was passed over: who is in its sample was in the old
    one, or had fewer than three events then. Either way nobody was fitted on what is now the last event.
    """
    eligible = at_least(events, 3)["user"].unique().to_list()
    return nsmallest(most, eligible, key=lambda user: blake2b(user.encode(), digest_size=16).digest())


def split_at(events: pl.DataFrame, quantile: float) -> tuple[Split, float]:
    """A global time split, and its time (epoch seconds): the quantile of all events' times.

    history: every event before that time, of whatever user. targets: the first event at or after that time of each
    user who has one before it. `events` as `ordered` gives them.
    """
    time = float(np.quantile(events["at"].to_numpy(), quantile, method="lower"))
    history = events.filter(pl.col("at") < time)
    later = events.filter(pl.col("at") >= time)
    later = later.join(history.select("user").unique(), on="user", how="semi", maintain_order="left")
    targets = later.filter(pl.int_range(pl.len()).over("user") == 0)
    return Split(history, targets), time


def k_core(events: pl.DataFrame, k: int) -> pl.DataFrame:
    """The events that are left when users and items with fewer than k events are removed until there are none."""
    while True:
        kept = events.filter((pl.len().over("user") >= k) & (pl.len().over("item") >= k))
        if kept.height == events.height:
            return events
        events = kept


def sequences(events: pl.DataFrame, items: Sequence[str]) -> Sequences:
    """The events (as `ordered` gives them) as rows of the vocabulary `items`; an item that it lacks is left out."""
    rows = pl.DataFrame({"item": list(items), "row": range(len(items))}, schema={"item": pl.String, "row": pl.Int64})
    value = pl.col("value") if "value" in events.columns else pl.lit(None, pl.Float64).alias("value")
    known = events.select("user", "item", "at", value).join(rows, on="item", how="inner", maintain_order="left")
    lengths = known.group_by("user", maintain_order=True).len()
    starts_V = np.concatenate([[0], np.cumsum(lengths["len"].to_numpy())]).astype(np.int64)
    return Sequences(
        tuple(lengths["user"].to_list()),
        known["row"].to_numpy().astype(np.int64),
        known["at"].to_numpy().astype(np.float64),
        starts_V,
        known["value"].fill_null(np.nan).to_numpy().astype(np.float32),
    )
