"""The item index over a million vectors of a trained model, against exact search of the same, both on one thread.

The vectors are those of MovieLens 100K's films, of 64 numbers, each repeated until there are a million. To every number
of each copy is added independent Gaussian noise of standard deviation .3 * m / sqrt(64), where m is the mean norm of
the films' vectors: the noise of a copy has the norm .3 * m in quadratic mean. Queries are the same model's vectors of
users: the effort of a search is calibrated on every other user, and the rest are measured, one query at a time.
"""

import time

import numpy as np
from _movielens import movielens
from _report import alternate, measure, percentile, print_report, say
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from features.frames import ordered, sequences
from models.index import ItemIndex, Kind, build
from models.vocabulary import Vocabulary
from services.settings import limit_threads

N_ITEMS, WIDTH, NOISE, K, ROUNDS, QUERIES = 1_000_000, 64, 0.3, 10, 5, 256
PEER = "exact search of the same vectors (IndexFlatIP)"

Vectors = NDArray[np.float32]


def main() -> None:
    films_FD, users_UD = trained_vectors()
    say(f"{len(films_FD)} items, {len(users_UD)} users")
    vectors_ND = repeated(films_FD)
    known_UD, asked_QD = users_UD[::2], users_UD[1::2][:QUERIES]
    start = time.perf_counter()
    index = build(vectors_ND, known_UD)
    seconds = time.perf_counter() - start
    say(f"{index.kind} {index.parameters}, built in {seconds:.1f} s")
    index.check(vectors_ND, asked_QD)
    exact = build(vectors_ND, kind=Kind.FLAT)
    found_QK, best_QK = (side.search(asked_QD, K)[0].tolist() for side in (index, exact))
    recall = np.mean([len(set(found) & set(best)) / K for found, best in zip(found_QK, best_QK, strict=True)])
    ours, theirs = alternate(lambda: timed(index, asked_QD), lambda: timed(exact, asked_QD), ROUNDS)
    print_report(
        "retrieval",
        {
            "p50": measure("ms", ours[0], theirs[0], PEER),
            "p99": measure("ms", ours[1], theirs[1], PEER),
            "recall": measure(f"recall@{K}", float(recall), 1.0, PEER),
            "bytes_per_item": measure("bytes", index.bytes_per_item, exact.bytes_per_item, PEER),
            "build": measure("s", seconds),
        },
        index={"kind": index.kind, "threads": 1, **index.parameters},
        data={"items": N_ITEMS, "width": WIDTH, "noise": NOISE, "queries": len(asked_QD)},
    )


def trained_vectors() -> tuple[Vectors, Vectors]:
    """(films_FD, users_UD) of a truncated singular value decomposition of who has rated what."""
    history = ordered(movielens().events)
    vocabulary = Vocabulary.of(history["item"])
    known = sequences(history, vocabulary.items)
    rows = [row for row, items in enumerate(known.histories()) for _ in items]
    columns = np.concatenate(known.histories())
    ratings = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)))
    users_UD, values_D, films_DF = svds(ratings, k=WIDTH, random_state=0)
    scale_D = np.sqrt(values_D)
    return (films_DF.T * scale_D).astype(np.float32), (users_UD * scale_D).astype(np.float32)


def repeated(films_FD: Vectors) -> Vectors:
    mean_norm = float(np.linalg.norm(films_FD, axis=1).mean())
    noise_ND = np.random.default_rng(0).standard_normal((N_ITEMS, WIDTH), np.float32)
    noise_ND *= np.float32(NOISE * mean_norm / WIDTH**0.5)
    noise_ND += films_FD[np.arange(N_ITEMS) % len(films_FD)]
    return noise_ND


def timed(index: ItemIndex, queries_QD: Vectors) -> tuple[float, float]:
    """(p50, p99) of single queries, in ms."""
    took = []
    for place in range(len(queries_QD)):
        start = time.perf_counter()
        index.search(queries_QD[place : place + 1], K)
        took.append((time.perf_counter() - start) * 1000)
    say(f"{index.kind}: p50 {percentile(took, 0.5):.3f} ms, p99 {percentile(took, 0.99):.3f} ms")
    return percentile(took, 0.5), percentile(took, 0.99)


if __name__ == "__main__":
    limit_threads(1)
    main()
