"""Which bundle has the traffic: changed for one that ranks no worse, and changed back."""

import http.client
import shutil
import time
from dataclasses import asdict
from typing import Any

import orjson

from features.datasets import fingerprint
from features.errors import (
    BundleRefused,
    PromotionRefused,
    RegistryUnavailable,
    TasteprintError,
    UnknownName,
)
from models.bundle import Bundle
from models.promotion import Comparison, compare, held_out
from services.bundles import load
from services.jobs.loading import load_or_pull
from services.promotions import Promotion, current_name, in_use_before, journal, put_into_use
from services.settings import Settings
from services.wiring import bundles_folder, known_registry


def promote_model(
    settings: Settings,
    name: str,
    now: float,
    *,
    data: str | None = None,
    force: bool = False,
    who: str | None = None,
    wait: float = 0.0,
) -> dict[str, Any]:
    """Puts a bundle into use when it ranks no worse than the one that is; what was done.

    The candidate is loaded whole first. wait: seconds in which a server on the settings' port must answer by it.
    Raises UnknownName, BundleRefused, PromotionRefused.
    """
    start = time.perf_counter()
    candidate = _obtained(settings, name)
    current = current_name(settings)
    figures: dict[str, Any] = {}
    against = ""
    if current not in (None, name):
        try:
            figures, against = _compared(settings, current, candidate, data)
        except PromotionRefused as refused:
            against = str(refused)
        if against and not force:
            raise PromotionRefused(against)
    reason = f"forced: {against}" if against else ""
    promotion = put_into_use(
        settings, name, current, now, forced=bool(against), who=who, figures=figures, reason=reason
    )
    return _report(settings, name, promotion, start, wait)


def roll_back(settings: Settings, now: float, *, who: str | None = None, wait: float = 0.0) -> dict[str, Any]:
    """Puts the bundle into use that was before the newest promotion which was not undone; what was done.

    Raises PromotionRefused when there is none, or it can no longer be loaded.
    """
    start = time.perf_counter()
    current = current_name(settings)
    before = in_use_before(journal(settings), current)
    if not before:
        raise PromotionRefused(f"nothing was in use before {current}; `tasteprint models list` shows what there is")
    try:
        load(settings, before[0])
    except (BundleRefused, UnknownName) as error:
        raise PromotionRefused(
            f"{before[0]}, in use before {current}, can no longer be loaded: {error}; "
            "`tasteprint models promote NAME` takes another"
        ) from None
    reason = f"{current} undone"
    promotion = put_into_use(settings, before[0], current, now, rollback=True, who=who, reason=reason)
    return _report(settings, before[0], promotion, start, wait)


def _compared(settings: Settings, current: str, candidate: Bundle, data: str | None) -> tuple[dict[str, Any], str]:
    """Figures of both bundles, and what speaks against the candidate, "" when nothing does.

    Raises PromotionRefused when they cannot be compared.
    """
    named = data or candidate.manifest["data"].get("name", "")
    if not named:
        raise PromotionRefused(f"{candidate.name} does not name its data; --data does, --force goes without")
    try:
        dataset = load_or_pull(named, settings)
    except TasteprintError as error:
        if data is not None:
            raise
        raise PromotionRefused(
            f"the data of {candidate.name} is not to be had: {error}; --data names it anew, --force goes without"
        ) from None
    try:
        served = load(settings, current)
    except (UnknownName, BundleRefused) as error:
        raise PromotionRefused(
            f"{current}, which is in use, cannot be compared: {error}; --force goes without"
        ) from None
    found = compare(served, candidate, held_out(dataset.events, dataset.items), settings.explore)
    figures = {"data": named, "fingerprint": fingerprint(dataset), **_figures(found)}
    return figures, _fall(found, current, candidate.name, named) if found.falls else ""


def _figures(found: Comparison) -> dict[str, Any]:
    return {
        "users": found.served.users,
        "ndcg@10": {"from": found.served.ndcg, "to": found.candidate.ndcg},
        "hr@10": {"from": found.served.hit_rate, "to": found.candidate.hit_rate},
        "difference": asdict(found.difference),
    }


def _fall(found: Comparison, current: str, name: str, data: str) -> str:
    difference = found.difference
    return (
        f"{name} ranks worse than {current} for the {found.served.users} users held out of {data}: NDCG@10 "
        f"{found.candidate.ndcg:.4f} after {found.served.ndcg:.4f}, {difference.value:+.4f} "
        f"[{difference.low:+.4f}, {difference.high:+.4f}]; --force promotes it all the same"
    )


def _obtained(settings: Settings, name: str) -> Bundle:
    """The bundle of this name, checked whole; brought from the registry when it is not on this disk."""
    folder = bundles_folder(settings) / name
    if not folder.exists():
        registry = known_registry(settings)
        if registry is not None:
            folder.parent.mkdir(parents=True, exist_ok=True)
            registry.fetch(name, folder)
            try:
                return load(settings, name)
            except BundleRefused:
                shutil.rmtree(folder)  # so that it is fetched again, and not found here broken
                raise
    return load(settings, name)


def _report(settings: Settings, name: str, promotion: Promotion | None, start: float, wait: float) -> dict[str, Any]:
    """What was done. The alias follows last: it needs mlflow, whose import takes longer than all the rest."""
    report: dict[str, Any] = {"in_use": name, "changed": promotion is not None}
    if promotion is not None:
        report |= orjson.loads(promotion.line())
    report["seconds"] = round(time.perf_counter() - start, 3)
    if wait:
        served = _served(settings, name, wait)
        report["served_after"] = round(time.perf_counter() - start, 3) if served else None
    registry = known_registry(settings)
    if registry is not None:
        try:
            report["version"] = registry.set_served(name)
        except RegistryUnavailable as error:
            report["problem"] = f"the alias `served` stays where it was: {error}"
    return report


def _served(settings: Settings, name: str, seconds: float) -> bool:
    """Whether the server on the settings' port comes to answer by this bundle in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(settings.host, settings.port, timeout=5)
        try:
            connection.request("GET", "/v1/models")
            if orjson.loads(connection.getresponse().read()).get("in_use") == name:
                return True
        except (OSError, http.client.HTTPException, orjson.JSONDecodeError):
            pass  # it may be about to start
        finally:
            connection.close()
        time.sleep(0.1)
    return False
