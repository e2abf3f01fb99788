"""Item ids that are numbers: by first appearance, at random, or a token of its own for every item.

Every indexing works in one order of the items that their rows do not enter, so that items renumbered keep their ids.
Shapes: N items, R of them that appear in events, C the tokens of the longest id.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

BASE: Final = 64  # digits: few enough that each is met often, many enough that 4,096 items take two

Coded = tuple[tuple[str, ...], NDArray[np.int32]]  # tokens; codes_NC: places in them, -1 after an id's end


def canonical_order(
    appeared_R: NDArray[np.int64], titles: Sequence[str], categories: Sequence[Sequence[str]]
) -> NDArray[np.int64]:
    """rows_N: items by first appearance in the events, as given, then those that never appear, by title and categories.

    Among the latter, items of one title and the same categories stand in the order of their rows.
    """
    never = np.setdiff1d(np.arange(len(titles)), appeared_R).tolist()
    never.sort(key=lambda row: (titles[row], tuple(categories[row])))
    return np.concatenate([appeared_R, np.array(never, np.int64)]).astype(np.int64)


def sequential(order_N: NDArray[np.int64]) -> Coded:
    """Numbers in the order given, so that items which users meet together share their first digits.

    "Sequential indexing" of Hua et al. (2023), with digits of BASE instead of the pieces of a language's tokenizer.
    """
    return _written(places_in(order_N))


def random(order_N: NDArray[np.int64], seed: int) -> Coded:
    """The same numbers, shuffled: an id says nothing, which is what the others are compared with."""
    return _written(np.random.default_rng(seed).permutation(len(order_N))[places_in(order_N)])


def independent(order_N: NDArray[np.int64]) -> Coded:
    """One token an item, numbered in the order given."""
    return _own_tokens(len(order_N)), places_in(order_N)[:, None].astype(np.int32)


def owned(paths: Coded, order_N: NDArray[np.int64]) -> Coded:
    """Each path with one more token that is the item's own."""
    return _extended(paths, _own_tokens(len(order_N)), places_in(order_N))


def settled(paths: Coded, order_N: NDArray[np.int64], letter: str, least: int = 1) -> Coded:
    """Each path with one more token that tells apart the items which share it, counted in the order given.

    The tokens are the same ones for all paths, as many as the commonest path has items, or `least`.
    """
    _, group_N = np.unique(paths[1][order_N], axis=0, return_inverse=True)
    by_group_N = np.argsort(group_N, kind="stable")
    sizes_G = np.bincount(group_N)
    numbers_N = np.empty(len(order_N), np.int64)
    numbers_N[order_N[by_group_N]] = np.arange(len(order_N)) - np.repeat(np.cumsum(sizes_G) - sizes_G, sizes_G)
    names = tuple(f"<{letter}{number}>" for number in range(max(least, int(sizes_G.max()))))
    return _extended(paths, names, numbers_N)


def places_in(order_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each row in the order."""
    places_N = np.empty(len(order_N), np.int64)
    places_N[order_N] = np.arange(len(order_N))
    return places_N


def _extended(paths: Coded, names: tuple[str, ...], numbers_N: NDArray[np.int64]) -> Coded:
    tokens, codes_NC = paths
    extended_NC = np.pad(codes_NC, ((0, 0), (0, 1)), constant_values=-1)
    lengths_N = (codes_NC >= 0).sum(axis=1)
    extended_NC[np.arange(len(codes_NC)), lengths_N] = len(tokens) + numbers_N
    return tokens + names, extended_NC


def _own_tokens(n_items: int) -> tuple[str, ...]:
    """The tokens that stand for one item each, by its place in the canonical order."""
    return tuple(f"<#{place}>" for place in range(n_items))


def _written(numbers_N: NDArray[np.int64]) -> Coded:
    """Digits of BASE, the highest first, all of one length; a digit is the same token wherever it stands."""
    length = 1
    while BASE**length < len(numbers_N):
        length += 1
    powers_C = BASE ** np.arange(length)[::-1]
    digits_NC = numbers_N[:, None] // powers_C % BASE
    most = int(digits_NC.max(initial=0)) + 1
    return tuple(f"<n{digit}>" for digit in range(most)), digits_NC.astype(np.int32)
