"""Trained models on disk, each in a folder named by what it was trained for: its parts, and a manifest that says so."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from features.errors import BundleRefused
from features.folders import taking_the_place_of

_MANIFEST: Final = "manifest.json"


def folder_name(kind: str, identity: Mapping[str, Any]) -> str:
    """The name of the folder of a model of this identity (JSON values)."""
    return f"{kind}-{sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]}"


def save_parts(folder: Path, parts: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    """Writes all or nothing; the manifest gets the parts' digests."""
    digests = {name: sha256(content).hexdigest() for name, content in parts.items()}
    with taking_the_place_of(folder) as new:
        for name, content in parts.items():
            (new / name).write_bytes(content)
        (new / _MANIFEST).write_text(json.dumps({**manifest, "parts": digests}, indent=1))


def load_parts(folder: Path, identity: Mapping[str, Any]) -> tuple[dict[str, bytes], dict[str, Any]]:
    """(parts, manifest). Raises BundleRefused when one is missing or altered, or the model is of another identity."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        digests = dict(manifest["parts"])
        content = {name: (folder / name).read_bytes() for name in digests}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BundleRefused(f"{folder}: incomplete: {error}; remove it and train again") from None
    if any(manifest.get(name) != value for name, value in identity.items()):
        raise BundleRefused(f"{folder}: was trained for something else; remove it and train again")
    if any(sha256(content[name]).hexdigest() != digest for name, digest in digests.items()):
        raise BundleRefused(f"{folder}: a part's sha256 is not the manifest's; remove it and train again")
    return content, manifest
