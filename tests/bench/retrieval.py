"""The item index over a million vectors of a trained encoder, against exact search of the same, both on one thread.

The vectors are those of MovieLens 100K's films, of 64 numbers, each repeated until there are a million. To every number
of each copy is added independent Gaussian noise of standard deviation .3 * m / sqrt(64), where m is the mean norm of
the films' vectors: the noise of a copy has the norm .3 * m in quadratic mean. Queries are the same encoder's vectors
of users: the effort of a search is calibrated on every other user, and the rest are measured, one query at a time.
"""

import time
from statistics import fmean
from typing import Any

import numpy as np
import torch
from _movielens import movielens
from _report import alternate, measure, percentile, print_report, say
from numpy.typing import NDArray

from features.frames import ordered, sequences
from models.counts.fitting import texts_of
from models.encoders.config import EncoderConfig
from models.encoders.frozen import FrozenEncoder
from models.encoders.reading import encoder_data
from models.encoders.train import train
from models.index import ItemIndex, Kind, build
from models.vocabulary import Vocabulary
from services.settings import limit_threads

N_ITEMS, WIDTH, NOISE, K, ROUNDS, QUERIES = 1_000_000, 64, 0.3, 10, 5, 256
N_COMPARED = 100_000
EPOCHS = 20  # about where its validation NDCG@10 stops to grow
PEER = "exact search of the same vectors (IndexFlatIP)"

Vectors = NDArray[np.float32]


def main() -> None:
    films_FD, users_UD = trained_vectors()
    say(f"{len(films_FD)} items, {len(users_UD)} users")
    vectors_ND = repeated(films_FD)
    known_UD, asked_QD = users_UD[::2], users_UD[1::2][:QUERIES]
    index, seconds = built(vectors_ND, known_UD, None)
    index.check(vectors_ND, asked_QD)
    exact, _ = built(vectors_ND, known_UD, Kind.FLAT)
    recall = recall_of(index, exact, asked_QD)
    ours, theirs = alternate(lambda: timed(index, asked_QD), lambda: timed(exact, asked_QD), ROUNDS)
    print_report(
        "retrieval",
        {
            "p50": measure("ms", ours[0], theirs[0], PEER),
            "p99": measure("ms", ours[1], theirs[1], PEER),
            "recall": measure(f"share of the {K} greatest", recall, 1.0, PEER),
            "bytes_per_item": measure("bytes", index.bytes_per_item, exact.bytes_per_item, PEER),
            "build": measure("s", seconds),
        },
        index={"kind": index.kind, "threads": 1, **index.parameters},
        data={"items": N_ITEMS, "width": WIDTH, "noise": NOISE, "queries": len(asked_QD)},
        kinds=compared(vectors_ND[:N_COMPARED], known_UD, asked_QD),
    )


def compared(vectors_ND: Vectors, known_UD: Vectors, asked_QD: Vectors) -> dict[str, Any]:
    """The three kinds over the same vectors: what the choice among them rests on."""
    sides = {kind: built(vectors_ND, known_UD, kind) for kind in Kind}
    exact, _ = sides[Kind.FLAT]
    return {
        kind.value: {
            "items": len(index),
            "p50_ms": round(timed(index, asked_QD)[0], 4),
            "recall": round(recall_of(index, exact, asked_QD), 4),
            "build_s": round(seconds, 1),
            "bytes_per_item": round(index.bytes_per_item, 1),
            **index.parameters,
        }
        for kind, (index, seconds) in sides.items()
    }


def built(vectors_ND: Vectors, known_UD: Vectors, kind: Kind | None) -> tuple[ItemIndex, float]:
    """An index calibrated on these users, and the seconds that it took."""
    start = time.perf_counter()
    index = build(vectors_ND, known_UD, kind)
    seconds = time.perf_counter() - start
    say(f"{index.kind} {index.parameters} of {len(index)} items built in {seconds:.1f} s")
    return index, seconds


def recall_of(index: ItemIndex, exact: ItemIndex, queries_QD: Vectors) -> float:
    """The share of the rows of exact search that the index finds."""
    found_QK, best_QK = (side.search(queries_QD, K)[0].tolist() for side in (index, exact))
    return fmean(len(set(found) & set(best)) / K for found, best in zip(found_QK, best_QK, strict=True))


def trained_vectors() -> tuple[Vectors, Vectors]:
    """(films_FD, users_UD) of SASRec, trained here for EPOCHS epochs on every event; users as they stand after it."""
    dataset = movielens()
    history = ordered(dataset.events)
    vocabulary = Vocabulary.of([*dataset.items["item"], *history["item"]])
    known = sequences(history, vocabulary.items)
    data = encoder_data(known, texts_of(dataset.items, vocabulary))
    config = EncoderConfig(kind="sasrec", dimensions=WIDTH)
    encoder = FrozenEncoder.of(train(data, config, epochs=EPOCHS, progress=lambda done, most, what: say(what)), data)
    return encoder.vectors_ND, encoder.vectors(known.histories())


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
    torch.set_num_threads(1)
    main()
