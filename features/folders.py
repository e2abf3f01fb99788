"""Folders that appear whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def taking_the_place_of(folder: Path) -> Iterator[Path]:
    """An empty folder to fill; when the block ends it becomes `folder`, and what stood there is removed.

    When the block raises, `folder` is as it was. Raises OSError when the file system does.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside its destination, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
        new, old = Path(beside, "new"), Path(beside, "old")
        new.mkdir()
        yield new
        with suppress(FileNotFoundError):
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists() and not folder.exists():
                old.rename(folder)
            raise
