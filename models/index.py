"""The item index: of a million item vectors, the few whose inner product with a user's vector is greatest.

    build -> check -> to_bytes (a file of a bundle) -> from_bytes -> search

An index is immutable and swapped whole. Searching it is safe from several threads.

Shapes: N items, B queries, Q sample queries, D numbers a vector, K places of a list.
"""

import logging
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from features.errors import BundleRefused, InvalidInput
from models.inner_products import Vectors, checked, on_sphere, products, recall_of, sample

logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it tells which of its builds it tries
import faiss  # noqa: E402

# Reading 5 million numbers (78,000 items of 64) takes one core 0.5 to 0.8 ms: exact search needs no substitute there.
FLAT_NUMBERS: Final = 5_000_000
LISTS: Final = 2.0  # times the root of N: choosing lists and reading them then cost about the same
LIST_SAMPLE: Final = 64  # items a list that k-means learns from; more changed no recall that was measured
LINKS: Final = 32  # of an HNSW node, twice as many in the lowest layer
CONSTRUCTION: Final = 80  # candidates while an HNSW node is linked
CALIBRATED: Final = 0.99  # recall@10 on the sample queries, up to which the effort is raised
SAMPLE: Final = 256  # queries that calibrate and that check
RECALL_FLOOR: Final = 0.95
RECALL_AT: Final = 10
K_MOST: Final = 2048  # items, and lists, of a GPU's search, and so of every one
ONE_THREAD: Final = 16  # queries up to which waking other threads costs more than they bring


class Kind(StrEnum):
    FLAT = "flat"
    HNSW = "hnsw"
    IVF = "ivf"


def kind_for(n_items: int, width: int) -> Kind:
    """Flat while exact search takes less than about a millisecond, IVF beyond.

    HNSW is built when it is named. User vectors do not lie among the items, and a graph of items leads them astray: for
    a recall@10 of .99 on 100,000 noisy copies of an encoder's vectors (`bench retrieval`) it takes 0.4 to 0.7 ms, 7 s
    to build and 528 bytes an item, IVF 0.1 ms, 1 s and 270 bytes; and it falls further behind with their number.
    """
    return Kind.FLAT if n_items * width <= FLAT_NUMBERS else Kind.IVF


@dataclass(frozen=True, slots=True, eq=False)
class ItemIndex:
    """Rows of items by inner product; made by `build` or `from_bytes`.

    longest: the greatest norm of an item (IVF). threads: for batches of more than 16 queries; fewer use one.
    """

    kind: Kind
    width: int
    longest: float
    threads: int
    _index: Any = field(repr=False)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(self, queries_BD: Vectors, k: int) -> tuple[NDArray[np.int64], Vectors]:
        """(rows_BK, scores_BK): the items of the greatest inner products, greatest first.

        Where fewer than k items exist, rows are -1 and scores -inf. Which of equal items come first, or at all, is not
        said. Raises InvalidInput: a query of another width or with a value that is not finite, k not in 1 to 2048.
        """
        queries_BD = self.checked(queries_BD, k)
        faiss.omp_set_num_threads(self.threads if len(queries_BD) > ONE_THREAD else 1)  # holds for this thread only
        if self.kind is not Kind.IVF:
            return self._found(queries_BD, k)
        norms_B1 = np.linalg.norm(queries_BD, axis=1, keepdims=True)
        lengths_B1 = (norms_B1 + (norms_B1 == 0)) / np.float32(self.longest)
        asked_BD = np.zeros((len(queries_BD), self.width + 1), np.float32)
        asked_BD[:, :-1] = queries_BD / lengths_B1
        rows_BK, scores_BK = self._found(asked_BD, k)
        return rows_BK, scores_BK * lengths_B1

    def checked(self, queries_BD: Vectors, k: int) -> Vectors:
        """The queries as this index takes them. Raises InvalidInput as `search` does."""
        if not 1 <= k <= K_MOST:
            raise InvalidInput("k", f"{k} was given; 1 to {K_MOST} will do")
        return checked("queries", queries_BD, self.width)

    @property
    def bytes_per_item(self) -> float:
        """Bytes that a loaded index holds, divided by its items: vectors, ids, links, centroids."""
        if not len(self):
            return 0.0
        held = 4 * self.width * len(self)
        if self.kind is Kind.IVF:
            held = (4 * (self.width + 1) + 8) * len(self) + 4 * (self.width + 1) * self._index.nlist
        if self.kind is Kind.HNSW:
            graph = self._index.hnsw
            held += 4 * graph.neighbors.size() + 8 * graph.offsets.size() + 4 * graph.levels.size()
        return held / len(self)

    @property
    def parameters(self) -> dict[str, int]:
        """What decides between recall and time, by faiss's names."""
        match self.kind:
            case Kind.IVF:
                return {"nlist": self._index.nlist, "nprobe": self._index.nprobe}
            case Kind.HNSW:
                return {"M": LINKS, "efConstruction": CONSTRUCTION, "efSearch": self._index.hnsw.efSearch}
            case Kind.FLAT:
                return {}

    def check(self, vectors_ND: Vectors, queries_QD: Vectors | None = None, floor: float = RECALL_FLOOR) -> float:
        """recall@10 on up to 256 of the queries (of the items when none are given) against exact search.

        Raises BundleRefused: the index is of another number or width of vectors, of other vectors or in another order,
        or its recall is below the floor.
        """
        vectors_ND = checked("vectors", vectors_ND, None)
        if vectors_ND.shape != (len(self), self.width):
            raise BundleRefused(
                f"the index holds {len(self)} vectors of {self.width}, not {list(vectors_ND.shape)}; build it again"
            )
        queries_QD = sample(vectors_ND if queries_QD is None else checked("queries", queries_QD, self.width), SAMPLE)
        if not len(self) or not len(queries_QD):
            return 1.0
        rows_QK, scores_QK = self.search(queries_QD, min(RECALL_AT, len(self)))
        true_QK = products(queries_QD, vectors_ND, rows_QK)
        if not np.allclose(scores_QK, true_QK, rtol=1e-3, atol=1e-4 * float(np.abs(true_QK).max())):
            raise BundleRefused("the index was built of other vectors, or in another order of rows; build it again")
        recall = recall_of(true_QK, _exact(queries_QD, vectors_ND, true_QK.shape[1]))
        if recall < floor:
            raise BundleRefused(
                f"the index finds {recall:.3f} of what exact search finds, less than {floor}; "
                "build it with a sample of the queries that it is to answer"
            )
        return recall

    def to_bytes(self) -> bytes:
        """A safetensors file: faiss's own bytes, the greatest norm, and the sha256 of both."""
        content, longest_1 = faiss.serialize_index(self._index), np.array([self.longest])
        return save({"index": content, "longest": longest_1, "sha256": _digest(content, longest_1)})

    @classmethod
    def from_bytes(cls, content: bytes, threads: int = 1) -> "ItemIndex":
        """The index that `to_bytes` wrote. Raises BundleRefused when a byte is missing or altered."""
        try:
            parts = load(content)
            held, longest_1 = parts["index"], parts["longest"]
            # Before faiss reads it: it would take the rows and links of altered bytes at their word.
            if not np.array_equal(parts["sha256"], _digest(held, longest_1)):
                raise BundleRefused("the item index is corrupt: its sha256 is another; build it again")
            index = faiss.deserialize_index(held)
            longest = float(longest_1[0])
        except (SafetensorError, KeyError, RuntimeError) as error:
            raise BundleRefused(f"no item index can be read: {error}; build it again") from None
        kinds = {faiss.IndexFlat: Kind.FLAT, faiss.IndexHNSWFlat: Kind.HNSW, faiss.IndexIVFFlat: Kind.IVF}
        kind = next((kind for of, kind in kinds.items() if isinstance(index, of)), None)
        if kind is None or index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise BundleRefused(f"{type(index).__name__} is no item index; build it again")
        return cls(kind, index.d - (kind is Kind.IVF), longest, threads, index)

    def _found(self, asked_BD: Vectors, k: int) -> tuple[NDArray[np.int64], Vectors]:
        scores_BK, rows_BK = self._index.search(asked_BD, k)
        # The lists that are read, or the nodes that are reached, can hold fewer than k: then everything is read.
        short_B = rows_BK[:, min(k, len(self)) - 1] < 0 if len(self) else np.zeros(len(asked_BD), np.bool_)
        if short_B.any():
            scores_BK[short_B], rows_BK[short_B] = self._exhaustive(asked_BD[short_B], k)
        scores_BK[rows_BK < 0] = -np.inf  # faiss says -3.4e38
        return rows_BK, scores_BK

    def _exhaustive(self, asked_BD: Vectors, k: int) -> Any:
        if self.kind is Kind.HNSW:
            return self._index.storage.search(asked_BD, k)
        everything = faiss.SearchParametersIVF()
        everything.nprobe = self._index.nlist
        if not isinstance(self._index, faiss.IndexIVF):  # on a GPU
            everything.nprobe = min(self._index.nlist, K_MOST)
        return self._index.search(asked_BD, k, params=everything)


def build(
    vectors_ND: Vectors,
    queries_QD: Vectors | None = None,
    kind: Kind | None = None,
    threads: int = 1,
) -> ItemIndex:
    """An index of the vectors, their rows its answers; of the kind that their number asks for when none is named.

    queries_QD: a sample of what will be asked, user vectors, on which the effort of a search is calibrated: it doubles
    until recall@10 is .99. The items themselves stand in when there is none; they are found more easily than what
    users ask for. With one thread the same vectors and queries give the same bytes. Raises InvalidInput.

    HNSW (Malkov and Yashunin, 2016) links items by inner product itself: of the two ways it finds more at equal time.
    IVF clusters items with one more coordinate, which gives all of them the norm of the longest, and takes queries
    scaled to that norm with a zero in its place: the nearest are then those of the greatest product (Bachrach et al.,
    2014). Without it a few long items would attract every query.
    """
    vectors_ND = checked("vectors", vectors_ND, None)
    n_items, width = vectors_ND.shape
    kind = kind or kind_for(n_items, width)
    faiss.omp_set_num_threads(threads)
    longest = 1.0
    index: Any
    if kind is Kind.FLAT or n_items == 0:
        kind, index = Kind.FLAT, faiss.IndexFlatIP(width)
        index.add(vectors_ND)
    elif kind is Kind.HNSW:
        index = faiss.IndexHNSWFlat(width, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = CONSTRUCTION
        index.add(vectors_ND)
    else:
        longest = float(np.linalg.norm(vectors_ND, axis=1).max()) or 1.0
        index = _lists(on_sphere(vectors_ND, longest))
    built = ItemIndex(kind, width, longest, threads, index)
    _calibrate(built, vectors_ND, vectors_ND if queries_QD is None else checked("queries", queries_QD, width))
    return built


def on_gpu(index: ItemIndex, device: int = 0) -> ItemIndex:
    """The same index in a GPU's memory; HNSW, which has no place there, becomes flat.

    To be made and searched by one thread alone: see `OwnedIndex`. Needs faiss-gpu and a device (`gpus` says how many).
    """
    held = index._index.storage if index.kind is Kind.HNSW else index._index
    kind = Kind.FLAT if index.kind is Kind.HNSW else index.kind
    return replace(index, kind=kind, _index=faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), device, held))


def gpus() -> int:
    """How many GPUs faiss can use; 0 for the package without them."""
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def _lists(vectors_ND: Vectors) -> Any:
    n_items, width = vectors_ND.shape
    n_lists = max(1, min(int(LISTS * n_items**0.5), n_items // 8))
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, n_lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.spherical = False  # faiss's default for inner products, whose centroids would have length one
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, LIST_SAMPLE
    index.train(vectors_ND)
    index.add(vectors_ND)
    return index


def _calibrate(built: ItemIndex, vectors_ND: Vectors, queries_QD: Vectors) -> None:
    """Doubles the effort of a search until its recall on a sample of the queries is enough, or no more can be done."""
    queries_QD = sample(queries_QD, SAMPLE)
    if built.kind is Kind.FLAT or not len(queries_QD):
        return
    k = min(RECALL_AT, len(built))
    exact_QK = _exact(queries_QD, vectors_ND, k)
    effort, most = (8, built._index.nlist) if built.kind is Kind.IVF else (32, len(built))
    most = min(most, K_MOST)
    while True:
        if built.kind is Kind.IVF:
            built._index.nprobe = min(effort, most)
        else:
            built._index.hnsw.efSearch = min(effort, most)
        found_QK = products(queries_QD, vectors_ND, built.search(queries_QD, k)[0])
        if effort >= most or recall_of(found_QK, exact_QK) >= CALIBRATED:
            return
        effort *= 2


def _digest(content_U: NDArray[np.uint8], longest_1: NDArray[np.float64]) -> NDArray[np.uint8]:
    digest = sha256(content_U.data)
    digest.update(longest_1.tobytes())
    return np.frombuffer(digest.digest(), np.uint8)


def _exact(queries_QD: Vectors, vectors_ND: Vectors, k: int) -> Vectors:
    """The greatest products of each query, greatest first."""
    return np.asarray(faiss.knn(queries_QD, vectors_ND, k, metric=faiss.METRIC_INNER_PRODUCT)[0])
