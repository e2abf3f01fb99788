"""As much of Kustomize as the tree uses, for machines without it: resources, components, patches, settings.

What it does not know it refuses. Where kubectl is at hand, a test compares the two.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from re import fullmatch
from typing import Any

import yaml

Resource = dict[str, Any]

_KEYS = {
    "apiVersion",
    "kind",
    "resources",
    "components",
    "namespace",
    "configMapGenerator",
    "patches",
}


def render(folder: Path) -> list[Resource]:
    """The resources of a Kustomization, or of a component on its own."""
    said = yaml.safe_load((folder / "kustomization.yaml").read_text())
    resources: list[Resource] = []
    _take(folder, said, resources)
    return resources


def _take(folder: Path, said: dict[str, Any], resources: list[Resource]) -> None:
    """Adds what a kustomization.yaml says to the resources that there are; a component changes those too."""
    assert said.keys() <= _KEYS, f"{folder}: {said.keys() - _KEYS} is not looked at"
    own: list[Resource] = resources if said["kind"] == "Component" else []
    for name in said.get("resources", []):
        path = folder / name
        own += render(path) if path.is_dir() else _read(path)
    for name in said.get("components", []):
        component = yaml.safe_load((folder / name / "kustomization.yaml").read_text())
        assert component["kind"] == "Component", f"{name} is no component"
        _take(folder / name, component, own)
    for generated in said.get("configMapGenerator", []):
        _generate(generated, own)
    for patch in said.get("patches", []):
        _patch(patch, own)
    if "namespace" in said:
        for resource in own:
            if resource["kind"] != "Namespace":
                resource["metadata"]["namespace"] = said["namespace"]
    names = [(one["kind"], one["metadata"]["name"]) for one in own]
    assert len(names) == len(set(names)), f"{folder}: something is there twice"
    if own is not resources:
        resources += own


def _read(path: Path) -> list[Resource]:
    """A file's resources, each part a copy of its own where an alias has it twice."""
    return [json.loads(json.dumps(one)) for one in yaml.safe_load_all(path.read_text())]


def _generate(said: dict[str, Any], resources: list[Resource]) -> None:
    assert said.keys() <= {"name", "literals", "behavior"}
    values = dict(literal.split("=", 1) for literal in said["literals"])
    if said.get("behavior") == "merge":
        [there] = [one for one in resources if (one["kind"], one["metadata"]["name"]) == ("ConfigMap", said["name"])]
        there["data"] |= values
    else:
        resources.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": said["name"]}, "data": values},
        )


def _patch(said: dict[str, Any], resources: list[Resource]) -> None:
    target = said["target"]
    found = [
        one for one in resources if one["kind"] == target["kind"] and fullmatch(target["name"], one["metadata"]["name"])
    ]
    assert found, f"nothing is {target}"
    for resource in found:
        for operation in yaml.safe_load(said["patch"]):
            _apply(deepcopy(operation), resource)


def _apply(operation: dict[str, Any], resource: Resource) -> None:
    """RFC 6902."""
    *path, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    at: Any = resource
    for part in path:
        at = at[int(part)] if isinstance(at, list) else at[part]
    if operation["op"] == "remove":
        del at[last]
    else:
        assert operation["op"] == "add" or last in at, f"there is no {operation['path']} to replace"
        at[last] = operation["value"]


def pods(resources: list[Resource]) -> Iterator[tuple[str, Resource]]:
    """What runs pods, by its name, and the pods' template."""
    for resource in resources:
        if resource["kind"] in ("Deployment", "StatefulSet"):
            yield resource["metadata"]["name"], resource["spec"]["template"]
        elif resource["kind"] == "CronJob":
            yield resource["metadata"]["name"], resource["spec"]["jobTemplate"]["spec"]["template"]


def containers(resources: list[Resource]) -> Iterator[Resource]:
    for _, template in pods(resources):
        yield from template["spec"]["containers"]
