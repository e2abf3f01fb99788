"""Interleaving: one list out of two rankings, so that whoever is shown it compares them without knowing.

Team-draft interleaving (Radlinski, Kurup and Joachims, "How does clickthrough data reflect retrieval quality?", CIKM
2008, algorithm 2): as captains pick players, the two rankings take turns, a coin decides who begins each round, and
each adds its best item that is not in the list yet. Clicks on an item are credited to the team that picked it; were the
rankings equally good, either would get as many. Departure: when a ranking has nothing left for its turn, the rest of
the other follows to fill the list, credited to nobody, as there was no competing for those places.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from typing import Final, Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

NOBODY: Final = -1
_COINS: Final = 512  # in one digest


@dataclass(frozen=True, slots=True)
class Draft(Generic[Item]):
    """items: best first, each once. teams: 0 or 1, the ranking that picked each item; NOBODY for what fills up."""

    items: tuple[Item, ...]
    teams: tuple[int, ...]


def team_draft(
    firsts: Sequence[Sequence[Item]], seconds: Sequence[Sequence[Item]], most: Sequence[int], seeds: Sequence[str]
) -> list[Draft[Item]]:
    """One draft for each pair of rankings (best first), of at most `most` items.

    seeds: what the coins are derived from; the same seed gives the same draft, in every process.
    """
    return [
        _draft(first, second, length, _coins(seed))
        for first, second, length, seed in zip(firsts, seconds, most, seeds, strict=True)
    ]


def _draft(first: Sequence[Item], second: Sequence[Item], most: int, coins: Iterator[int]) -> Draft[Item]:
    rankings = (first, second)
    team_of: dict[Item, int] = {}
    reached = [0, 0]  # in each ranking, the place of its best item that is not in the list
    sizes = [0, 0]
    while len(team_of) < most:
        for team, ranking in enumerate(rankings):
            while reached[team] < len(ranking) and ranking[reached[team]] in team_of:
                reached[team] += 1
        turns = (0, 1) if sizes[0] == sizes[1] else (int(sizes[1] < sizes[0]),)  # whose turn it may be
        if any(reached[team] == len(rankings[team]) for team in turns):
            break
        team = turns[next(coins)] if len(turns) == 2 else turns[0]
        team_of[rankings[team][reached[team]]] = team
        sizes[team] += 1
    for item in (*first[reached[0] :], *second[reached[1] :]):  # one of them is empty, or the list is full
        if len(team_of) < most:
            team_of.setdefault(item, NOBODY)
    return Draft(tuple(team_of), tuple(team_of.values()))


def _coins(seed: str) -> Iterator[int]:
    """0s and 1s."""
    for block in count():
        bits = int.from_bytes(blake2b(f"{block}/{seed}".encode()).digest(), "big")
        for place in range(_COINS):
            yield bits >> place & 1
