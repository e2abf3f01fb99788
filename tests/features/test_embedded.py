"""One server a home, found by everyone, stopped by the last."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Timer

import pytest

from features import embedded
from features.embedded import EmbeddedServer
from features.errors import StoreUnavailable
from features.profiles import ProfileStore, connect_for_ingest, connect_for_serving


def answers(url: str) -> bool:
    store = ProfileStore(connect_for_serving(url))
    try:
        store.ping()
    except StoreUnavailable:
        return False
    finally:
        store.close()
    return True


def test_a_second_process_attaches_and_the_last_to_leave_stops_the_server(home: Path) -> None:
    first = EmbeddedServer(home)
    second = EmbeddedServer(home)
    assert first.url == second.url
    first.close()
    assert answers(second.url)
    second.close()
    second.close()
    assert not answers(second.url)


def test_data_outlives_the_server(home: Path) -> None:
    with EmbeddedServer(home) as server, connect_for_ingest(server.url) as client:
        client.set("kept", "yes")
    with EmbeddedServer(home) as server, connect_for_ingest(server.url) as client:
        assert client.get("kept") == b"yes"


def test_a_killed_process_does_not_hold_the_server(home: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from features.embedded import EmbeddedServer
server = EmbeddedServer(Path({str(home)!r}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    with EmbeddedServer(home) as server:
        assert answers(server.url)
    assert not answers(server.url)


def test_a_server_that_is_too_busy_to_answer_is_waited_for_and_not_doubled(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "ANSWER_SECONDS", 0.05)
    with EmbeddedServer(home) as server:
        pid = int((home / "valkey" / "server.pid").read_text())
        os.kill(pid, signal.SIGSTOP)
        wakes = Timer(0.3, os.kill, (pid, signal.SIGCONT))
        wakes.start()
        with EmbeddedServer(home) as second:
            assert second.url == server.url
            assert int((home / "valkey" / "server.pid").read_text()) == pid
        wakes.join()


def test_a_home_with_a_long_path_works(home: Path) -> None:
    with EmbeddedServer(home / ("long-" * 30)) as server:
        assert answers(server.url)


def test_a_folder_that_is_no_server_home_says_what_the_server_said(home: Path) -> None:
    (home / "valkey" / "appendonlydir").mkdir(parents=True)
    (home / "valkey" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(StoreUnavailable, match="manifest"):
        EmbeddedServer(home)
