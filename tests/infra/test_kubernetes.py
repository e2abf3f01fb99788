"""The Kustomize tree: by the schemas of Kubernetes, and in keeping with the code that it runs."""

import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from services.encode import GROUP as ENCODE
from services.ingesting import GROUP as INGEST
from streaming.log import Stream
from tests.infra.deployed import INFRA, check_query, check_settings, is_command, is_pinned
from tests.infra.kustomize import Resource, containers, pods, render

KUBERNETES = "1.34"  # which has everything that is used, and is older than what most run
TREE = INFRA / "kubernetes"
OVERLAYS = ["trial", "production"]

# What of KEDA's objects is used: its own definition is no part of Kubernetes'.
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
SCALED_OBJECT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "keda.sh/v1alpha1"},
        "kind": {"const": "ScaledObject"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["scaleTargetRef", "triggers"],
            "properties": {
                "scaleTargetRef": {"type": "object", "required": ["name"], "properties": {"name": _TEXT}},
                "minReplicaCount": _COUNT,
                "maxReplicaCount": _COUNT,
                "cooldownPeriod": _COUNT,
                "pollingInterval": _COUNT,
                "advanced": {"type": "object"},
                "triggers": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["type", "metadata"],
                        "properties": {
                            "type": {"enum": ["kafka", "prometheus", "cpu"]},
                            "metricType": {"enum": ["AverageValue", "Value", "Utilization"]},
                            "metadata": {"type": "object", "additionalProperties": _TEXT},
                        },
                    },
                },
            },
        },
    },
}


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> list[Resource]:
    return render(TREE / "overlays" / request.param)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[Resource]:
    """The base with every component."""
    folder = tmp_path_factory.mktemp("everything")
    components = [str(path) for path in sorted((TREE / "components").iterdir())]
    said = {"kind": "Kustomization", "resources": [str(TREE / "base")], "components": components}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(said))
    return render(folder)


def by_kind(resources: list[Resource], kind: str) -> list[Resource]:
    return [one for one in resources if one["kind"] == kind]


def ours(resources: list[Resource]) -> list[tuple[str, Resource]]:
    """What runs processes of Tasteprint."""
    return [
        (name, template)
        for name, template in pods(resources)
        if template["metadata"]["labels"].get("app.kubernetes.io/part-of") == "tasteprint"
    ]


def check(resource: Resource) -> None:
    if resource["kind"] == "ScaledObject":
        jsonschema.validate(resource, SCALED_OBJECT)
    else:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_an_overlay_is_what_kubernetes_takes(overlay: list[Resource]) -> None:
    for resource in overlay:
        check(resource)


def test_so_is_everything_together(everything: list[Resource]) -> None:
    for resource in everything:
        check(resource)


def test_what_kubernetes_does_not_take_is_noticed(overlay: list[Resource]) -> None:
    [deployment] = [one for one in by_kind(overlay, "Deployment") if one["metadata"]["name"] == "api"]
    spec = deployment["spec"]["template"]["spec"]
    template = deployment["spec"]["template"] | {"spec": spec | {"container": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        check(deployment | {"spec": deployment["spec"] | {"template": template}})


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on the path: with it this runs")
@pytest.mark.parametrize("name", OVERLAYS)
def test_kustomize_itself_renders_the_same(name: str) -> None:
    folder = TREE / "overlays" / name
    said = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True).stdout
    theirs = list(yaml.safe_load_all(said))
    hashed = {one["metadata"]["name"] for one in by_kind(theirs, "ConfigMap")}
    for whole in hashed:  # a hash of its content ends the name of a generated one
        said = said.replace(whole, whole.rpartition("-")[0])
    assert _named(yaml.safe_load_all(said)) == _named(render(folder))


def _named(resources: Iterable[Resource]) -> dict[tuple[str, str], Resource]:
    return {(one["kind"], one["metadata"]["name"]): one for one in resources}


def test_every_file_of_the_tree_is_in_use() -> None:
    used = {TREE / "base", *(TREE / "components").iterdir(), *(TREE / "overlays").iterdir()}
    for folder in used:
        said = yaml.safe_load((folder / "kustomization.yaml").read_text())
        files = {path.name for path in folder.iterdir()} - {"kustomization.yaml"}
        assert files == {name for name in said.get("resources", []) if name.endswith(".yaml")}


def test_pods_have_no_rights_and_bounded_memory(everything: list[Resource]) -> None:
    for _, template in pods(everything):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]
    for name, template in ours(everything):
        assert all(one["securityContext"]["readOnlyRootFilesystem"] for one in template["spec"]["containers"]), name


def test_images_are_of_a_version(everything: list[Resource], overlay: list[Resource]) -> None:
    assert all(is_pinned(container["image"]) for container in [*containers(everything), *containers(overlay)])


def test_processes_run_commands_that_there_are_with_settings_that_there_are(
    everything: list[Resource], overlay: list[Resource]
) -> None:
    for _, template in ours(everything):
        [container] = template["spec"]["containers"]
        assert is_command(container["args"])
        assert container["envFrom"][0] == {"configMapRef": {"name": "tasteprint"}}
        assert container["envFrom"][1] == {"secretRef": {"name": "tasteprint", "optional": True}}
    for config in [*by_kind(everything, "ConfigMap"), *by_kind(overlay, "ConfigMap")]:
        if config["metadata"]["name"] == "tasteprint":
            check_settings(config["data"])


def test_long_running_processes_are_probed_where_they_answer(everything: list[Resource], routes: set[str]) -> None:
    for name, template in ours(everything):
        [container] = template["spec"]["containers"]
        if name == "summarize":
            continue  # it ends
        [port] = container["ports"]
        is_api = name == "api"
        assert (port["name"], port["containerPort"]) == (("http", 8000) if is_api else ("metrics", 9100))
        assert template["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"])
        for probe in ("startupProbe", "livenessProbe"):
            assert container[probe]["httpGet"] == {"path": "/livez", "port": port["name"]}
        assert container.get("readinessProbe", {}).get("httpGet", {}).get("path") == ("/readyz" if is_api else None)
    assert {"/livez", "/readyz", "/metrics"} <= routes


def test_a_budget_keeps_all_but_one_of_each_from_being_disturbed(everything: list[Resource]) -> None:
    budgets = by_kind(everything, "PodDisruptionBudget")
    for name, template in ours(everything):
        selected = [one for one in budgets if selects(one["spec"]["selector"], template)]
        assert [one["spec"]["maxUnavailable"] for one in selected] == ([] if name == "summarize" else [1])


def selects(selector: dict[str, Any], template: Resource) -> bool:
    return selector.get("matchLabels", {}).items() <= template["metadata"]["labels"].items()


def test_services_and_policies_select_pods_and_ports_that_there_are(everything: list[Resource]) -> None:
    templates = dict(pods(everything))
    for service in by_kind(everything, "Service"):
        [template] = [one for one in templates.values() if selects({"matchLabels": service["spec"]["selector"]}, one)]
        names = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names
    for policy in by_kind(everything, "NetworkPolicy"):
        selected = [one for one in templates.values() if selects(policy["spec"]["podSelector"], one)]
        assert selected
        open_ports = {port["port"] for rule in policy["spec"].get("ingress", []) for port in rule["ports"]}
        there = {port["containerPort"] for one in selected for port in one["spec"]["containers"][0].get("ports", [])}
        assert open_ports <= there


def test_nothing_goes_in_or_out_unless_it_is_said(everything: list[Resource]) -> None:
    [default] = [one["spec"] for one in by_kind(everything, "NetworkPolicy") if not one["spec"]["podSelector"]]
    assert default["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in default
    assert {port["port"] for rule in default["egress"] for port in rule["ports"]} == {53}


def test_volumes_and_configurations_are_there(everything: list[Resource]) -> None:
    claims = {one["metadata"]["name"] for one in by_kind(everything, "PersistentVolumeClaim")}
    configs = {one["metadata"]["name"] for one in by_kind(everything, "ConfigMap")}
    for _, template in pods(everything):
        volumes = {volume["name"]: volume for volume in template["spec"].get("volumes", [])}
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
        for container in template["spec"]["containers"]:
            assert {
                one["configMapRef"]["name"] for one in container.get("envFrom", []) if "configMapRef" in one
            } <= configs
            assert {mount["name"] for mount in container["volumeMounts"]} <= {*volumes, "data"}


def test_no_secret_is_in_the_tree(everything: list[Resource]) -> None:
    assert not by_kind(everything, "Secret")
    assert "@" not in "".join(value for one in by_kind(everything, "ConfigMap") for value in one["data"].values())


def test_what_scales_is_there_and_leaves_the_number_to_the_scaler(everything: list[Resource]) -> None:
    deployments = {one["metadata"]["name"]: one for one in by_kind(everything, "Deployment")}
    for scaled in by_kind(everything, "ScaledObject"):
        assert "replicas" not in deployments[scaled["spec"]["scaleTargetRef"]["name"]]["spec"]
        assert scaled["spec"]["minReplicaCount"] <= scaled["spec"]["maxReplicaCount"]


def test_scaling_asks_the_brokers_and_the_series_that_there_are(overlay: list[Resource]) -> None:
    [config] = [one for one in by_kind(overlay, "ConfigMap") if one["metadata"]["name"] == "tasteprint"]
    servers, _, topics = config["data"]["TASTEPRINT_LOG"].removeprefix("kafka://").partition("/")
    name, _, given = topics.partition("?")
    partitions = int(dict(one.split("=") for one in given.split("&"))["partitions"])
    groups = {"ingest": INGEST, "encode": ENCODE}
    for scaled in by_kind(overlay, "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            said = trigger["metadata"]
            if trigger["type"] == "prometheus":
                check_query(said["query"])
            elif trigger["type"] == "kafka":
                assert said["bootstrapServers"] == servers
                assert said["topic"] == f"{name}.{Stream.EVENTS}"
                assert said["consumerGroup"] == f"{name}.{groups[scaled['metadata']['name']]}.{Stream.EVENTS}"
                assert scaled["spec"]["maxReplicaCount"] <= partitions
