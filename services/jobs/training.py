"""Fitting the counting models on a data set and publishing them as the bundle in use."""

import time
from typing import Any

from features.datasets import fingerprint
from models.bundle import train_counts
from services.bundles import publish
from services.console import progress
from services.jobs.loading import load_or_pull
from services.settings import Settings


def train_and_publish(settings: Settings, data: str, seed: int) -> dict[str, Any]:
    """Fits on every event, with weights chosen on validation events, and publishes. Raises InvalidFile, UnknownName."""
    start = time.perf_counter()
    dataset = load_or_pull(data, settings)
    with progress("fitting") as advance:
        bundle = train_counts(
            dataset.events, dataset.items, fingerprint=fingerprint(dataset), seed=seed, progress=advance
        )
    folder = publish(settings, bundle)
    return {
        "model": bundle.name,
        "data": dataset.name,
        "events": dataset.events.height,
        "folder": str(folder),
        "seconds": round(time.perf_counter() - start, 3),
    }
