"""Which of the trained models of one kind is in use: a name in a file beside their folders, and whoever follows it.

FOLDER/NAME      trained models, a folder each
FOLDER/current   the name of the one in use
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from features.errors import BundleRefused, ModelMissing, UnknownName, WeightsRefused
from services.promotions import point

Model = TypeVar("Model")

logger = logging.getLogger(__name__)


def name_in_use(folder: Path) -> str | None:
    """The name of the one in use, None when none ever was."""
    try:
        return _pointer(folder).read_text(errors="replace").strip()
    except FileNotFoundError:
        return None


def put_into_use(folder: Path, name: str) -> None:
    """Makes this one the one in use, at once; whoever follows takes it up within a second."""
    point(_pointer(folder), name)


class FollowingName(Generic[Model]):
    """Follows the name in use. `model` is replaced whole; one thread looks, any number read. refused: why the one in
    use by name was not taken up, "" when it was.

    what, command: the kind's name, and the command that trains one, as messages say them. beside: other paths that
    loading depends on; what was refused is tried again when one of them changes.
    """

    def __init__(
        self,
        folder: Path,
        load: Callable[[Path], Model],
        what: str,
        command: str,
        beside: Callable[[], tuple[Path, ...]] = tuple,
    ) -> None:
        self.model: Model | None = None
        self.refused = ""
        self._folder, self._load = folder, load
        self._what, self._command = what, command
        self._beside = beside
        self._seen: tuple[int, ...] = ()
        self._seen_parts: tuple[tuple[int, ...], ...] = ()

    def look(self) -> None:
        """Looks whether the name in use has changed, and takes up what it stands for; one that is refused leaves the
        one before where it is, and is tried again when its folder comes, or another takes its place."""
        seen = stamp(_pointer(self._folder))
        if not seen or (seen == self._seen and not self._is_mended()):
            return
        self._seen = seen
        try:
            name = name_in_use(self._folder) or ""
            self._seen_parts = self._parts(name)
            self.model, self.refused = self._load(self._named(name)), ""
            logger.info("the %s %s is in use", self._what, name)
        except (BundleRefused, ModelMissing, UnknownName, WeightsRefused, OSError) as error:
            self.refused = str(error)
            logger.error("the %s in use is refused: %s", self._what, error)
        except Exception as error:
            self.refused = f"{type(error).__name__}: {error}"
            logger.exception("the %s in use is refused", self._what)

    def _is_mended(self) -> bool:
        """Whether what was refused is another than it was."""
        return bool(self.refused) and self._parts(name_in_use(self._folder) or "") != self._seen_parts

    def _parts(self, name: str) -> tuple[tuple[int, ...], ...]:
        return tuple(stamp(path) for path in (self._folder / name, *self._beside()))

    def _named(self, name: str) -> Path:
        folder = self._folder / name
        if not name or Path(name).name != name or not folder.is_dir():
            raise UnknownName(f"no {self._what} {name!r} in {self._folder}; `{self._command}` trains one")
        return folder


def stamp(path: Path) -> tuple[int, ...]:
    """What differs after a file or folder was replaced, without reading it; () when there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # a name that is no name
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _pointer(folder: Path) -> Path:
    return folder / "current"
