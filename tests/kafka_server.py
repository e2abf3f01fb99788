"""A broker for tests: the binary of noida-db, which speaks Kafka's protocol and keeps what it holds in memory."""

import subprocess
import time
from importlib.resources import files
from pathlib import Path
from socket import create_connection, socket
from types import TracebackType

START_SECONDS = 30.0


class KafkaServer:
    """A broker on a free port of this machine, as long as the block lasts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, topics: str, **settings: object) -> str:
        """The URL of a log whose topics begin with this name."""
        said = "&".join(f"{name}={value}" for name, value in settings.items())
        return f"kafka://127.0.0.1:{self.port}/{topics}" + (f"?{said}" if said else "")

    def __enter__(self) -> "KafkaServer":
        binary = str(files("noida_db").joinpath("noida-db"))
        where = ["--kafka-port", str(self.port), "--data-dir", str(self.folder)]
        self._process = subprocess.Popen(
            [binary, "start", "--only", "kafka", *where], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                assert self._process.poll() is None, "the broker ended"
                assert time.monotonic() < deadline, "the broker does not come up"
                time.sleep(0.01)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
