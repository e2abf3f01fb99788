"""Trained bundles on disk: a folder each, and a file that names the one in use."""

import os
from pathlib import Path

from features.errors import UnknownName
from models.bundle import Bundle, load_bundle, save_bundle
from services.settings import Settings
from services.wiring import bundles_folder


def publish(settings: Settings, bundle: Bundle) -> Path:
    """Saves a bundle and makes it the one that servers load; its folder."""
    folder = bundles_folder(settings) / bundle.name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        save_bundle(bundle, folder)
    pointer = folder.parent / "current"
    written = pointer.with_suffix(".new")
    written.write_text(bundle.name + "\n")
    os.replace(written, pointer)
    return folder


def current_bundle(settings: Settings) -> Bundle | None:
    """The bundle in use, or None when none was ever published. Raises BundleRefused, UnknownName."""
    pointer = bundles_folder(settings) / "current"
    if not pointer.exists():
        return None
    folder = bundles_folder(settings) / pointer.read_text().strip()
    if not folder.is_dir():
        raise UnknownName(f"{pointer} names {folder.name}, which is not there; train again, or name one that is")
    return load_bundle(folder)
