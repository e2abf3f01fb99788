"""Keeps the vectors of new items: those that the catalogue has and the bundle in use does not know.

A thread behind the requests makes them, from embeddings of what is said of the items where the bundle has a map for
those and its weights are in the home, from words and categories alone where not. Until it has come to an item, only
the item's categories count.
"""

import logging
from collections.abc import Callable, Sequence
from threading import Event as Signal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.errors import WeightsRefused
from features.items import Item
from models.bundle import Bundle
from models.catalogue import Catalogue
from models.counts.fitting import Texts
from models.encoders.cold import ColdVectors, Embeds, told

LOOK_SECONDS: Final = 0.5
AT_ONCE: Final = 256  # texts embedded between two publications: about a second on one core

logger = logging.getLogger(__name__)


def keep_cold(
    catalogue: Catalogue,
    current: Callable[[], Bundle | None],
    open_embedder: Callable[[], Embeds | None],
    put: Callable[[Bundle, ColdVectors], None],
    stop: Signal,
) -> None:
    """Gives `put` the vectors of the new items of the bundle in use whenever either has changed, until `stop` is set.

    Many new items come in several times, more each time. open_embedder: called once, when a bundle first has a map.
    """
    cold = ColdItems(open_embedder)
    seen: tuple[Bundle, int] | None = None
    while not stop.wait(LOOK_SECONDS):
        bundle, version = current(), catalogue.version
        if bundle is None or bundle.retriever is None or (bundle, version) == seen:
            continue
        new = [item for item in catalogue.items() if item.id not in bundle.vocabulary.row_of and not item.hidden]
        left = True
        while left and current() is bundle and not stop.is_set():
            vectors, left = cold.vectors(bundle, new)
            put(bundle, vectors)
        seen = bundle, version


class ColdItems:
    """Vectors of items for one bundle or another, by one thread; what was embedded is kept while the item is new."""

    def __init__(self, open_embedder: Callable[[], Embeds | None]) -> None:
        self._open = open_embedder
        self._opened: list[Embeds | None] = []
        self._embedded: dict[str, NDArray[np.float32]] = {}

    def vectors(self, bundle: Bundle, items: Sequence[Item]) -> tuple[ColdVectors, bool]:
        """(of those items of which something is known, whether there are more to embed); at most AT_ONCE anew.

        The bundle has an encoder.
        """
        retriever = bundle.retriever
        assert retriever is not None  # noqa: S101 - the caller's promise
        by_text = [(told(item.title, item.categories), item) for item in items]
        by_text = [(text, item) for text, item in by_text if text]
        embeddings_FE, left = None, False
        embedder = None if retriever.cold is None else self._embedder(retriever.cold.embedder)
        if embedder is not None:
            left = self._embed(embedder, [text for text, _ in by_text])
            by_text = [(text, item) for text, item in by_text if text in self._embedded]
            if by_text:
                embeddings_FE = np.stack([self._embedded[text] for text, _ in by_text])
        known = [item for _, item in by_text]
        texts = Texts(tuple(item.title for item in known), tuple(item.categories for item in known))
        vectors_FD = retriever.cold_vectors(texts, embeddings_FE)
        rows = np.flatnonzero(vectors_FD.any(axis=1))
        placed = [known[row].id for row in rows.tolist()]
        return ColdVectors(bundle.name, placed, vectors_FD[rows] - retriever.mean_direction()), left

    def _embed(self, embedder: Embeds, texts: Sequence[str]) -> bool:
        """Embeds some of the texts that are not yet, and forgets what is no longer asked for; whether some are left."""
        wanted = dict.fromkeys(texts)
        self._embedded = {text: vector for text, vector in self._embedded.items() if text in wanted}
        missing = [text for text in wanted if text not in self._embedded]
        some = missing[:AT_ONCE]
        self._embedded |= dict(zip(some, embedder.vectors(some), strict=True)) if some else {}
        return len(missing) > len(some)

    def _embedder(self, digest: str) -> Embeds | None:
        """The embedder, when it is the one with these weights."""
        if not self._opened:
            try:
                self._opened = [self._open()]
            except WeightsRefused as error:
                logger.error("new items go by words and categories: %s", error)
                self._opened = [None]
            if self._opened[0] is None:
                logger.warning("new items go by words and categories: no weights are there to embed titles")
        [embedder] = self._opened
        if embedder is not None and embedder.digest != digest:
            logger.warning("new items go by words and categories: the map is of other weights, %s", digest)
            return None
        return embedder
