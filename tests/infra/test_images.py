"""The images: well made by hadolint, small, run by nobody in particular, and of what is in the repository."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from services.settings import Settings
from tests.infra.deployed import INFRA, ROOT, check_settings, is_command, is_pinned

DOCKERFILES = [INFRA / "Dockerfile", INFRA / "Dockerfile.cuda"]


def instructions(dockerfile: Path, name: str) -> list[str]:
    """The arguments of every instruction of this name, in order."""
    text = re.sub(r"\\\n\s*", "", dockerfile.read_text())
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(dockerfile: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    said = subprocess.run([hadolint, "--no-color", dockerfile], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_has_a_version_below_two_stages_a_number_for_a_user_and_a_health(dockerfile: Path) -> None:
    stages = [line.split()[0] for line in instructions(dockerfile, "FROM")]
    assert len(stages) == 2
    assert all(is_pinned(stage) for stage in stages)
    assert instructions(dockerfile, "USER") == ["10001:10001"]
    [health] = instructions(dockerfile, "HEALTHCHECK")
    assert "http://127.0.0.1:8000/livez" in health
    assert "/opt/venv" in instructions(dockerfile, "COPY")[-1]  # the last stage has nothing but what was installed


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_what_is_copied_is_there_and_is_not_ignored(dockerfile: Path) -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in instructions(dockerfile, "COPY")[:-1]:
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists()
            assert source in kept
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(packages["packages"]) <= kept


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_serves_with_settings_that_there_are(dockerfile: Path) -> None:
    assert instructions(dockerfile, "ENTRYPOINT") == ['["tasteprint"]']
    [command] = instructions(dockerfile, "CMD")
    assert is_command(re.findall(r'"(.*?)"', command))
    given = dict(re.findall(r"(TASTEPRINT_\w+)=(\S+)", dockerfile.read_text()))
    check_settings(given)
    ports = [str(Settings.model_fields["port"].default), given["TASTEPRINT_METRICS_PORT"]]
    assert instructions(dockerfile, "EXPOSE") == [" ".join(ports)] == ["8000 9100"]


def test_the_two_differ_in_what_a_gpu_needs() -> None:
    cpu, cuda = (set(path.read_text().splitlines()) for path in DOCKERFILES)
    assert {line for line in cpu - cuda if not line.startswith("#")} == {"ARG EXTRAS=cpu,postgres"}
    assert {line.split()[0] for line in cuda - cpu if not line.startswith("#")} == {"ARG", "ENV", "RUN"}


@pytest.mark.parametrize(
    ("dockerfile", "more"),
    [("Dockerfile", "faiss-cpu"), ("Dockerfile.cuda", "faiss-gpu")],
)
def test_the_requirements_are_the_project_s_with_extras(dockerfile: str, more: str) -> None:
    [extras] = [line for line in instructions(INFRA / dockerfile, "ARG") if line.startswith("EXTRAS=")]
    command = [sys.executable, INFRA / "requirements.py", extras.removeprefix("EXTRAS=")]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["dependencies"]) < set(lines)
    assert {more, "psycopg[binary]"} <= set(lines)
    assert len(lines) == len(set(lines))
