"""The Ray cluster file: by Ray's own schema where Ray is installed, and of images that there are."""

import json
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest

from tests.infra.deployed import INFRA, is_pinned, read

CLUSTER = read(INFRA / "ray-cluster.yaml")


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: the extra `scale` brings it, and this runs")
def test_it_is_what_ray_takes() -> None:
    ray = find_spec("ray")
    assert ray is not None
    assert ray.origin is not None
    jsonschema.validate(CLUSTER, json.loads((Path(ray.origin).parent / "autoscaler" / "ray-schema.json").read_text()))


def test_its_machines_are_examples_and_run_an_image_of_a_version() -> None:
    machines = [CLUSTER["provider"]["head_ip"], *CLUSTER["provider"]["worker_ips"]]
    assert all(machine.startswith("192.0.2.") for machine in machines)  # RFC 5737: nobody's
    assert is_pinned(CLUSTER["docker"]["image"].removesuffix("-cuda-ray"))


def test_workers_find_the_head_where_it_listens() -> None:
    ports = ["--port=6379", "--include-dashboard=false"]
    assert all(option in CLUSTER["head_start_ray_commands"][-1] for option in ports)
    assert "$RAY_HEAD_IP:6379" in CLUSTER["worker_start_ray_commands"][-1]
    ray = read(INFRA / "compose.yaml")["services"]
    assert all(option in ray["ray"]["command"] for option in ports)
    assert "--address=ray:6379" in ray["worker"]["command"]
