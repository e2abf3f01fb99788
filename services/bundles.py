"""Trained bundles on disk: a folder each, beside the file that names the one in use."""

import time
from pathlib import Path
from typing import Any

import orjson

from features.errors import BundleRefused, UnknownName
from models.bundle import Bundle, load_bundle, save_bundle
from services.promotions import current_name, put_into_use
from services.settings import Settings
from services.wiring import bundles_folder


def save(settings: Settings, bundle: Bundle) -> Path:
    """The bundle's folder, written unless it is there already: a name stands for one content."""
    folder = bundles_folder(settings) / bundle.name
    if not folder.exists():
        save_bundle(bundle, folder)
    return folder


def publish(settings: Settings, bundle: Bundle) -> Path:
    """Saves a bundle and puts it into use, compared with nothing; its folder."""
    folder = save(settings, bundle)
    reason = "published without a comparison"
    put_into_use(settings, bundle.name, current_name(settings), time.time(), forced=True, reason=reason)
    return folder


def names(settings: Settings) -> list[str]:
    """Every bundle that is on disk, oldest first."""
    manifests = bundles_folder(settings).glob("[!.]*/manifest.json")
    return [path.parent.name for path in sorted(manifests, key=lambda path: (path.stat().st_mtime_ns, path))]


def load(settings: Settings, name: str) -> Bundle:
    """The bundle of this name, checked whole. Raises UnknownName, BundleRefused."""
    folder = bundles_folder(settings) / name
    if Path(name).name != name or not folder.is_dir():
        raise UnknownName(f"no bundle {name!r} in {folder.parent}; `tasteprint models list` names those that are")
    bundle = load_bundle(folder)
    if bundle.name != name:
        raise BundleRefused(f"{folder}: it holds {bundle.name}; a bundle's folder has its name")
    return bundle


def manifest_of(settings: Settings, name: str) -> dict[str, Any]:
    """What a bundle says of itself, unchecked; {} when it cannot be read."""
    try:
        manifest = orjson.loads((bundles_folder(settings) / name / "manifest.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def current_bundle(settings: Settings) -> Bundle | None:
    """The bundle in use, None when none was ever. Raises BundleRefused, UnknownName."""
    name = current_name(settings)
    return None if name is None else load(settings, name)
