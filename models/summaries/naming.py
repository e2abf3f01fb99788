"""What an item is called where a sentence speaks of it: shorter than its title, and of one item of the user's only."""

import re
from collections.abc import Sequence
from typing import Final

import polars as pl

from features.cleaning import cleaned

NAME_MOST: Final = 60  # characters: titles of goods go on for lines, and mean the same after a few words

_ENDS: Final = " .…"
_YEAR: Final = re.compile(r"\s*\(((?:18|19|20)\d\d)\)(?:\s*\(V\))?$")
_ARTICLE: Final = re.compile(r"(.+?), (The|An?|La|Le|Les|L'|El|Los|Las|Il|I|Der|Die|Das)((?: \(.*\))?)")


def spoken(title: str, most: int = NAME_MOST) -> str:
    """A title as one says it: without its year at the end, its article in front, whole words of at most `most`
    characters, and without a full stop that would end the sentence."""
    name = _turned(_YEAR.sub("", cleaned(title)))
    if len(name) > most:
        name = name[: most + 1].rpartition(" ")[0] or name[:most]
    return name.rstrip(_ENDS)


def year_of(title: str) -> int | None:
    """The year in brackets that a title ends in."""
    found = _YEAR.search(title)
    return int(found.group(1)) if found else None


def described(items: pl.DataFrame, wanted: pl.Series) -> pl.DataFrame:
    """Of the items that are wanted: item, short, full, year, categories; all of them cleaned, none empty.

    items: item, title, categories. An item that is not among them, or has no title, is called by its id.
    """
    known = wanted.unique().sort().to_frame("item")
    known = known.join(items.select("item", "title", "categories"), on="item", how="left", maintain_order="left")
    rows = [_described(*row) for row in known.iter_rows()]
    schema = {
        "item": pl.String(),
        "short": pl.String(),
        "full": pl.String(),
        "year": pl.Int64(),
        "categories": pl.List(pl.String()),
    }
    return pl.DataFrame(rows, schema, orient="row")


def _described(
    item: str, title: str | None, categories: Sequence[str] | None
) -> tuple[str, str, str, int | None, list[str]]:
    full = _turned(cleaned(title or "") or cleaned(item)).rstrip(_ENDS) or "untitled"
    kept = dict.fromkeys(name for one in categories or () if (name := cleaned(one, NAME_MOST).rstrip(_ENDS)))
    return item, spoken(full) or full, full, year_of(full), list(kept)


def _turned(title: str) -> str:
    """With the article in front that stands behind a comma."""
    if not (turned := _ARTICLE.fullmatch(title)):
        return title
    name, article, rest = turned.groups()
    return f"{article}{'' if article.endswith(chr(39)) else ' '}{name}{rest}"
