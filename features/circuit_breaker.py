"""What keeps requests from waiting for a store that does not answer."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from features.errors import StoreUnavailable


class CircuitBreaker:
    """After a failure, fails at once for `rest` seconds: a dead store is asked once a second and not a thousand times.

    clock: seconds that only grow.
    """

    def __init__(self, rest: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._rest = rest
        self._clock = clock
        self._closed_at = 0.0

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Raises StoreUnavailable at once while resting; a StoreUnavailable inside starts the rest."""
        if self._clock() < self._closed_at:
            raise StoreUnavailable("the profile store failed a moment ago; it is asked again within a second")
        try:
            yield
        except StoreUnavailable:
            self._closed_at = self._clock() + self._rest
            raise
