"""Search in a user's own history: which of the past entries bear on what is asked now.

A retriever answers many queries about one user at once, each as though the history ended where the query says: what
comes after it changes nothing, not even the weight of a word. That is how it is evaluated without looking ahead, and
the last place of all is now.

Shapes: Q queries, E entries of one user (oldest first), T words, D dimensions.
"""

import logging
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.summaries.entries import Entry

K1: Final = 1.5  # how soon a word that comes again counts no more; bm25s's own value
B: Final = 0.75  # how much a longer text is discounted; likewise
FUSION: Final = 60.0  # Cormack et al. (2009)
VECTORS_KEPT: Final = 50_000  # at 384 dimensions 77 MB

Ranking = NDArray[np.int64]
"""Places of entries, best first."""

Retriever = Callable[[Sequence[str], Sequence[Entry], Sequence[int]], list[Ranking]]
"""(queries, entries oldest first, how many of the oldest each query may see) -> a ranking of all that it may see, one a
query; of entries that suit alike the newest comes first."""


def search(retriever: Retriever, query: str, entries: Sequence[Entry]) -> Ranking:
    """The ranking of all entries for one query."""
    return retriever([query], entries, [len(entries)])[0]


class Recency:
    """The newest first, whatever is asked."""

    def __call__(self, queries: Sequence[str], entries: Sequence[Entry], visible: Sequence[int]) -> list[Ranking]:
        return [np.arange(seen - 1, -1, -1) for seen in visible]


class BM25:
    """The words that query and entry share, rare ones first (Robertson and Zaragoza, 2009; the form of Lucene).

    Rare is what is rare in this user's history. bm25s indexes a history that all queries see alike; many cuts of one
    history are scored by the same formula from running counts, since an index for each would take a thousand times as
    long. Entries that share no word come last, newest first.
    """

    def __call__(self, queries: Sequence[str], entries: Sequence[Entry], visible: Sequence[int]) -> list[Ranking]:
        words_E = [_words_kept(entry.named) for entry in entries]
        words_Q = [words(query) for query in queries]
        is_one_cut = len(set(visible)) == 1
        scores_QE = _indexed(words_Q, words_E[: visible[0]]) if is_one_cut else _cut(words_Q, words_E, visible)
        return _ranked(np.round(scores_QE, 4), visible)  # or the order of a sum would break a tie


class Dense:
    """Nearness of meaning: the cosine between the vectors of query and entry. May be called from any thread.

    embed: texts to vectors_ND of length one; called from one thread at a time. Vectors of entries are kept by text; a
    query is what somebody has said, and is not.
    """

    def __init__(self, embed: Callable[[Sequence[str]], NDArray[np.float32]]) -> None:
        self._embed = embed
        self._kept: dict[str, NDArray[np.float32]] = {}
        self._lock = Lock()

    def __call__(self, queries: Sequence[str], entries: Sequence[Entry], visible: Sequence[int]) -> list[Ranking]:
        if not queries or not entries:
            return [np.arange(0) for _ in queries]
        vectors_QD, vectors_ED = self._vectors(queries, [entry.named for entry in entries])
        return _ranked(np.round(vectors_QD @ vectors_ED.T, 4).astype(np.float64), visible)

    def _vectors(self, queries: Sequence[str], texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with self._lock:
            missing = [text for text in dict.fromkeys((*queries, *texts)) if text not in self._kept]
            found = dict(zip(missing, self._embed(missing), strict=True)) if missing else {}
            vectors_QD, vectors_ED = (
                np.stack([found[one] if one in found else self._kept[one] for one in some]) for some in (queries, texts)
            )
            self._kept |= {text: found[text].copy() for text in texts if text in found}
            for text in list(self._kept)[: max(len(self._kept) - VECTORS_KEPT, 0)]:
                del self._kept[text]
        return vectors_QD, vectors_ED


class Hybrid:
    """Several retrievers by the ranks that they give (reciprocal rank fusion, Cormack et al., 2009)."""

    def __init__(self, retrievers: Sequence[Retriever]) -> None:
        self._retrievers = tuple(retrievers)

    def __call__(self, queries: Sequence[str], entries: Sequence[Entry], visible: Sequence[int]) -> list[Ranking]:
        scores_QE = np.zeros((len(queries), len(entries)))
        for retriever in self._retrievers:
            for row, ranking in enumerate(retriever(queries, entries, visible)):
                scores_QE[row, ranking] += 1.0 / (FUSION + 1.0 + np.arange(len(ranking)))
        return _ranked(np.round(scores_QE, 9), visible)


def words(text: str) -> tuple[str, ...]:
    """The words of a text that are searched by: of two characters or more, in small letters, no stop words."""
    from bm25s.stopwords import STOPWORDS_EN

    return tuple(word for word in _WORD.findall(text.casefold()) if word not in STOPWORDS_EN)


_words_kept: Final = lru_cache(maxsize=1 << 16)(words)  # of items, which come again; no query stays in memory
_WORD: Final = re.compile(r"\w\w+")


def _indexed(words_Q: Sequence[Sequence[str]], words_E: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """scores_QE of queries that all see the same entries."""
    import bm25s

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it has itself tell of every index
    scores_QE = np.zeros((len(words_Q), len(words_E)))
    ids = {word: place for place, word in enumerate(dict.fromkeys(word for some in words_E for word in some))}
    if not ids:
        return scores_QE
    index = bm25s.BM25(K1, B, method="lucene", dtype="float64", backend="numpy", csc_backend="numpy")
    index.index(
        ([[ids[word] for word in some] for some in words_E], ids), create_empty_token=False, show_progress=False
    )
    for row, some in enumerate(words_Q):
        known = [ids[word] for word in some if word in ids]
        if known:
            scores_QE[row] = index.get_scores_from_ids(known)
    return scores_QE


def _cut(
    words_Q: Sequence[Sequence[str]], words_E: Sequence[Sequence[str]], visible: Sequence[int]
) -> NDArray[np.float64]:
    """The same where each query sees its own number of the oldest entries."""
    asked = {word for some in words_Q for word in some}
    ids = {word: place for place, word in enumerate(sorted(asked & {word for some in words_E for word in some}))}
    times_TE = np.zeros((len(ids), len(words_E)))
    for entry, some in enumerate(words_E):
        for word in some:
            if word in ids:
                times_TE[ids[word], entry] += 1
    lengths_E = np.fromiter(map(len, words_E), np.float64, len(words_E))
    found_TE = (times_TE > 0).cumsum(axis=1)  # entries that have the word, up to each
    means_E = lengths_E.cumsum() / np.arange(1, len(words_E) + 1)
    scores_QE = np.zeros((len(words_Q), len(words_E)))
    for row, (some, seen) in enumerate(zip(words_Q, visible, strict=True)):
        terms = [ids[word] for word in some if word in ids]
        if not terms or not seen or not means_E[seen - 1]:
            continue
        found = found_TE[terms, seen - 1]
        weights = np.log1p((seen - found + 0.5) / (found + 0.5))
        discounts = K1 * (1 - B + B * lengths_E[:seen] / means_E[seen - 1])
        times = times_TE[terms, :seen]
        scores_QE[row, :seen] = weights @ (times / (times + discounts))
    return scores_QE


def _ranked(scores_QE: NDArray[np.float64], visible: Sequence[int]) -> list[Ranking]:
    entries = scores_QE.shape[1]
    is_hidden_QE = np.arange(entries) >= np.asarray(visible)[:, None]
    scores_QE = np.where(is_hidden_QE, -np.inf, scores_QE)
    newest_first = np.argsort(-scores_QE[:, ::-1], axis=1, kind="stable")
    return [entries - 1 - places[:seen] for places, seen in zip(newest_first, visible, strict=True)]
