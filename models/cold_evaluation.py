"""How well items that nobody has chosen yet are ranked: items taken out of the training, then asked for.

A share of the items is held out with every event of theirs; an encoder is trained on the others. The users whose last
event is of a held-out item are asked for it: their other events are fed in, and the held-out items ranked among
themselves. Arms: `map` and `words and categories`, by an encoder's vector of the user; `category affinity`, what a
pipeline does without either; `chance`, exactly. Nothing is chosen on these events: the map's ridge is chosen on items
left out of its fit, and the number of epochs is given.
Shapes: U users, F held-out items, D dimensions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.errors import InvalidInput
from features.events import ItemId, UserId
from features.frames import Sequences, at_least, hold_out_last, ordered, sequences
from features.items import Item
from models.bundle import Progress
from models.catalogue import Catalogue
from models.counts.fitting import Texts, texts_of
from models.encoders.cold import Embeds
from models.encoders.config import EncoderConfig
from models.metrics import bootstrap as resampled
from models.metrics import ndcg, ranks
from models.queries import Query
from models.stages import new_items, shelf_of
from models.vocabulary import Vocabulary

if TYPE_CHECKING:  # torch
    from models.encoders.retriever import EncoderRetriever

SHARES: Final = 10  # one of so many items is held out
ARMS: Final = ("map", "words and categories", "category affinity")
_K: Final = 10

Ranks = Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """One share held out. fed: the histories of the users who are asked; targets_U: the place of each one's item."""

    vocabulary: Vocabulary
    texts: Texts
    known: Sequences
    new: Sequence[str]
    fed: Sequences
    targets_U: NDArray[np.int64]


def evaluate_cold(
    events: pl.DataFrame,
    items: pl.DataFrame,
    *,
    embedder: Embeds,
    config: EncoderConfig,
    epochs: int,
    shares: int = 1,
    seed: int = 0,
    bootstrap: int = 1000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """NDCG@10 and the mean reciprocal rank of each arm, and of the map minus the others, with intervals over users.

    shares: how many tenths of the items are held out, one after another. seed: which items, and the encoder's start.
    Raises InvalidInput when nobody's last event is of a held-out item.
    """
    if not 1 <= shares <= SHARES:
        raise InvalidInput("shares", f"{shares} was given; it is from 1 to {SHARES}")
    history = ordered(events)
    every = Vocabulary.of([*items["item"], *history["item"]])
    share_of = np.random.default_rng(seed).permutation(len(every)) % SHARES
    found: dict[str, list[NDArray[np.int64]]] = {arm: [] for arm in ARMS}
    chance: list[tuple[int, int]] = []
    for share in range(shares):
        new = [every.items[row] for row in np.flatnonzero(share_of == share).tolist()]
        held = _held_out(history, items, every, new)
        if held is None:
            continue
        retriever, users_UD = _trained(held, config, epochs, seed, embedder, progress, (share, shares))
        asked = _ranks(held, retriever, users_UD, items, embedder)
        for arm, ranks_U in asked.items():
            found[arm].append(ranks_U)
        chance.append((len(held.new), len(held.targets_U)))
    if not chance:
        raise InvalidInput("events", "nobody's last event is of a held-out item; bring more events, or hold out more")
    together = {arm: np.concatenate(parts) for arm, parts in found.items() if parts}
    return {
        "data": {"users": history["user"].n_unique(), "items": len(every), "events": history.height},
        "protocol": {
            "shares": f"{shares} of {SHARES} of the items, one after another; users asked: {len(together['map'])}",
            "epochs": epochs,
            "encoder": asdict(config),
            "embedder": embedder.digest,
            "seed": seed,
            "bootstrap": bootstrap,
        },
        "arms": {arm: _figures(ranks_U, bootstrap, seed) for arm, ranks_U in together.items()}
        | {"chance": _chance(chance)},
        "comparisons": {
            f"map - {arm}": _differences(together["map"], together[arm], bootstrap, seed) for arm in ARMS[1:]
        },
    }


def _held_out(history: pl.DataFrame, items: pl.DataFrame, every: Vocabulary, new: Sequence[str]) -> _Held | None:
    """None when nobody is to be asked."""
    is_new = pl.col("item").is_in(pl.Series(list(new), dtype=pl.String).implode())
    known = history.filter(~is_new)
    targets = hold_out_last(at_least(history, 2)).targets.filter(is_new)
    vocabulary = Vocabulary.of(set(every.items).difference(new))
    asked = known.join(targets.select("user"), on="user", how="semi", maintain_order="left")
    fed = sequences(asked, vocabulary.items)
    if not len(fed):
        return None
    place_of = {item: place for place, item in enumerate(new)}
    item_of = dict(targets.select("user", "item").iter_rows())
    targets_U = np.array([place_of[item_of[user]] for user in fed.users], np.int64)
    return _Held(vocabulary, texts_of(items, vocabulary), sequences(known, vocabulary.items), new, fed, targets_U)


def _trained(
    held: _Held,
    config: EncoderConfig,
    epochs: int,
    seed: int,
    embedder: Embeds,
    progress: Progress | None,
    of: tuple[int, int],
) -> tuple["EncoderRetriever", NDArray[np.float32]]:
    """(an encoder of the known items with its map, users_UD)"""
    from models.encoders.frozen import FrozenEncoder
    from models.encoders.reading import encoder_data
    from models.encoders.retriever import EncoderRetriever
    from models.encoders.sides import SideVectors
    from models.encoders.train import train

    def tell(done: int, total: int, what: str) -> None:
        if progress is not None:
            progress(of[0] * total + done, of[1] * total, f"share {of[0] + 1}, {what}")

    data = encoder_data(held.known, held.texts)
    trained = train(data, config, seed=seed, epochs=epochs, progress=tell)
    sides = SideVectors.of(
        {name: tensor.numpy() for name, tensor in trained.weights.items()}, held.texts, config.dimensions
    )
    retriever = EncoderRetriever.of(FrozenEncoder.of(trained, data), sides=sides)
    counts_N = np.bincount(held.known.items_E, minlength=len(held.vocabulary))
    histories = held.fed.histories(config.length)
    times, values = held.fed.told(config.length)
    blocks = [slice(first, first + 512) for first in range(0, len(histories), 512)]
    users_UD = np.concatenate([retriever.vectors(histories[one], times[one], values[one]) for one in blocks])
    return retriever.with_cold(held.texts, counts_N, embedder), users_UD


def _ranks(
    held: _Held,
    retriever: "EncoderRetriever",
    users_UD: NDArray[np.float32],
    items: pl.DataFrame,
    embedder: Embeds,
) -> Ranks:
    from models.encoders.retriever import embedded

    new = Vocabulary(tuple(ItemId(item) for item in held.new))
    texts = texts_of(items, new)
    vectors_FD = {
        "map": retriever.cold_vectors(texts, embedded(texts, embedder)),
        "words and categories": retriever.cold_vectors(texts),
    }
    found = {arm: ranks(users_UD @ of_FD.T, held.targets_U) for arm, of_FD in vectors_FD.items()}
    return found | {"category affinity": _ranks_by_category(held, texts)}


def _ranks_by_category(held: _Held, texts: Texts) -> NDArray[np.int64]:
    """As the pipeline ranks without vectors, its turns among equals included."""
    catalogue = Catalogue(
        Item(ItemId(item), title, categories=categories)
        for names, said in ((held.vocabulary.items, held.texts), (held.new, texts))
        for item, title, categories in zip(names, said.titles, said.categories, strict=True)
    )
    shelf = shelf_of(catalogue, held.vocabulary)
    found = []
    for user, history, target in zip(held.fed.users, held.fed.histories(), held.targets_U.tolist(), strict=True):
        query = Query(UserId(user), tuple(held.vocabulary.items[row] for row in history))
        listed = [one.item for one in new_items(catalogue, shelf, query, len(held.new), anything=True)]
        found.append(listed.index(ItemId(held.new[target])) + 1)
    return np.array(found, np.int64)


def _values(ranks_U: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    return {f"ndcg@{_K}": ndcg(ranks_U, _K), "mrr": 1.0 / ranks_U}


def _figures(ranks_U: NDArray[np.int64], bootstrap: int, seed: int) -> dict[str, Any]:
    return {name: _interval(values_U, bootstrap, seed) for name, values_U in _values(ranks_U).items()}


def _differences(
    ours_U: NDArray[np.int64], theirs_U: NDArray[np.int64], bootstrap: int, seed: int
) -> dict[str, dict[str, float]]:
    ours, theirs = _values(ours_U), _values(theirs_U)
    return {name: _interval(ours[name] - theirs[name], bootstrap, seed) for name in ours}


def _interval(values_U: NDArray[np.float64], bootstrap: int, seed: int) -> dict[str, float]:
    return asdict(resampled(values_U, bootstrap, seed))


def _chance(of: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """The expected figures of any order that knows nothing; of: (held-out items, users asked) of each share."""
    users = np.array([count for _, count in of], np.float64)
    every = [_values(np.arange(1, n_items + 1)) for n_items, _ in of]
    means = {name: float(np.average([values[name].mean() for values in every], weights=users)) for name in every[0]}
    return {name: {"value": value, "low": value, "high": value} for name, value in means.items()}
