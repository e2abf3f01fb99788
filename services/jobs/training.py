"""Fitting the counting models on a data set and registering them as a bundle."""

import time
from dataclasses import asdict
from typing import Any

from features.datasets import Dataset, fingerprint
from features.errors import PromotionRefused
from models.bundle import Bundle, train_counts
from models.card import card, sizes_of
from models.counts.fitting import CountsConfig
from models.promotion import Figures, figures, held_out, ranks_of
from services.bundles import save
from services.console import progress
from services.jobs.loading import lasting_name, load_or_pull
from services.jobs.promoting import promote_model
from services.jobs.recording import recorded
from services.promotions import current_name
from services.settings import Settings


def train_and_register(settings: Settings, data: str, seed: int, *, promote: bool = False) -> dict[str, Any]:
    """Fits all but the held-out events, with weights chosen on validation events, and registers the bundle.

    It is put into use when nothing is, and, with `promote`, when it ranks no worse than what is. Raises InvalidFile,
    UnknownName, RegistryUnavailable, PromotionRefused.
    """
    start = time.perf_counter()
    dataset = load_or_pull(data, settings)
    mark, config = fingerprint(dataset), CountsConfig()
    parameters = {"seed": seed, "fit": "serve", "config": asdict(config)}
    with recorded(settings, "train counts", dataset.name, dataset, mark, parameters) as run:
        with progress("fitting") as advance:
            bundle = train_counts(
                dataset.events,
                dataset.items,
                fingerprint=mark,
                data_name=lasting_name(data, settings),
                config=config,
                seed=seed,
                progress=advance,
            )
        folder = save(settings, bundle)
        reached = _measured(bundle, dataset, settings)
        measures = {} if reached is None else {"ndcg@10": reached.ndcg, "hr@10": reached.hit_rate}
        seconds = time.perf_counter() - start
        run.metrics({**measures, "seconds": seconds})
        run.report("manifest", bundle.manifest)
        version = run.register(folder, card(bundle.manifest, sizes_of(folder), reached), measures)
    report = {
        "model": bundle.name,
        "version": version,
        "data": dataset.name,
        "events": dataset.events.height,
        "folder": str(folder),
        "seconds": round(seconds, 3),
        **measures,
    }
    in_use = current_name(settings)
    if in_use not in (None, bundle.name) and not promote:
        return report | {"in_use": in_use, "next": f"tasteprint models promote {bundle.name}"}
    promoted = promote_model(settings, bundle.name, time.time())
    return report | {"in_use": promoted["in_use"]}


def _measured(bundle: Bundle, dataset: Dataset, settings: Settings) -> Figures | None:
    try:
        task = held_out(dataset.events, dataset.items)
    except PromotionRefused:
        return None  # too small to be measured, and none the worse to serve
    return figures(ranks_of(bundle, task, settings.explore))
