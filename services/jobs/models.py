"""The bundles there are: registered, on disk, in use."""

from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from services.bundles import manifest_of, names
from services.console import out, print_json
from services.promotions import current_name
from services.settings import Settings
from services.wiring import known_registry


def list_models(settings: Settings, *, json: bool) -> None:
    """Prints every bundle that is registered or on disk. Raises RegistryUnavailable."""
    in_use = current_name(settings)
    models = _models(settings, in_use)
    if json:
        print_json({"in_use": in_use, "models": models})
        return
    table = Table(box=None)
    for column in ("version", "name", "data", "NDCG@10", "HR@10", ""):
        table.add_column(column, overflow="fold", no_wrap=column != "data")  # a name is for copying: never cut
    for model in models:
        table.add_row(
            str(model["version"] or "none"),
            model["name"],
            model["data"],
            *(f"{model['metrics'][name]:.4f}" if name in model["metrics"] else "" for name in ("ndcg@10", "hr@10")),
            "in use" if model["in_use"] else "" if model["on_disk"] else "not here",
        )
    out.print(table)


def _models(settings: Settings, in_use: str | None) -> list[dict[str, Any]]:
    """Registered versions, oldest first, and after them what is only on disk."""
    registry = known_registry(settings)
    versions = [] if registry is None else registry.versions()
    on_disk = names(settings)
    models = [
        {
            "version": version.version,
            "name": version.name,
            "in_use": version.name == in_use,
            "on_disk": version.name in on_disk,
            "kind": version.tags["kind"],
            "fit": version.tags["fit"],
            "data": version.tags["data"],
            "fingerprint": version.tags["fingerprint"],
            "registered": datetime.fromtimestamp(version.registered, UTC).isoformat(timespec="seconds"),
            "run": version.run,
            "metrics": dict(version.metrics),
        }
        for version in versions
    ]
    registered = {version.name for version in versions}
    return models + [_unregistered(settings, name, in_use) for name in on_disk if name not in registered]


def _unregistered(settings: Settings, name: str, in_use: str | None) -> dict[str, Any]:
    manifest = manifest_of(settings, name)
    data = manifest.get("data", {})
    return {
        "version": None,
        "name": name,
        "in_use": name == in_use,
        "on_disk": True,
        "kind": manifest.get("kind", "unreadable"),
        "fit": manifest.get("fit", ""),
        "data": data.get("name", ""),
        "fingerprint": data.get("fingerprint", ""),
        "registered": None,
        "run": None,
        "metrics": {},
    }
