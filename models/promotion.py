"""Whether a bundle may take the place of another: both rank for the same users, whose last events neither has seen.

A served bundle is never fitted on the last events of `features.frames.held_out_users`. The events before them are fed
in, and the target is looked for in the list that the real pipeline answers with, so what is compared is what serves.
Shapes: U users, L events of a history.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.errors import PromotionRefused
from features.events import ItemId, UserId
from features.frames import held_out_users, hold_out_last, ordered
from features.items import Item
from models.bundle import FITS, Bundle
from models.catalogue import Catalogue
from models.metrics import Interval, bootstrap, hit_rate, ndcg
from models.recommender import EXPLORE, Pipeline, Query

K: Final = 10
RESAMPLES: Final = 2000
_BLOCK: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """The task: queries_U with all but the last event of each user, targets_U, and the catalogue they choose from."""

    queries_U: Sequence[Query]
    targets_U: Sequence[ItemId]
    catalogue: Catalogue


@dataclass(frozen=True, slots=True)
class Figures:
    """What one bundle reaches on the held-out events: means over `users`."""

    ndcg: float
    hit_rate: float
    users: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two bundles on the same users. difference: NDCG@10 of the candidate minus that of the served one, paired."""

    served: Figures
    candidate: Figures
    difference: Interval

    @property
    def falls(self) -> bool:
        """Whether the candidate ranks worse by more than the 95 % interval of the paired bootstrap."""
        return self.difference.high < 0


def held_out(events: pl.DataFrame, items: pl.DataFrame) -> HeldOut:
    """The task of a data set's frames, of the users that no served bundle of it was fitted on.

    Raises PromotionRefused when no user has three events.
    """
    known = ordered(events)
    split = hold_out_last(known, held_out_users(known))
    if split.targets.is_empty():
        raise PromotionRefused(
            "no user of the data has three events, so no event can be held out; --force goes without"
        )
    users = pl.Series(split.targets["user"]).implode()
    fed = split.history.filter(pl.col("user").is_in(users))
    if "value" not in fed.columns:
        fed = fed.with_columns(value=pl.lit(None, pl.Float64))
    histories = fed.group_by("user", maintain_order=True).agg("item", "at", pl.col("value").fill_null(float("nan")))
    queries = [
        Query(
            UserId(user),
            tuple(ItemId(item) for item in history),
            k=K,
            times_L=np.array(times, np.float64),
            values_L=np.array(values, np.float32),
        )
        for user, history, times, values in histories.iter_rows()
    ]
    catalogue = Catalogue(
        Item(ItemId(item), title or "", text or "", tuple(categories or ()))
        for item, title, text, categories in items.select("item", "title", "text", "categories").iter_rows()
    )
    return HeldOut(queries, [ItemId(item) for item in split.targets["item"]], catalogue)


def ranks_of(bundle: Bundle, task: HeldOut, explore: float = EXPLORE) -> NDArray[np.int64]:
    """ranks_U: the place of each target in the list of K that the bundle's pipeline answers with, K + 1 when it is not
    there, as is every target that the bundle does not know."""
    pipeline = Pipeline(bundle, task.catalogue, explore=explore)
    ranks_U = np.full(len(task.targets_U), K + 1, np.int64)
    for first in range(0, len(ranks_U), _BLOCK):
        answers = pipeline.recommend(task.queries_U[first : first + _BLOCK])
        for user, answer in enumerate(answers, start=first):
            for place, candidate in enumerate(answer.items, start=1):
                if candidate.item == task.targets_U[user]:
                    ranks_U[user] = place
    return ranks_U


def figures(ranks_U: NDArray[np.int64]) -> Figures:
    """The means of NDCG@10 and HR@10."""
    return Figures(float(ndcg(ranks_U, K).mean()), float(hit_rate(ranks_U, K).mean()), len(ranks_U))


def compare(served: Bundle, candidate: Bundle, task: HeldOut, explore: float = EXPLORE) -> Comparison:
    """Both bundles on the same task; their vocabularies may differ.

    Raises PromotionRefused for a bundle that was fitted on the events that are held out here.
    """
    for bundle in (served, candidate):
        if bundle.manifest["fit"] not in FITS:
            raise PromotionRefused(
                f"{bundle.name} was fitted on every event (fit {bundle.manifest['fit']!r}), so on those held out here, "
                "and cannot be compared; --force goes without"
            )
    served_U, candidate_U = (ranks_of(bundle, task, explore) for bundle in (served, candidate))
    difference = bootstrap(ndcg(candidate_U, K) - ndcg(served_U, K), RESAMPLES, seed=0)
    return Comparison(figures(served_U), figures(candidate_U), difference)
