"""Fetching from a package index: here a folder of wheels that pip is configured to look in."""

import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest

from features.errors import ChecksumMismatch, FetchFailed
from features.fetch import STAMP, Wheel, fetch

WANTED = {"toys/data/a.txt": "A", "toys/data/sub/b.txt": "B"}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The index that the user's pip configuration names."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def offer(index: Path, members: dict[str, str]) -> Wheel:
    """Puts a wheel with these members on the index."""
    path = index / "toys-1.0-py3-none-any.whl"
    about = {
        "toys-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n",
        "toys-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "toys-1.0.dist-info/RECORD": "",
    }
    with ZipFile(path, "w") as wheel:
        for name, content in (members | about).items():
            wheel.writestr(name, content)
    return Wheel("toys==1.0", sha256(path.read_bytes()).hexdigest())


def files(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != STAMP)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


def test_the_members_under_the_prefix_are_unpacked_and_nothing_else(index: Path, tmp_path: Path) -> None:
    wheel = offer(index, WANTED | {"toys/__init__.py": "raise ImportError", "toys/database.txt": "no"})
    said: list[str] = []
    folder = fetch(wheel, "toys/data/", tmp_path / "to" / "toys", tmp_path / "cache", said.append)
    assert files(folder) == {"a.txt": "A", "sub/b.txt": "B"}
    assert "toys==1.0" in said[0]
    assert [path.name for path in folder.parent.iterdir()] == ["toys"]  # no temporary folder stays


def test_what_is_there_is_not_fetched_again(index: Path, tmp_path: Path) -> None:
    wheel = offer(index, WANTED)
    folder = fetch(wheel, "toys/data/", tmp_path / "toys", tmp_path / "cache")
    (index / "toys-1.0-py3-none-any.whl").unlink()
    said: list[str] = []
    assert fetch(wheel, "toys/data/", folder, tmp_path / "cache", said.append) == folder
    other = fetch(wheel, "toys/data/sub/", tmp_path / "other", tmp_path / "cache", said.append)  # from the cache
    assert files(other) == {"b.txt": "B"}
    assert said == []


def test_what_was_unpacked_is_finished_before_it_is_in_its_place(index: Path, tmp_path: Path) -> None:
    wheel = offer(index, WANTED)

    def finish(folder: Path) -> None:
        assert not (tmp_path / "toys").exists()
        (folder / "a.txt").rename(folder / "finished.txt")

    folder = fetch(wheel, "toys/data/", tmp_path / "toys", tmp_path / "cache", finish=finish)
    assert files(folder) == {"finished.txt": "A", "sub/b.txt": "B"}
    assert fetch(wheel, "toys/data/", folder, tmp_path / "cache", finish=finish) == folder  # and not again

    def failing(folder: Path) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        fetch(wheel, "toys/data/", tmp_path / "other", tmp_path / "cache", finish=failing)
    assert not (tmp_path / "other").exists()


def test_another_wheel_takes_the_place_of_the_one_unpacked_before(index: Path, tmp_path: Path) -> None:
    folder = fetch(offer(index, WANTED), "toys/data/", tmp_path / "toys", tmp_path / "cache")
    fetch(offer(index, {"toys/data/c.txt": "C"}), "toys/data/", folder, tmp_path / "cache")
    assert files(folder) == {"c.txt": "C"}


def test_a_fetch_that_fails_leaves_what_was_there(index: Path, tmp_path: Path) -> None:
    folder = fetch(offer(index, WANTED), "toys/data/", tmp_path / "to" / "toys", tmp_path / "cache")
    with pytest.raises(FetchFailed):
        fetch(offer(index, {"toys/data/new.txt": "new"}), "toys/other/", folder, tmp_path / "cache")
    assert files(folder) == {"a.txt": "A", "sub/b.txt": "B"}
    assert [path.name for path in folder.parent.iterdir()] == ["toys"]


def test_a_wheel_with_other_bytes_is_not_used(index: Path, tmp_path: Path) -> None:
    offer(index, WANTED)
    with pytest.raises(ChecksumMismatch, match=r"sha256 .* not 00"):
        fetch(Wheel("toys==1.0", "00"), "toys/data/", tmp_path / "toys", tmp_path / "cache")
    assert not (tmp_path / "toys").exists()
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_cache_is_fetched_anew(index: Path, tmp_path: Path) -> None:
    wheel = offer(index, WANTED)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / f"{wheel.sha256}.whl").write_bytes(b"half")
    assert files(fetch(wheel, "toys/data/", tmp_path / "toys", tmp_path / "cache"))["a.txt"] == "A"


def test_a_folder_that_was_not_fetched_is_left_alone(index: Path, tmp_path: Path) -> None:
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / "mine.txt").write_text("mine")
    with pytest.raises(FetchFailed, match="move it away"):
        fetch(offer(index, WANTED), "toys/data/", tmp_path / "toys", tmp_path / "cache")
    assert files(tmp_path / "toys") == {"mine.txt": "mine"}


@pytest.mark.parametrize("member", ["toys/data/../../../x", "toys/data//x", "toys/data/c:x", "toys/data/..\\x"])
def test_a_member_that_would_leave_its_folder_is_refused(index: Path, tmp_path: Path, member: str) -> None:
    wheel = offer(index, WANTED | {member: "out"})
    (tmp_path / "cache").mkdir()
    (index / "toys-1.0-py3-none-any.whl").rename(tmp_path / "cache" / f"{wheel.sha256}.whl")
    with pytest.raises(FetchFailed, match="outside its folder"):
        fetch(wheel, "toys/data/", tmp_path / "to" / "toys", tmp_path / "cache")
    assert not (tmp_path / "to" / "toys").exists()
    assert list(tmp_path.rglob("x")) == []


def test_a_prefix_without_members_is_refused(index: Path, tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match="nothing under 'toys/models/'"):
        fetch(offer(index, WANTED), "toys/models/", tmp_path / "toys", tmp_path / "cache")


@pytest.mark.usefixtures("index")
def test_what_the_index_lacks_is_said_with_what_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match=r"toys==1\.0: .*No matching distribution.*pip config list"):
        fetch(Wheel("toys==1.0", "00"), "toys/data/", tmp_path / "toys", tmp_path / "cache")


def test_a_file_where_the_cache_should_be_is_said(index: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(FetchFailed, match=r"could not be unpacked"):
        fetch(offer(index, WANTED), "toys/data/", tmp_path / "toys", tmp_path / "cache")


def test_an_interpreter_without_pip_is_said(index: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    with pytest.raises(FetchFailed, match=r"has no pip.*ensurepip"):
        fetch(
            offer(index, WANTED),
            "toys/data/",
            tmp_path / "toys",
            tmp_path / "cache",
            python=str(tmp_path / "bare" / "bin" / "python"),
        )
