"""The background threads of a process: started together, stopped together, and never dead in silence."""

import logging
import time
from collections.abc import Callable
from threading import Event as Signal
from threading import Thread

logger = logging.getLogger(__name__)


class Threads:
    """Runs functions that return when `stop` is set; `problems` says which have ended with an error."""

    def __init__(self) -> None:
        self.stop = Signal()
        self._threads: list[Thread] = []
        self._problems: list[str] = []

    def start(self, name: str, run: Callable[[], None]) -> None:
        """Runs the function in a thread of its own."""

        def guarded() -> None:
            try:
                run()
            except Exception as error:
                logger.exception("%s has stopped", name)
                self._problems.append(f"{name} has stopped: {error}")

        thread = Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def problems(self) -> list[str]:
        return list(self._problems)

    def join(self) -> None:
        """Waits until every thread has ended."""
        for thread in self._threads:
            thread.join()

    def close(self, seconds: float) -> None:
        """Asks every thread to finish what it has in hand, and waits for all of them, so long at most. One that has not
        ended then ends with the process."""
        self.stop.set()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                logger.warning("%s has not ended within %g s, and is not waited for", thread.name, seconds)
