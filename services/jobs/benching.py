"""Running a benchmark of the checkout in a process of its own."""

import subprocess
import sys
from pathlib import Path

from features.errors import UnknownName

_FOLDER = Path(__file__).parents[2] / "tests" / "bench"


def run_bench(name: str, *, json: bool, log: str | None = None) -> int:
    """Runs tests/bench/NAME.py; its exit status. log: what `ingest` reads, where it is not the embedded one.

    Raises UnknownName with the names that there are.
    """
    script = _FOLDER / f"{name}.py"
    if not script.is_file() or name.startswith("_"):
        names = ", ".join(sorted(path.stem for path in _FOLDER.glob("[a-z]*.py"))) or "none: this is no checkout"
        raise UnknownName(f"no benchmark {name!r}; there are {names}")
    said = [*(["--json"] if json else []), *(["--log", log] if log else [])]
    return subprocess.run([sys.executable, script, *said], check=False).returncode
