"""An item index that one thread owns: for a GPU's, which is not safe to share. Queries that wait are searched together.

Shapes: B queries, D numbers a vector, K places of a list.
"""

from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from types import TracebackType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.index import ItemIndex, gpus, on_gpu
from models.inner_products import Vectors

MOST: Final = 256  # queries of one search: a GPU answers them in the time of a few, and none waits for more

Answer = tuple[NDArray[np.int64], Vectors]
_Asked = tuple[Vectors, int, "Future[Answer]"]


class OwnedIndex:
    """The search of an ItemIndex, safe from any thread, run by one.

    make: called in the owning thread, so that all that a GPU holds is made, used and freed by it. What it raises is
    raised here. Close it, or use `with`; what waits by then is still answered.
    """

    def __init__(self, make: Callable[[], ItemIndex], most: int = MOST) -> None:
        self._most = most
        self._queue: SimpleQueue[_Asked | None] = SimpleQueue()
        self._closing = Lock()
        self._closed = False
        ready: Future[ItemIndex] = Future()
        self._thread = Thread(target=self._own, args=(make, ready), name="owner of an item index", daemon=True)
        self._thread.start()
        self._index = ready.result()

    @classmethod
    def on_gpu(cls, index: ItemIndex, device: int = 0) -> "OwnedIndex":
        """The index in a GPU's memory. Raises RuntimeError where faiss has no GPU, or the GPU not the memory."""
        if not gpus():
            raise RuntimeError("faiss finds no GPU here; install the extra `gpu` on a CUDA host, or search on the CPU")
        return cls(lambda: on_gpu(index, device))

    def __len__(self) -> int:
        return len(self._index)

    def search(self, queries_BD: Vectors, k: int) -> Answer:
        """As ItemIndex.search."""
        return self.ask(queries_BD, k).result()

    def ask(self, queries_BD: Vectors, k: int) -> "Future[Answer]":
        """The answer to come. Raises InvalidInput at once, and RuntimeError after `close`."""
        asked = self._index.checked(queries_BD, k)
        answer: Future[Answer] = Future()
        with self._closing:
            if self._closed:
                raise RuntimeError("the index is closed; ask the one that took its place")
            self._queue.put((asked, k, answer))
        return answer

    def close(self) -> None:
        """Answers what waits, frees the index and ends the thread."""
        with self._closing:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def __enter__(self) -> "OwnedIndex":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _own(self, make: Callable[[], ItemIndex], ready: "Future[ItemIndex]") -> None:
        try:
            index = make()
        except BaseException as error:  # noqa: BLE001 - it rises in the thread that asked for the index
            ready.set_exception(error)
            return
        ready.set_result(index)
        while (first := self._queue.get()) is not None:
            batch, ends = self._waiting(first)
            batch = [one for one in batch if one[2].set_running_or_notify_cancel()]
            if batch:
                _answer(index, batch)
            if ends:
                return

    def _waiting(self, first: _Asked) -> tuple[list[_Asked], bool]:
        """What is to be searched now, and whether nothing comes after it."""
        batch, count = [first], len(first[0])
        while count < self._most:
            try:
                asked = self._queue.get_nowait()
            except Empty:
                break
            if asked is None:
                return batch, True
            batch.append(asked)
            count += len(asked[0])
        return batch, False


def _answer(index: ItemIndex, batch: list[_Asked]) -> None:
    """Searches for the most that any of them asks for, and gives each its own."""
    try:
        together_BD = np.concatenate([queries_BD for queries_BD, _, _ in batch])
        rows_BK, scores_BK = index.search(together_BD, max(k for _, k, _ in batch))
    except Exception as error:  # noqa: BLE001 - it rises in every caller that waits for it
        for _, _, answer in batch:
            answer.set_exception(error)
        return
    start = 0
    for queries_BD, k, answer in batch:
        end = start + len(queries_BD)
        answer.set_result((rows_BK[start:end, :k], scores_BK[start:end, :k]))
        start = end
