"""Micro-batching: requests that have come in while one batch was worked on make the next batch.

Everything below the door is synchronous and takes a sequence. The event loop itself calls it: a batch takes a few
milliseconds at most, most of them Python's own, and a thread would only fight the loop for the interpreter. What a slow
store can cost is bounded by its client's timeout and the circuit breaker.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class Batcher(Generic[Asked, Answered]):
    """Calls `answer` with at most `most` requests at a time; it returns one result a request, in order.

    An exception that `answer` raises is that of every caller in the batch. To be used in one event loop.
    """

    def __init__(self, answer: Callable[[Sequence[Asked]], Sequence[Answered]], most: int = 64) -> None:
        self._answer = answer
        self._most = most
        self._waiting: deque[tuple[Asked, asyncio.Future[Answered]]] = deque()

    def ask(self, asked: Asked) -> "asyncio.Future[Answered]":
        """The answer to come: with that of every request that the loop has ready now."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answered] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._work, loop)
        self._waiting.append((asked, future))
        return future

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        if self._waiting:
            loop.call_soon(self._work, loop)  # after what else the loop has to do
        waiting = [(asked, future) for asked, future in batch if not future.cancelled()]  # others have gone
        if not waiting:
            return
        try:
            results = self._answer([asked for asked, _ in waiting])
        except Exception as error:  # noqa: BLE001 - it rises in every caller that waits for it
            for _, future in waiting:
                future.set_exception(error)
            return
        for (_, future), result in zip(waiting, results, strict=True):
            future.set_result(result)
