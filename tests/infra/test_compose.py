"""compose.yaml: by the specification's schema, and in keeping with the code that it runs."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from features.embedded import EmbeddedServer, server_binary
from tests.infra.deployed import INFRA, ROOT, check_settings, is_command, is_pinned, read

COMPOSE = read(INFRA / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("tasteprint:")}
PROCESSES = {name: service for name, service in OURS.items() if "entrypoint" not in service}


def schema_check(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", file]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_what_the_specification_allows() -> None:
    said = schema_check(INFRA / "compose.yaml")
    assert said.returncode == 0, said.stdout


def test_what_the_specification_does_not_allow_is_noticed(tmp_path: Path) -> None:
    wrong = COMPOSE | {"services": {"api": {"image": "tasteprint:0.1.0", "port": ["8000:8000"]}}}
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(wrong))
    assert schema_check(tmp_path / "compose.yaml").returncode == 1


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_of_a_version_restarts_logs_within_bounds_and_says_how_it_is(name: str) -> None:
    service = SERVICES[name]
    assert is_pinned(service["image"].removesuffix("-ray"))
    assert service["restart"] == "unless-stopped"
    assert service["logging"]["options"]["max-size"]
    assert "healthcheck" in service or name == "api"  # whose image has one


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_this_machine_s_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_and_waited_for_is_there(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        source, target, *_ = mount.split(":")
        assert (INFRA / source).is_dir() if source.startswith(".") else source in COMPOSE["volumes"]
        assert target.startswith("/")
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert "healthcheck" in SERVICES[other]


@pytest.mark.parametrize("name", SERVICES)
def test_a_password_is_taken_from_outside(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if "PASSWORD" in variable or ("@" in str(value) and "://" in str(value)):
            assert re.search(r"\$\{\w+", str(value)), variable


@pytest.mark.parametrize("name", OURS)
def test_a_container_of_ours_may_do_nothing_but_its_work(name: str) -> None:
    service = OURS[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_runs_a_command_that_there_is_with_settings_that_there_are(name: str) -> None:
    service = PROCESSES[name]
    assert is_command(service["command"])
    check_settings(service["environment"])
    for variable in ("TASTEPRINT_LOG", "TASTEPRINT_REDIS_URL", "TASTEPRINT_MLFLOW_URI"):
        [host] = re.findall(r"//(\w+):", service["environment"][variable])
        assert host in SERVICES


@pytest.mark.parametrize("name", sorted(PROCESSES.keys() - {"api"}))
def test_a_worker_is_asked_where_it_answers(name: str) -> None:
    assert "http://127.0.0.1:9100/livez" in PROCESSES[name]["healthcheck"]["test"][-1]
    assert "TASTEPRINT_METRICS_PORT=9100" in (INFRA / "Dockerfile").read_text()


def test_images_of_ours_are_built_from_this_repository() -> None:
    built = [service["build"] for service in OURS.values() if "build" in service]
    assert {service["image"] for service in OURS.values() if "build" in service} == {
        service["image"] for service in OURS.values()
    }
    for build in built:
        assert (INFRA / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()


def test_the_store_has_the_options_of_the_embedded_one(home: Path, tmp_path: Path) -> None:
    manifest = next(yaml.safe_load_all((INFRA / "kubernetes" / "components" / "stores" / "valkey.yaml").read_text()))
    [container] = manifest["spec"]["template"]["spec"]["containers"]
    command = SERVICES["valkey"]["command"]
    assert container["args"] == command
    names = [option.removeprefix("--") for option in command if option.startswith("--")]
    socket = tmp_path / "own.sock"
    own = [server_binary(), *command[1:], "--port", "0", "--unixsocket", socket, "--dir", tmp_path]
    with EmbeddedServer(home) as embedded, subprocess.Popen(own, stdout=subprocess.DEVNULL) as started:
        try:
            with redis.Redis(unix_socket_path=str(socket)) as ours, redis.Redis.from_url(embedded.url) as theirs:
                wait_until_it_answers(ours)
                assert ours.config_get(*names) == theirs.config_get(*names)
        finally:
            started.terminate()


def wait_until_it_answers(client: "redis.Redis") -> None:
    retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 100)
    retry.call_with_retry(client.ping, lambda error: None)
