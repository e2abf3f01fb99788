"""Which examples an epoch has: for each its event, its template, and whatever else is left to chance, as arrays.

What is drawn depends on the seed, the epoch and the events, and on items only through the order of their first
appearance: other numbers for the items renumber it and change nothing else.
Shapes: X examples, P picks, C candidates, T tasks, E events, U users.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.p5.corpus import Corpus
from models.p5.past import star_numbers
from models.p5.templates import TEMPLATES, Family, Task, family_of, tasks_of

COLD: Final = 0.02  # of the histories are left empty: what is asked of a user who is new
SHORT: Final = 0.18  # of them start later than they could
FOLDS: Final = 5  # of users; what others gave is what the folds gave that the user is not in
SPARE: Final = 4  # strangers drawn beyond what a pick needs, for those that are drawn twice

SEQUENCES: Final = (Family.SEQUENTIAL, Family.DIRECT)
VERDICTS: Final = (Task.IS_NEXT, Task.SUITS)
PICKS: Final = (Task.PICK_NEXT, Task.PICK)


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """event_X. template_X: its place in TEMPLATES. length_X: how many events before it are known of the user. item_X,
    stars_X: the event's, whole stars. asked_X: what the prompt names, the truth or not: an item, or, where stars are
    asked about, stars. is_true_X: which of the two. share_X: in [0, 1), for a choice among what is known only when the
    example is rendered. less_sum_X, less_count_X: of the stars that the user's fold gave the item. pick_X: the row in
    strangers_PC, -1 for none. strangers_PC: items that the user has not had, some of them twice; -1 for none.
    """

    event_X: NDArray[np.int64]
    template_X: NDArray[np.int64]
    length_X: NDArray[np.int64]
    item_X: NDArray[np.int64]
    stars_X: NDArray[np.int64]
    asked_X: NDArray[np.int64]
    is_true_X: NDArray[np.bool_]
    share_X: NDArray[np.float64]
    less_sum_X: NDArray[np.float64]
    less_count_X: NDArray[np.int64]
    pick_X: NDArray[np.int64]
    strangers_PC: NDArray[np.int64]


Numbers = TypeVar("Numbers", int, NDArray[np.int64])


def other_stars(stars: Numbers, step: Numbers) -> Numbers:
    """Other stars from 1 to 5; step: 0 to 3."""
    return 1 + (stars + step) % 5


def draw(corpus: Corpus, seed: int, epoch: int) -> Drawing:
    """An epoch in random order. Each family is drawn for itself: more of one leaves the others as they are."""
    rng = np.random.default_rng([seed, epoch])
    fold_U = rng.integers(0, FOLDS, corpus.data.n_users)
    less = _less(corpus, fold_U)
    parts = []
    for number, family in enumerate(Family):
        own = np.random.default_rng([seed, epoch, number])
        parts += [_of_task(corpus, task, events, less, own) for task, events in _shared_out(corpus, family, own)]
    first = 0
    for part in parts:  # picks are counted anew for each task
        part["pick_X"] = np.where(part["pick_X"] < 0, -1, part["pick_X"] + first)
        first += len(part["strangers_PC"])
    joined = {one.name: np.concatenate([part[one.name] for part in parts]) for one in fields(Drawing)}
    order = rng.permutation(len(joined["event_X"]))
    return Drawing(**{name: column if name == "strangers_PC" else column[order] for name, column in joined.items()})


def _shared_out(corpus: Corpus, family: Family, rng: np.random.Generator) -> Iterator[tuple[Task, NDArray[np.int64]]]:
    """The family's events, each as often as the mix says, and each time given to one of the tasks that can use it."""
    tasks = tasks_of(family)
    usable_ET = np.stack([corpus.usable[task] for task in tasks], axis=1)
    events = np.flatnonzero(usable_ET.any(axis=1))
    share = corpus.mix.families.get(family, 0.0)
    part = rng.permutation(events)[: round(share % 1 * len(events))]
    events = np.concatenate([np.repeat(events, int(share)), part])
    weights_XT = usable_ET[events] * np.array([corpus.mix.tasks.get(task, 1.0) for task in tasks])
    bounds_XT = np.cumsum(weights_XT, axis=1)
    number_X = (rng.random((len(events), 1)) * bounds_XT[:, -1:] >= bounds_XT).sum(axis=1)
    for number, task in enumerate(tasks):
        yield task, events[number_X == number]


def _of_task(
    corpus: Corpus,
    task: Task,
    event_X: NDArray[np.int64],
    less: tuple[NDArray[np.float64], NDArray[np.int64]],
    rng: np.random.Generator,
) -> dict[str, NDArray[Any]]:
    data, count = corpus.data, len(event_X)
    item_X, stars_X = data.items_E[event_X], star_numbers(data.values_E[event_X])
    length_X = corpus.before_E[event_X]
    if family_of(task) in SEQUENCES:
        length_X = _shortened(length_X, corpus.mix.history, rng)
    asked_X, is_true_X = item_X, np.ones(count, np.bool_)
    strangers_PC = np.zeros((0, corpus.mix.candidates + SPARE), np.int64)
    if task in VERDICTS:
        stranger_X = corpus.strangers(corpus.users_E[event_X], 1, rng)[:, 0]
        is_true_X = (rng.random(count) < 0.5) | (stranger_X < 0)
        asked_X = np.where(is_true_X, item_X, stranger_X)
    elif task in PICKS:
        strangers_PC = corpus.strangers(corpus.users_E[event_X], corpus.mix.candidates + SPARE, rng)
    elif task is Task.GIVES:
        is_true_X = rng.random(count) < 0.5
        asked_X = np.where(is_true_X, stars_X, other_stars(stars_X, rng.integers(0, 4, count)))
    return {
        "event_X": event_X,
        "template_X": rng.choice(_SEEN[task], count),
        "length_X": length_X,
        "item_X": item_X,
        "stars_X": stars_X,
        "asked_X": asked_X,
        "is_true_X": is_true_X,
        "share_X": rng.random(count),
        "less_sum_X": less[0][event_X],
        "less_count_X": less[1][event_X],
        "pick_X": np.arange(count) if task in PICKS else np.full(count, -1),
        "strangers_PC": strangers_PC,
    }


_SEEN: Final[Mapping[Task, list[int]]] = {
    task: [place for place, one in enumerate(TEMPLATES) if one.task is task and not one.held_out] for task in Task
}


def _less(corpus: Corpus, fold_U: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(sums_E, counts_E) of the stars for each event's item by the users of the event's fold.

    Were only the event's own stars left out, the mean of the rest would give them away: the lower it is for an item
    whose mean is known by heart, the higher they are.
    """
    data = corpus.data
    key_E = data.items_E * FOLDS + fold_U[corpus.users_E]
    is_rated_E = ~np.isnan(data.values_E)
    most = data.n_items * FOLDS
    sums = np.bincount(key_E[is_rated_E], data.values_E[is_rated_E].astype(np.float64), most)
    return sums[key_E], np.bincount(key_E[is_rated_E], minlength=most)[key_E]


def _shortened(length_X: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The lengths of histories: the whole of most, of some the newest part of what a prompt takes, of few nothing."""
    coin_X = rng.random(len(length_X))
    short_X = rng.integers(1, np.minimum(length_X, most) + 1)
    return np.where(coin_X < COLD, 0, np.where(coin_X < COLD + SHORT, short_X, length_X))
