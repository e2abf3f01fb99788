"""Search in a user's own history: by words, by meaning, by age, and by all of them, never looking ahead."""

import gc
import math
import weakref
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.events import EventId, ItemId
from models.summaries.entries import Entry
from models.summaries.retrieval import BM25, Dense, Hybrid, Recency, Retriever, search, words

TITLES = ["space wars", "quiet love", "space love", "crime town", "space wars again"]


def entries(titles: Sequence[str]) -> list[Entry]:
    return [
        Entry(EventId(f"e{place}"), ItemId(f"i{place}"), title, (), "view", None, float(place))
        for place, title in enumerate(titles)
    ]


def letters(texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors by how often a text has each letter: near where the texts look alike."""
    counts_ND = np.array([[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz "] for text in texts])
    return (counts_ND / np.linalg.norm(counts_ND, axis=1, keepdims=True)).astype(np.float32)


RETRIEVERS: list[Retriever] = [Recency(), BM25(), Dense(letters), Hybrid([BM25(), Recency(), Dense(letters)])]


def ranking_by_hand(query: str, titles: Sequence[str]) -> list[int]:
    """BM25 as the books have it, in plain Python."""
    texts = [title.split() for title in titles]
    mean = sum(map(len, texts)) / len(texts)

    def score(text: list[str]) -> float:
        total = 0.0
        for word in query.split():
            having = sum(word in other for other in texts)
            times = Counter(text)[word]
            weight = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
            total += weight * times / (times + 1.5 * (1 - 0.75 + 0.75 * len(text) / mean)) if times else 0.0
        return round(total, 4)

    return sorted(range(len(texts)), key=lambda place: (-score(texts[place]), -place))


def test_recency_is_the_newest_first() -> None:
    assert search(Recency(), "space", entries(TITLES)).tolist() == [4, 3, 2, 1, 0]


def test_bm25_finds_shared_words_rare_ones_first_and_then_the_newest() -> None:
    assert search(BM25(), "space wars", entries(TITLES)).tolist()[:2] == [0, 4]
    assert search(BM25(), "Crime in the TOWN!", entries(TITLES)).tolist() == [3, 4, 2, 1, 0]
    assert search(BM25(), "space quiet", entries(TITLES)).tolist()[0] == 1
    assert search(BM25(), "", entries(TITLES)).tolist() == [4, 3, 2, 1, 0]


def test_dense_finds_what_is_near() -> None:
    assert search(Dense(letters), "mercy twin", entries(TITLES)).tolist()[0] == 3


def test_dense_embeds_each_entry_once() -> None:
    asked: list[str] = []

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.extend(texts)
        return letters(texts)

    dense = Dense(embed)
    for _ in range(2):
        search(dense, "space wars", entries(TITLES))
    assert sorted(asked) == sorted(TITLES)


def test_what_is_asked_is_not_kept_in_memory() -> None:
    class Question(str):
        """A string that can be watched."""

    dense = Dense(letters)
    for retriever in (BM25(), dense, Hybrid([BM25(), dense])):
        question = Question("where is the crime town of my own life")
        watched = weakref.ref(question)
        search(retriever, question, entries(TITLES))
        del question
        gc.collect()
        assert watched() is None


def test_hybrid_puts_first_what_most_retrievers_put_first() -> None:
    def fixed(*places: int) -> Retriever:
        return lambda queries, entries, visible: [np.array(places)]

    hybrid = Hybrid([fixed(0, 1, 2), fixed(1, 0, 2), fixed(1, 2, 0)])
    assert search(hybrid, "", entries(TITLES[:3])).tolist() == [1, 0, 2]


@pytest.mark.parametrize("retriever", RETRIEVERS)
def test_a_history_of_nothing_has_nothing_to_find(retriever: Retriever) -> None:
    assert search(retriever, "space", []).tolist() == []
    assert [found.tolist() for found in retriever(["space", "love"], entries(TITLES), [0, 1])] == [[], [0]]
    assert retriever([], entries(TITLES), []) == []


titles_lists = st.lists(st.lists(st.sampled_from(["aa", "bb", "cc", "dd"]), max_size=5).map(" ".join), min_size=1)


@given(titles_lists.filter(any), st.sampled_from(["aa", "aa bb", "bb cc cc", "zz"]))
def test_bm25_is_the_formula(titles: list[str], query: str) -> None:
    assert search(BM25(), query, entries(titles)).tolist() == ranking_by_hand(query, titles)


@settings(deadline=None)
@pytest.mark.parametrize("retriever", RETRIEVERS)
@given(titles=st.lists(st.sampled_from([*TITLES, "love"]), min_size=1, max_size=12), data=st.data())
def test_many_cuts_of_one_history_are_ranked_as_each_alone(
    retriever: Retriever, titles: list[str], data: st.DataObject
) -> None:
    history = entries(titles)
    cuts = data.draw(st.lists(st.integers(1, len(titles)), min_size=1, max_size=5))
    queries = [data.draw(st.sampled_from(TITLES)) for _ in cuts]
    together = retriever(queries, history, cuts)
    alone = [search(retriever, query, history[:cut]) for query, cut in zip(queries, cuts, strict=True)]
    assert [found.tolist() for found in together] == [found.tolist() for found in alone]


def test_words_are_small_and_without_those_that_say_nothing() -> None:
    assert words("The Wrong Trousers (1993) a 4") == ("wrong", "trousers", "1993")
