"""Exporting and erasing one user from the command line, and taking weight updates back."""

import time
from dataclasses import asdict
from threading import Event as Signal
from typing import Any

import orjson

from features.errors import LogUnavailable
from features.events import UserId, encode_event
from features.profile import Position, UserSummary
from services.erasing import erase
from services.ingesting import GROUP
from services.settings import Settings
from services.wiring import backends
from streaming.ingest import follow, into_profiles
from streaming.log import Stream


def export_user(settings: Settings, user: str) -> dict[str, Any]:
    """What the profile store keeps about a user, ready for JSON."""
    with backends(settings) as opened:
        [(history, said)] = opened.patient.read_with_summaries([UserId(user)])
        vectors = opened.patient.vectors(UserId(user))
        prompts = opened.patient.soft_prompts(UserId(user))
        updates = [stored.update for stored in opened.patient.updates(UserId(user)) if stored.update is not None]
    return {
        "user_id": user,
        "as_of": None if history.as_of is None else str(history.as_of),
        "events": [orjson.Fragment(encode_event(event)) for event in history.events],
        "items_seen": sorted(history.seen),
        "vectors": [
            {"model": vector.model, "as_of": str(vector.as_of), "dimensions": len(vector.vector_D)}
            for vector in vectors
        ],
        "soft_prompts": [
            {"model": prompt.model, "as_of": str(prompt.as_of), "shape": prompt.vectors_KD.shape} for prompt in prompts
        ],
        "updates": [{"model": one.model, "as_of": str(one.as_of), "bytes": len(one.state)} for one in updates],
        "summaries": {kind: [_described(version) for version in said.of(kind).versions] for kind in said.kinds},
        "corrections": [asdict(correction) for correction in said.corrections],
    }


def _described(version: UserSummary) -> dict[str, Any]:
    return asdict(version) | {"as_of": str(version.as_of)}


def erase_user(settings: Settings, user: str, now: float) -> dict[str, Any]:
    """Erases a user; where no ingest runs to apply the order, applies it here. Returns what was erased."""
    with backends(settings) as opened:
        report = erase(UserId(user), opened.patient, opened.log, opened.dead_letters, now)
        try:
            consumer = opened.log.consumer(Stream.EVENTS, GROUP)
        except LogUnavailable:
            return report | {"applied_by": "the running ingest"}
        try:
            prepare = into_profiles(opened.patient, opened.dead_letters, time.time)
            follow(consumer, prepare, opened.patient, GROUP, Signal(), until_end=True)
            is_here = Position.parse(report["position"]).partition in consumer.partitions
        finally:
            consumer.close()
        if opened.owns_store:
            while not opened.patient.rewrite_append_only_file():
                time.sleep(0.02)
            while opened.patient.rewriting():
                time.sleep(0.02)
    return report | {"applied_by": "this command" if is_here else "the running ingest"}


def reset_updates(settings: Settings, user: str | None) -> dict[str, Any]:
    """Takes a user, or everybody where none is named, back to the frozen language model."""
    with backends(settings) as opened:
        if user is None:
            return {"users": "all", "resets": opened.patient.reset_all_updates()}
        return {"user_id": user, "reset": opened.patient.reset_updates(UserId(user))}
