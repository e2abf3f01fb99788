"""Background threads: stopped together, and never dead in silence."""

from threading import Event as Signal

import pytest

from services.threads import Threads
from tests.services.conftest import wait_until


def test_every_thread_runs_until_all_are_closed() -> None:
    threads = Threads()
    ended: list[str] = []
    for name in ("one", "two"):
        threads.start(name, lambda name=name: (threads.stop.wait(), ended.append(name)))
    assert threads.problems() == []
    assert ended == []
    threads.close(20)
    assert sorted(ended) == ["one", "two"]
    assert threads.problems() == []


def test_a_thread_that_ends_with_an_error_is_told_and_logged_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads = Threads()
    threads.start("waiting", threads.stop.wait)
    threads.start("dividing", lambda: 1 // 0)
    wait_until(threads.problems)
    assert threads.problems() == ["dividing has stopped: integer division or modulo by zero"]
    assert "ZeroDivisionError" in caplog.text
    assert not threads.stop.is_set()
    threads.close(20)


def test_joining_waits_for_threads_that_end_by_themselves() -> None:
    threads = Threads()
    done: list[int] = []
    threads.start("counting", lambda: done.extend(range(1000)))
    threads.join()
    assert len(done) == 1000


def test_a_thread_that_does_not_end_in_time_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    threads = Threads()
    may_end = Signal()
    threads.start("writing", lambda: may_end.wait(20))
    threads.close(0.01)
    assert "writing has not ended within 0.01 s" in caplog.text
    may_end.set()
    threads.join()
