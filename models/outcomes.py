"""From what was shown and what came of it to the report of an experiment.

exposures, a row a list that was shown: recommendation, user, variant (null in an interleaving), items (shown, best
first), teams (of each item, null in a split), model, at (epoch seconds).
outcomes, a row an event: event (its id), recommendation, user, item, at.

An outcome counts for the exposure whose recommendation id it carries, when it is the same user's, about an item of the
list, and not later than the window after the exposure. That it be later than the exposure is not asked: nobody knows
the id of a list before it was shown, so an earlier time is a device's clock.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from models.intervals import MISMATCH, Estimate, ratio, sample_ratio, sign_test

EXPOSURES: Final = pl.Schema(
    {
        **dict.fromkeys(("recommendation", "user", "variant"), pl.String()),
        **dict.fromkeys(("items", "teams"), pl.List(pl.String)),
        "model": pl.String(),
        "at": pl.Float64(),
    }
)
OUTCOMES: Final = pl.Schema(
    {**dict.fromkeys(("event", "recommendation", "user", "item"), pl.String()), "at": pl.Float64()}
)
RATES: Final = ("click_through", "user_rate", "outcomes_per_user")


def report_split(
    exposures: pl.DataFrame, outcomes: pl.DataFrame, window: float, shares: Mapping[str, float | None]
) -> dict[str, Any]:
    """The variants, their differences from the first, the sample ratio, and what was left out; ready for JSON.

    window: seconds. shares: of the variants, in their order; None where it is not known. click_through: exposures with
    an outcome over exposures. user_rate: the mean over users of each one's own click-through. outcomes_per_user: the
    mean over users of how many outcomes they have. A user who was in two variants is in neither.
    """
    counted, left_out = attributed(exposures, outcomes, window)
    by_user = _by_user(exposures, counted)
    mixed = by_user.filter(pl.col("variants") > 1)
    by_user = by_user.filter(pl.col("variants") == 1)
    groups = {name: by_user.filter(pl.col("variant") == name) for name in shares}
    estimates = {name: _rates(users) for name, users in groups.items()}
    first, *others = shares
    return {
        "variants": {
            name: {
                "share": share,
                "users": groups[name].height,
                **{field: int(groups[name][field].sum()) for field in ("exposures", "clicked", "outcomes")},
                "models": _models(exposures.filter(pl.col("variant") == name)),
                **{rate: estimates[name][rate].interval() for rate in RATES},
            }
            for name, share in shares.items()
        },
        "comparisons": {
            f"{name} - {first}": {rate: (estimates[name][rate] - estimates[first][rate]).tested() for rate in RATES}
            for name in others
        },
        "sample_ratio": _sample_ratio({name: users.height for name, users in groups.items()}, shares),
        "left_out": {
            "users_in_two_variants": mixed["user"].n_unique(),
            "exposures_of_users_in_two_variants": int(mixed["exposures"].sum()),
            **left_out,
        },
    }


def report_interleaving(
    exposures: pl.DataFrame, outcomes: pl.DataFrame, window: float, names: Sequence[str]
) -> dict[str, Any]:
    """What two interleaved pipelines were credited with, and which one users prefer; ready for JSON.

    An exposure is won by the pipeline that placed more of the items with an outcome; with as many it is a tie.
    preference: (wins of the second - wins of the first) / exposures with a credited outcome, from -1 to 1; 0 where
    neither is preferred. sign_p: of a sign test over users, each by more wins than losses.
    """
    counted, left_out = attributed(exposures, outcomes, window)
    clicked = counted.unique(["recommendation", "item"]).explode("items", "teams")
    credited = clicked.filter(pl.col("item") == pl.col("items"), pl.col("teams").is_not_null())
    first, second = names
    lists = credited.group_by("recommendation", "user").agg(
        (pl.col("teams") == first).sum().cast(pl.Int64).alias("first"),
        (pl.col("teams") == second).sum().cast(pl.Int64).alias("second"),
    )
    lead = (pl.col("second") - pl.col("first")).sign()
    users = (
        lists.group_by("user")
        .agg(
            lead.sum().alias("lead"),
            (lead > 0).sum().alias("won"),
            (lead < 0).sum().alias("lost"),
            pl.len().alias("lists"),
        )
        .sort("user")  # a sum of floats has one value in one order only
    )
    won, lost, both = (int(users[field].sum()) for field in ("won", "lost", "lists"))
    users_for, users_against = int((users["lead"] > 0).sum()), int((users["lead"] < 0).sum())
    placed = exposures.select(pl.col("teams").explode()).to_series()
    return {
        "exposures": exposures.height,
        "users": exposures["user"].n_unique(),
        "models": _models(exposures),
        "variants": {
            name: {
                "placed": int((placed == name).sum()),
                "credited": int(lists[team].sum()),
                "wins": wins,
            }
            for name, team, wins in ((first, "first", lost), (second, "second", won))
        },
        "comparisons": {
            f"{second} - {first}": {
                "wins": won,
                "losses": lost,
                "ties": both - won - lost,
                "users_for": users_for,
                "users_against": users_against,
                "preference": ratio(users["lead"].to_numpy(), users["lists"].to_numpy()).tested(),
                "sign_p": sign_test(users_for, users_against),
            }
        },
        "sample_ratio": None,
        "left_out": left_out,
    }


def attributed(exposures: pl.DataFrame, outcomes: pl.DataFrame, window: float) -> tuple[pl.DataFrame, dict[str, int]]:
    """(the outcomes that count, each once, with their exposure's columns; how many carry an exposure's id and do not
    count, by the first reason)."""
    pointed = (
        outcomes.sort("at")
        .unique("event", keep="last", maintain_order=True)
        .join(exposures, on="recommendation", how="inner", suffix="_shown")
    )
    reasons = {
        "outcomes_of_other_users": pl.col("user") != pl.col("user_shown"),
        "outcomes_of_other_items": ~pl.col("item").is_in(pl.col("items")).fill_null(False),
        "outcomes_after_the_window": pl.col("at") > pl.col("at_shown") + window,
    }
    left_out = {}
    for reason, applies in reasons.items():
        kept = pointed.filter(~applies)
        left_out[reason] = pointed.height - kept.height
        pointed = kept
    return pointed, left_out


def _by_user(exposures: pl.DataFrame, counted: pl.DataFrame) -> pl.DataFrame:
    """A row for each user and variant: exposures, those with an outcome, outcomes; and in how many variants."""
    of_lists = counted.group_by("recommendation").agg(pl.len().alias("outcomes"))
    return (
        exposures.select("recommendation", "user", "variant")
        .join(of_lists, on="recommendation", how="left")
        .group_by("user", "variant")
        .agg(
            pl.len().alias("exposures"),
            pl.col("outcomes").is_not_null().sum().alias("clicked"),
            pl.col("outcomes").sum().alias("outcomes"),
        )
        .with_columns(pl.len().over("user").alias("variants"))
        .sort("user", "variant")
    )


def _rates(users: pl.DataFrame) -> dict[str, Estimate]:
    """RATES of one variant's users."""
    exposures_U, clicked_U, outcomes_U = (
        users[field].cast(pl.Float64).to_numpy() for field in ("exposures", "clicked", "outcomes")
    )
    ones_U = np.ones_like(exposures_U)
    return {
        "click_through": ratio(clicked_U, exposures_U),
        "user_rate": ratio(clicked_U / exposures_U, ones_U),
        "outcomes_per_user": ratio(outcomes_U, ones_U),
    }


def _models(exposures: pl.DataFrame) -> dict[str, int]:
    """How many exposures each model version made, most first."""
    counts = exposures["model"].value_counts().sort(["count", "model"], descending=[True, False])
    return dict(counts.iter_rows())


def _sample_ratio(users: Mapping[str, int], shares: Mapping[str, float | None]) -> dict[str, Any] | None:
    """The check of the split, or None where the shares are not known."""
    known = {name: share for name, share in shares.items() if share is not None}
    if len(known) < len(shares):
        return None
    p = sample_ratio(list(users.values()), list(known.values()))
    return {"observed": dict(users), "expected": known, "p": p, "mismatch": p is not None and p < MISMATCH}
