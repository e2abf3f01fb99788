"""Query in, Recommendation out: the pipeline that serving and offline evaluation both run.

    query -> history as rows -> scores of every item -> filters -> the best -> diversity -> new items -> reasons

Shapes: B queries, N items of the vocabulary, P of the best that are diversified, J places of a list.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.errors import UnknownName
from features.events import ItemId
from models.bundle import Bundle
from models.catalogue import Catalogue
from models.counts.neighbours import HISTORY_LENGTH
from models.counts.popularity import Popularity
from models.encoders.cold import ColdVectors
from models.fusion import Fused, Fusion, find
from models.queries import Candidate, Generated, Query, Recommendation, found_of, histories_of
from models.stages import FILTERS, Filtered, Fresh, Shelf, diversify, filtered, new_items, same_category, shelf_of
from models.vocabulary import Vocabulary

__all__ = ["HISTORY_LENGTH", "Candidate", "Pipeline", "Query", "Recommendation"]

EXPLORE: Final = 0.1
DIVERSITY: Final = 0.1  # the greatest at which NDCG@10 on validation events is, within its error, that of none
POOL: Final = 50


class Pipeline:
    """Answers queries from a bundle and a catalogue; immutable, and safe to use from several threads.

    An item's score is the fused evidence of the history plus popularity's term. Where the history says nothing of an
    item, above all for a user who has none, what is popular and trending decides, below everything with evidence.
    explore: the largest share of a list that goes to items which the models do not know yet; `with_cold` tells more of
    those than their categories. diversity: 0 ranks by
    score alone, 1 by difference alone. verb: how a reason names what the user did with the item of the history.
    """

    def __init__(
        self,
        bundle: Bundle,
        catalogue: Catalogue,
        *,
        explore: float = EXPLORE,
        diversity: float = DIVERSITY,
        verb: str = "watched",
    ) -> None:
        self._set(bundle.name, bundle.vocabulary, bundle.popularity, catalogue, explore, diversity, verb)
        self._fusion: Fusion | None = bundle.fusion
        self._similar = [bundle.tables[name] for name in ("itemknn", "content") if name in bundle.tables]

    @classmethod
    def popular(
        cls,
        catalogue: Catalogue,
        counts: Mapping[ItemId, float],
        decayed: Mapping[ItemId, float],
        *,
        explore: float = EXPLORE,
        verb: str = "watched",
    ) -> "Pipeline":
        """A pipeline without a bundle: what is popular and trending in these counts, the same for everybody."""
        vocabulary = Vocabulary.of(counts)
        pipeline = cls.__new__(cls)
        popularity = _popularity(vocabulary, counts, decayed)
        pipeline._set("popularity", vocabulary, popularity, catalogue, explore, 0.0, verb)
        pipeline._fusion = None
        pipeline._similar = []
        return pipeline

    def _set(
        self,
        model: str,
        vocabulary: Vocabulary,
        popularity: Popularity,
        catalogue: Catalogue,
        explore: float,
        diversity: float,
        verb: str,
    ) -> None:
        self.model = model
        self._vocabulary = vocabulary
        self._popularity = popularity
        self._catalogue = catalogue
        self._explore = explore
        self._diversity = diversity
        self._verb = verb
        self._cold_N, self._is_trending_N = _cold_start(popularity)
        self._cold: ColdVectors | None = None
        self._shelf: Shelf | None = None

    def with_live(self, counts: Mapping[ItemId, float], decayed: Mapping[ItemId, float]) -> "Pipeline":
        """The same pipeline with these live counts added to the bundle's popularity, and their trend in its place."""
        live = _popularity(self._vocabulary, counts, decayed)
        held = self._popularity
        trending_N = live.trending_N if live.trending_N.any() else held.trending_N
        pipeline = Pipeline.__new__(Pipeline)
        popularity = Popularity(held.counts_N + live.counts_N, trending_N)
        pipeline._set(
            self.model, self._vocabulary, popularity, self._catalogue, self._explore, self._diversity, self._verb
        )
        pipeline._fusion, pipeline._similar = self._fusion, self._similar
        pipeline._cold, pipeline._shelf = self._cold, self._shelf
        return pipeline

    def with_cold(self, cold: ColdVectors) -> "Pipeline":
        """The same pipeline with these vectors of items that its models do not know, ready to answer.

        Raises UnknownName when they were made for another bundle.
        """
        if cold.model != self.encoder_model:
            raise UnknownName(f"vectors of new items by {cold.model} were given to {self.model}")
        pipeline = copy(self)
        pipeline._cold, pipeline._shelf = cold, shelf_of(self._catalogue, self._vocabulary, cold)
        return pipeline

    def recommend(self, queries: Sequence[Query]) -> list[Recommendation]:
        """One list a query, in the queries' order; shorter than k where fewer items are left."""
        if not queries:
            return []
        shelf = self._current_shelf()
        histories = [self._rows(query.history) for query in queries]
        queries = self._completed(queries)
        scores_BN, fused = self._scores(queries, histories)
        kept = filtered(FILTERS, queries, shelf, scores_BN)
        most = max(query.k for query in queries)
        dials_B = self._dials(queries)
        pool_BP, values_BP = _best(scores_BN, max(POOL, 2 * most) if dials_B.any() else most)
        every_B1 = np.arange(len(queries))[:, None]
        order_BJ = diversify(shelf, pool_BP, values_BP, dials_B, most)
        items_BJ, values_BJ = pool_BP[every_B1, order_BJ], values_BP[every_B1, order_BJ]
        because = self._because(fused, histories, items_BJ)
        sources_BJ = _sources(fused, items_BJ)
        return [
            self._answer(
                query, shelf, kept, place, items_BJ[place], values_BJ[place], because[place], sources_BJ[place]
            )
            for place, query in enumerate(queries)
        ]

    def rank(self, queries: Sequence[Query], items: Sequence[Sequence[ItemId]]) -> list[list[Candidate]]:
        """The given items of each query, best first, none filtered; what no model knows stands last."""
        histories = [self._rows(query.history) for query in queries]
        if not queries:
            return []
        scores_BN, fused = self._scores(self._completed(queries), histories)
        row_of = self._vocabulary.row_of
        ranked = []
        for place, (_, given) in enumerate(zip(queries, items, strict=True)):
            known = [item for item in dict.fromkeys(given) if item in row_of]
            rows = np.array([row_of[item] for item in known], np.int64)
            values = scores_BN[place, rows]
            order = np.argsort(-values, kind="stable")
            alone = None if fused is None else fused.only(place)
            [because] = self._because(alone, [histories[place]], rows[None])
            [sources_J] = _sources(alone, rows[None])
            candidates = [
                self._candidate(known[j], int(rows[j]), float(values[j]), because[j], sources_J[j])
                for j in order.tolist()
            ]
            lowest = float(scores_BN[place].min()) - 1.0 if scores_BN.shape[1] else 0.0
            candidates += [
                Candidate(item, lowest, "unknown", "not known yet")
                for item in dict.fromkeys(given)
                if item not in row_of
            ]
            ranked.append(candidates)
        return ranked

    def similar(self, items: Sequence[ItemId], k: int) -> list[list[Candidate]]:
        """Up to k items for each, nearest first, hidden ones left out; by shared categories for one that is new."""
        return [self._similar_to(item, k) for item in items]

    def hidden(self) -> NDArray[np.int64]:
        """The rows of the vocabulary that the catalogue hides."""
        return np.flatnonzero(self._current_shelf().hidden_N)

    def _rows(self, history: Sequence[ItemId]) -> list[int]:
        get = self._vocabulary.row_of.get
        return [row for row in map(get, history[-HISTORY_LENGTH:]) if row is not None]

    @property
    def encoder_model(self) -> str | None:
        """What stamps the vectors of this pipeline's encoder; None when it has none."""
        return self.model if self._fusion is not None and self._fusion.retriever is not None else None

    def vectors(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """vectors_BD of the users by the pipeline's encoder, for `Query.vector_D` of the same histories.

        Raises UnknownName when the pipeline has no encoder.
        """
        if self._fusion is None or self._fusion.retriever is None:
            raise UnknownName(f"{self.model} has no encoder; `tasteprint train encoder` makes a bundle that has one")
        return self._fusion.retriever.vectors(*histories_of(queries, self._vocabulary))

    @property
    def generator_model(self) -> str | None:
        """What stamps the lists of this pipeline's generator; None when it has none."""
        return self.model if self._fusion is not None and self._fusion.generator is not None else None

    def generate(self, queries: Sequence[Query]) -> list[Generated]:
        """What the pipeline's generator finds after each history, for `Query.generated` of the same; nothing seen.

        Raises UnknownName when the pipeline has no generator.
        """
        if self._fusion is None or self._fusion.generator is None:
            raise UnknownName(f"{self.model} has no generator; `tasteprint train p5` makes a bundle that has one")
        histories, _, stars = histories_of(queries, self._vocabulary)
        get = self._vocabulary.row_of.get
        seen = [[row for row in map(get, (*query.seen, *query.history)) if row is not None] for query in queries]
        names = self._vocabulary.items
        return [
            Generated(tuple(names[row] for row in rows_R[rows_R >= 0].tolist()), tuple(values_R[rows_R >= 0].tolist()))
            for rows_R, values_R in zip(*find(self._fusion.generator, histories, stars, seen), strict=True)
        ]

    def _scores(
        self, queries: Sequence[Query], histories: Sequence[list[int]]
    ) -> tuple[NDArray[np.float64], Fused | None]:
        if self._fusion is None:
            return np.tile(self._cold_N, (len(histories), 1)), None
        vectors = [query.vector_D for query in queries if query.vector_D is not None]
        fused = self._fusion.score(
            histories,
            np.stack(vectors) if self.encoder_model is not None else None,
            found_of(queries, self._vocabulary) if self.generator_model is not None else None,
        )
        scores_BN = fused.evidence_BN + fused.popular
        below_BN = self._cold_N + (scores_BN.min(axis=1, initial=0.0, keepdims=True) - 1.0)
        np.copyto(scores_BN, below_BN, where=fused.evidence_BN == 0)
        return scores_BN, fused

    def _completed(self, queries: Sequence[Query]) -> Sequence[Query]:
        """Those that lack what the pipeline's encoder or generator makes of a history, with it, each made together."""
        if self._fusion is None:
            return queries
        if self.encoder_model is not None:
            stale = [query for query in queries if query.vector_D is None]
            made = iter(self.vectors(stale)) if stale else iter(())
            queries = [replace(query, vector_D=next(made)) if query.vector_D is None else query for query in queries]
        if self.generator_model is not None:
            lacking = [query for query in queries if query.generated is None]
            found = iter(self.generate(lacking)) if lacking else iter(())
            queries = [replace(query, generated=next(found)) if query.generated is None else query for query in queries]
        return queries

    def _dials(self, queries: Sequence[Query]) -> NDArray[np.float64]:
        return np.array([self._diversity if query.diversity is None else query.diversity for query in queries])

    def _because(
        self, fused: Fused | None, histories: Sequence[list[int]], items_BJ: NDArray[np.int64]
    ) -> list[list[ItemId | None]]:
        """The item of the history that speaks most for each place, if any does."""
        if fused is None or not items_BJ.shape[1]:
            return [[None] * items_BJ.shape[1]] * len(histories)
        names = self._vocabulary.items
        steps_BJ = fused.gathered.because(items_BJ, fused.scales_BM).tolist()
        return [
            [None if step < 0 else names[history[-1 - step]] for step in steps]
            for history, steps in zip(histories, steps_BJ, strict=True)
        ]

    def _answer(
        self,
        query: Query,
        shelf: Shelf,
        kept: Filtered,
        place: int,
        items_J: NDArray[np.int64],
        values_J: NDArray[np.float64],
        because_J: list[ItemId | None],
        sources_J: list[str | None],
    ) -> Recommendation:
        names = self._vocabulary.items
        places = zip(items_J.tolist(), values_J.tolist(), because_J, sources_J, strict=True)
        found = [
            self._candidate(names[row], row, value, cause, source)
            for row, value, cause, source in places
            if value > -np.inf
        ][: query.k]
        if shelf.new_ids:
            found = self._with_new(query, shelf, found)
        removed_items = kept.listed(place, names) if query.list_removed else ()
        return Recommendation(query.id, tuple(found), kept.counts(place), self.model, query.as_of, removed_items)

    def _candidate(self, item: ItemId, row: int, score: float, because: ItemId | None, source: str | None) -> Candidate:
        """because: the item of the history that speaks most for this one. source: the model that speaks for it."""
        if because is not None:
            reason = f"because you {self._verb} {self._catalogue.title(because)}"
            return Candidate(item, score, "counts", reason, because)
        if source == "encoder":
            return Candidate(item, score, source, f"goes with what you {self._verb} lately")
        if source == "p5":
            return Candidate(item, score, source, f"likely next, after what you {self._verb} lately")
        if self._is_trending_N[row]:
            return Candidate(item, score, "trending", "trending this week")
        return Candidate(item, score, "popular", "popular")

    def _with_new(self, query: Query, shelf: Shelf, found: list[Candidate]) -> list[Candidate]:
        """The list with its last places given to new items: the share that explores, and what would stay empty."""
        slots = max(int(self._explore * query.k), query.k - len(found))
        low = found[-1].score if found else 0.0
        chosen = new_items(self._catalogue, shelf, query, slots, anything=len(found) < query.k)
        fresh = [Candidate(one.item, low, "new", self._newness(one)) for one in chosen]
        return found[: query.k - len(fresh)] + fresh

    def _newness(self, one: Fresh) -> str:
        if one.suits:
            return f"new, and goes with what you {self._verb} lately"
        return f"new in {one.category}" if one.category else "new"

    def _similar_to(self, item: ItemId, k: int) -> list[Candidate]:
        shelf = self._current_shelf()
        row = self._vocabulary.row_of.get(item)
        if row is None or not self._similar:
            values_N, reason = same_category(self._catalogue, shelf, item), "of the same categories as"
        else:
            values_N, reason = np.zeros(len(self._vocabulary)), "chosen with"
            for table in self._similar:
                weights_K = table.weights_NK[row]
                np.add.at(values_N, table.neighbours_NK[row], weights_K / (weights_K.max() or 1.0))
            values_N[row] = 0.0
        values_N[shelf.hidden_N] = 0.0
        order = np.argsort(-values_N, kind="stable")[:k]
        reason = f"{reason} {self._catalogue.title(item)}"
        return [
            Candidate(self._vocabulary.items[other], float(values_N[other]), "similar", reason, item)
            for other in order.tolist()
            if values_N[other] > 0
        ]

    def _current_shelf(self) -> Shelf:
        shelf = self._shelf
        if shelf is None or shelf.version != self._catalogue.version:
            shelf = self._shelf = shelf_of(self._catalogue, self._vocabulary, self._cold)
        return shelf


def _sources(fused: Fused | None, items_BJ: NDArray[np.int64]) -> list[list[str | None]]:
    """The model besides the tables that speaks for each place, the encoder before the generator, if one does."""
    if fused is None or (fused.p5_BN is None and fused.encoder_BN is None):
        return [[None] * items_BJ.shape[1]] * len(items_BJ)
    sources_BJ = np.full(items_BJ.shape, None, object)
    for name, part_BN in (("p5", fused.p5_BN), ("encoder", fused.encoder_BN)):
        if part_BN is not None:
            sources_BJ[np.take_along_axis(part_BN, items_BJ, axis=1) > 0] = name
    return sources_BJ.tolist()  # type: ignore[no-any-return]


def _best(scores_BN: NDArray[np.float64], most: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(rows_BP, scores_BP) of the greatest scores, greatest first."""
    n_items = scores_BN.shape[1]
    every_B1 = np.arange(len(scores_BN))[:, None]
    if most < n_items:
        rows_BP = scores_BN.argpartition(n_items - most, axis=1)[:, n_items - most :]
    else:
        rows_BP = np.tile(np.arange(n_items), (len(scores_BN), 1))
    scores_BP = scores_BN[every_B1, rows_BP]
    order_BP = (-scores_BP).argsort(axis=1, kind="stable")
    return rows_BP[every_B1, order_BP], scores_BP[every_B1, order_BP]


def _popularity(vocabulary: Vocabulary, counts: Mapping[ItemId, float], decayed: Mapping[ItemId, float]) -> Popularity:
    """Live counts as rows of a vocabulary; other items are left out."""
    return Popularity(
        np.fromiter((counts.get(item, 0.0) for item in vocabulary.items), np.float32, len(vocabulary)),
        np.fromiter((decayed.get(item, 0.0) for item in vocabulary.items), np.float32, len(vocabulary)),
    )


def _cold_start(popularity: Popularity) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(score in [0, 1) of each item for somebody new, whether it owes more to the trend than to all time)."""
    shares_N, trends_N = (
        values_N.astype(np.float64) / (float(values_N.max(initial=0.0)) or 1.0)
        for values_N in (popularity.counts_N, popularity.trending_N)
    )
    return (shares_N + trends_N) * 0.499, trends_N > shares_N
