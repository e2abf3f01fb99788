"""A bundle: fitted, saved, measured on the users held out for that, registered, and put into use where nothing is."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from features.datasets import Dataset, fingerprint
from features.errors import PromotionRefused
from models.bundle import Bundle
from models.card import card, sizes_of
from models.promotion import Figures, figures, held_out, ranks_of
from services.bundles import save
from services.console import Advance, progress
from services.jobs.loading import load_or_pull
from services.jobs.promoting import promote_model
from services.jobs.recording import recorded
from services.promotions import current_name
from services.settings import Settings


def register(
    settings: Settings,
    data: str,
    experiment: str,
    parameters: Mapping[str, Any],
    fit: Callable[[Dataset, str, Advance], Bundle],
    said: Callable[[Bundle], Mapping[str, Any]],
    *,
    promote: bool = False,
) -> dict[str, Any]:
    """Fits as one run of the experiment; what was made, said in a report.

    fit: makes the bundle of a data set and its fingerprint. said: what else to report of it. The bundle is put into use
    when nothing is, and, with `promote`, when it ranks no worse than what is. Raises InvalidFile, UnknownName,
    RegistryUnavailable, PromotionRefused, and what `fit` raises.
    """
    start = time.perf_counter()
    dataset = load_or_pull(data, settings)
    mark = fingerprint(dataset)
    with recorded(settings, experiment, dataset.name, dataset, mark, parameters) as run:
        with progress("fitting") as advance:
            bundle = fit(dataset, mark, advance)
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
        **said(bundle),
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
