"""Micro-batching: requests that arrive while one batch is worked on make the next batch.

Everything below the door is synchronous and takes a sequence; one worker thread calls it, and the event loop stays
free to read and write sockets. An idle worker takes a single request at once, so nobody waits for company.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Thread
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class Batcher(Generic[Asked, Answered]):
    """Calls `answer` with at most `most` requests at a time; it returns one result a request, in order.

    An exception that `answer` raises is every waiting caller's; a result that is an exception is its caller's alone.
    """

    def __init__(self, answer: Callable[[Sequence[Asked]], Sequence[Answered | Exception]], most: int = 64) -> None:
        self._answer = answer
        self._most = most
        self._waiting: deque[tuple[Asked, asyncio.Future[Answered]]] = deque()
        self._changed = Condition()
        self._closed = False
        self._worker = Thread(target=self._work, name="batcher", daemon=True)
        self._worker.start()

    def ask(self, asked: Asked) -> "asyncio.Future[Answered]":
        """The answer to come; to be called in an event loop."""
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        with self._changed:
            self._waiting.append((asked, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Answers what waits, then stops."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._worker.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            results: Sequence[Answered | Exception]
            try:
                results = self._answer([asked for asked, _ in batch])
            except Exception as error:  # noqa: BLE001 - it rises in every caller that waits for it
                results = [error] * len(batch)
            futures = [future for _, future in batch]
            futures[0].get_loop().call_soon_threadsafe(_resolve, futures, results)


def _resolve(futures: "Sequence[asyncio.Future[Answered]]", results: Sequence[Answered | Exception]) -> None:
    for future, result in zip(futures, results, strict=True):
        if future.cancelled():
            continue  # the caller has gone
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
