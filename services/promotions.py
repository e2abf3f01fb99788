"""Which bundle is in use, and the journal of how it came to be.

    HOME/models/current           the name of the bundle in use: what servers follow
    HOME/models/promotions.jsonl  one line a change of that name, appended and never altered

The journal's line is on disk before the name changes. Both are written under one lock, so that of two promotions at
once one comes after the other, and knows it.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from socket import gethostname
from typing import Any, Literal

import orjson

from features.errors import PromotionRefused
from services.settings import Settings
from services.wiring import bundles_folder

Kind = Literal["first", "promote", "rollback"]


@dataclass(frozen=True, slots=True)
class Promotion:
    """One change of the bundle in use. at: ISO 8601 in UTC. before: the one in use until then, None for the first.

    forced: something spoke against it, which `reason` tells. figures: what the two were compared by; empty when they
    were not.
    """

    at: str
    who: str
    before: str | None
    to: str
    kind: Kind
    forced: bool
    figures: Mapping[str, Any]
    reason: str

    def line(self) -> bytes:
        return orjson.dumps(
            {
                "at": self.at,
                "who": self.who,
                "from": self.before,
                "to": self.to,
                "kind": self.kind,
                "forced": self.forced,
                "figures": self.figures,
                "reason": self.reason,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )


def pointer(settings: Settings) -> Path:
    """The file that names the bundle in use."""
    return bundles_folder(settings) / "current"


def current_name(settings: Settings) -> str | None:
    """The name of the bundle in use, None when none was ever."""
    try:
        return pointer(settings).read_text(errors="replace").strip()
    except FileNotFoundError:
        return None


def journal(settings: Settings) -> list[Promotion]:
    """Every promotion, oldest first; a line that is none, cut short by a crash, is left out."""
    try:
        lines = _journal_path(settings).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [promotion for promotion in map(_parsed, lines) if promotion is not None]


def in_use_before(promotions: Sequence[Promotion], name: str | None) -> list[str]:
    """What was in use before the bundle `name`, newest first, without the promotions that were undone.

    A rollback undoes the newest promotions down to the bundle that it went back to.
    """
    used: list[str] = []
    for promotion in promotions:
        if promotion.kind == "rollback" and promotion.to in used:
            while used[-1] != promotion.to:
                used.pop()
            continue
        if promotion.before is not None and used[-1:] != [promotion.before]:
            used.append(promotion.before)
        used.append(promotion.to)
    place = len(used) - 1 - used[::-1].index(name) if name in used else len(used)
    return used[:place][::-1]


def put_into_use(
    settings: Settings,
    name: str,
    expected: str | None,
    now: float,
    *,
    rollback: bool = False,
    forced: bool = False,
    who: str | None = None,
    figures: Mapping[str, Any] | None = None,
    reason: str = "",
) -> Promotion | None:
    """Moves the name in use and journals it; None, and nothing journalled, when it is in use already.

    expected: the one in use as the caller knows it. now: epoch seconds. who: user@host when not given. Raises
    PromotionRefused when another has come into use since.
    """
    with _locked(settings):
        current = current_name(settings)
        if current == name:
            return None
        if current != expected:
            raise PromotionRefused(f"{current} has come into use meanwhile, not {expected}; compare with it again")
        kind: Kind = "rollback" if rollback else "first" if current is None else "promote"
        at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        promotion = Promotion(at, who or _somebody(), current, name, kind, forced, figures or {}, reason)
        _append(_journal_path(settings), promotion.line())
        point(pointer(settings), name)
        return promotion


def point(path: Path, name: str) -> None:
    """The file holds this name from now on; at once or not at all, whatever ends the process."""
    written = path.with_suffix(".new")
    with written.open("w") as file:
        file.write(name + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(written, path)


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    folder = bundles_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "promotions.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parsed(line: bytes) -> Promotion | None:
    try:
        value = orjson.loads(line)
        return Promotion(before=value.pop("from"), **value)
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return None


def _journal_path(settings: Settings) -> Path:
    return bundles_folder(settings) / "promotions.jsonl"


def _append(path: Path, line: bytes) -> None:
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = b"\n" + line  # what a crash has cut short stays a line of its own
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _somebody() -> str:
    try:
        user = getuser()
    except (KeyError, OSError):  # a container's user often has no name
        user = f"uid{os.getuid()}"
    return f"{user}@{gethostname()}"
