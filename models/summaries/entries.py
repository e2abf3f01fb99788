"""What a user did, as lines that can be searched and quoted: one entry an event about an item.

Shapes: K texts that share a budget.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.cleaning import cleaned
from features.events import Event, EventId, ItemId
from features.items import Item
from models.language.counting import Count

CATEGORIES_MOST: Final = 8  # of one item: more say little and cost much
CATEGORY_MOST: Final = 40  # characters
CUTS_MOST: Final = 32  # lengths that a title is tried at when it has to be cut


@dataclass(frozen=True, slots=True)
class Entry:
    """title, categories, did: cleaned. did: the event's type. value: what the event says, None where it has none.
    at: epoch seconds."""

    event: EventId
    item: ItemId
    title: str
    categories: tuple[str, ...]
    did: str
    value: float | None
    at: float

    @property
    def named(self) -> str:
        """What is searched: who asks for 4 stars asks for no item whose rating was 4."""
        return named(self.title, self.categories)

    @property
    def said(self) -> str:
        """The value as it is written, "4" for 4.0; the event's type where there is none."""
        return self.did if self.value is None else f"{self.value:.6g}"

    @property
    def text(self) -> str:
        """The entry in a line: `Fargo (1996) [Crime, Drama]: 4`."""
        return f"{self.named}: {self.said}"


def named(title: str, categories: Sequence[str]) -> str:
    """An item in a line: `Fargo (1996) [Crime, Drama]`."""
    return f"{title} [{', '.join(categories)}]" if categories else title


def name_of(item: ItemId, found: Item | None) -> tuple[str, tuple[str, ...]]:
    """(title, categories) of an item as they may be quoted; its id for a title where it has none."""
    if found is None:
        return _clean(item), ()
    categories = (_clean(name, CATEGORY_MOST) for name in found.categories[:CATEGORIES_MOST])
    return _clean(found.title) or _clean(item), tuple(name for name in categories if name)


def entries_of(events: Iterable[Event], item_of: Callable[[ItemId], Item | None]) -> list[Entry]:
    """An entry for each event that is about an item, in the events' order. item_of: None for an item nobody knows."""
    return [
        Entry(
            event.id, event.item, *name_of(event.item, item_of(event.item)), _clean(event.type), event.value, event.at
        )
        for event in events
        if event.item is not None
    ]


def shares(lengths_K: Sequence[int], budget: int) -> NDArray[np.int64]:
    """How many tokens each text may take of a budget: an even share, and what short ones leave goes to the longer.

    No text gets more than its length; one that has to be cut gets at least as much as any other. What does not divide
    goes to the first of those that are cut.
    """
    lengths = np.asarray(lengths_K, np.int64)
    left, even = max(budget, 0), 0
    for done, length in enumerate(np.sort(lengths).tolist()):
        even = left // (len(lengths) - done)
        if length > even:
            break
        left -= length  # less than its share: the rest rolls over
    given_K = np.minimum(lengths, even) if budget < lengths.sum() else lengths.copy()
    cut = np.flatnonzero(given_K < lengths)
    given_K[cut[: max(budget, 0) - int(given_K.sum())]] += 1
    return given_K


def fitted(entries: Sequence[Entry], budget: int, shown: Callable[[Entry], str], count: Count) -> list[Entry]:
    """The entries, best first, cut so that what is shown of them takes at most the budget, each at most its share.

    A title is cut before the categories go; the value always stays. When the shares do not hold even that, the last
    entry is left out, and so on.
    """
    forms = [[entry] for entry in entries]
    lengths = [[length] for length in count([shown(entry) for entry in entries])]
    is_tried = [False] * len(entries)
    while forms:
        given_K = shares([some[0] for some in lengths], budget).tolist()
        kept: list[Entry] = []
        for place, share in enumerate(given_K):
            if lengths[place][0] > share and not is_tried[place]:
                shorter = _shorter(entries[place])
                forms[place] += shorter
                lengths[place] += count([shown(form) for form in shorter])
                is_tried[place] = True
            fitting = (form for form, length in zip(forms[place], lengths[place], strict=True) if length <= share)
            kept += [form for form in [next(fitting, None)] if form is not None]
        if len(kept) == len(forms):
            return kept
        del forms[-1], lengths[-1]
    return []


def _shorter(entry: Entry) -> list[Entry]:
    """The same entry with less and less of its title, the shortest of them again without categories."""
    most = len(entry.title)
    cuts = [int(cut) for cut in np.unique(np.linspace(1, most - 1, min(CUTS_MOST, most - 1)))[::-1]] if most > 1 else []
    titles = [entry.title[:cut].rstrip() + "…" for cut in cuts]
    forms = [replace(entry, title=title) for title in titles]
    return forms + [replace(form, categories=()) for form in (entry, *forms)]


_clean: Final = lru_cache(maxsize=1 << 16)(cleaned)  # titles come again and again, user after user
