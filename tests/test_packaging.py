"""Our packages are top-level folders: nobody else may bring one of their names, and what they import is declared."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions, packages_distributions
from pathlib import Path, PurePath

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"features", "models", "services", "streaming"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def strangers(installed: Iterable[Distribution]) -> dict[str, set[str]]:
    """Which of our packages' names are brought by which distributions that are not ours."""
    found: dict[str, set[str]] = {}
    for distribution in installed:
        name = normal(distribution.metadata["Name"])
        if name == PROJECT["name"]:
            continue
        for file in distribution.files or ():
            top = file.parts[0].partition(".")[0]
            if top in OURS:
                found.setdefault(top, set()).add(name)
    return found


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    """The distributions that pyproject names, for everybody or for an extra."""
    requirements = [
        *PROJECT["dependencies"],
        *(one for extra in PROJECT["optional-dependencies"].values() for one in extra),
    ]
    return {normal(re.split(r"[\s\[;<>=!~]", requirement)[0]) for requirement in requirements}


def imported() -> Iterator[tuple[Path, str]]:
    """Every absolute import of our packages: the file, and the top-level name."""
    for package in sorted(OURS):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    yield from ((file.relative_to(ROOT), alias.name.partition(".")[0]) for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    yield file.relative_to(ROOT), (node.module or "").partition(".")[0]


def test_no_installed_distribution_brings_a_package_of_our_names() -> None:
    assert strangers(distributions()) == {}


@pytest.mark.parametrize(
    "file", ["models/__init__.py", "models.py", "services/deep/inside.py", "features.cpython-311.so"]
)
def test_a_distribution_that_did_would_be_noticed(tmp_path: Path, file: str) -> None:
    information = tmp_path / "stranger-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: Stranger\nVersion: 1.0\n")
    (information / "RECORD").write_text(f"{file},,\nstranger/models.py,,\n")
    for brought in (file, "stranger/models.py"):  # a backport that mlflow brings lists only files that are there
        (tmp_path / brought).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / brought).touch()
    assert strangers(distributions(path=[str(tmp_path)])) == {PurePath(file).parts[0].partition(".")[0]: {"stranger"}}


def test_our_packages_are_imported_from_this_checkout() -> None:
    for package in OURS:
        found = __import__(package).__file__
        assert found is not None
        assert Path(found) == ROOT / package / "__init__.py"


def test_every_package_is_built_and_there_is_no_other() -> None:
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(built["packages"]) == OURS


def test_every_distribution_that_is_imported_is_declared() -> None:
    brought_by = packages_distributions()
    undeclared = {
        f"{name} in {file}"
        for file, name in imported()
        if name not in sys.stdlib_module_names
        and name not in OURS
        and not {normal(distribution) for distribution in brought_by.get(name, [name])} & declared()
    }
    assert undeclared == set()


def test_the_imports_that_are_looked_at_are_there() -> None:
    names = {name for _, name in imported()}
    assert {"orjson", "pydantic", "numpy", "fastapi", "sqlite3", "features"} <= names
