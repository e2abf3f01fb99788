"""Histories of films that one can read through, for tests of facts and summaries."""

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

FILMS = {
    "alien": ("Alien (1979)", ["Horror", "Sci-Fi"]),
    "shining": ("Shining, The (1980)", ["Horror"]),
    "omen": ("Omen, The (1976)", ["Horror"]),
    "fargo": ("Fargo (1996)", ["Crime", "Drama"]),
    "heat": ("Heat (1995)", ["Crime", "Drama"]),
    "casino": ("Casino (1995)", ["Crime", "Drama"]),
    "babe": ("Babe (1995)", ["Comedy"]),
    "clueless": ("Clueless (1995)", ["Comedy"]),
    "bean": ("Bean (1997)", ["Comedy"]),
    "strangelove": ("Dr. Strangelove or: How I Learned to Stop Worrying (1963)", ["War"]),
    "sabrina54": ("Sabrina (1954)", ["Romance"]),
    "sabrina95": ("Sabrina (1995)", ["Romance"]),
}
DAY = 86_400.0
NOON = 12 * 3600.0

Told = tuple[str, float | None]  # an item and its rating


def films(about: Mapping[str, tuple[str, Sequence[str]]] = FILMS) -> pl.DataFrame:
    rows = [(item, title, list(categories)) for item, (title, categories) in about.items()]
    return pl.DataFrame(rows, {"item": pl.String, "title": pl.String, "categories": pl.List(pl.String)}, orient="row")


def told(histories: Mapping[str, Iterable[Told]], step: float = 60.0, start: float = NOON) -> pl.DataFrame:
    """Each user's events, oldest first, `step` seconds apart; ids "u-0", "u-1" ... of user "u"."""
    rows = [
        (f"{user}-{place}", user, item, value, start + place * step)
        for user, events in histories.items()
        for place, (item, value) in enumerate(events)
    ]
    schema = {"event_id": pl.String, "user": pl.String, "item": pl.String, "value": pl.Float64, "at": pl.Float64}
    return pl.DataFrame(rows, schema, orient="row")


LOVES_CRIME: list[Told] = [
    *(("fargo", 5.0), ("heat", 5.0), ("casino", 4.0)),
    *(("alien", 1.0), ("shining", 2.0), ("omen", 1.0)),
    *(("babe", 3.0), ("clueless", 3.0), ("bean", 3.0)),
]
