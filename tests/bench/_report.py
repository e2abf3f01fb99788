"""What every benchmark prints: product, peer and their ratio, measured in one run with the sides alternated."""

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

CHECKOUT = Path(__file__).parents[2]


Figures = Callable[[], tuple[float, ...]]


def alternate(product: Figures, peer: Figures, rounds: int) -> tuple[list[float], list[float]]:
    """The medians of both sides' figures, measured in turn so that what disturbs the machine disturbs both."""
    products, peers = [], []
    for _ in range(rounds):
        products.append(product())
        peers.append(peer())
    return _medians(products), _medians(peers)


def _medians(rounds: Sequence[tuple[float, ...]]) -> list[float]:
    return [statistics.median(figures) for figures in zip(*rounds, strict=True)]


def measure(unit: str, product: float, peer: float | None = None, peer_is: str | None = None) -> dict[str, Any]:
    """One measure; ratio = product / peer."""
    ratio = None if peer is None else round(product / peer, 4)
    return {
        "unit": unit,
        "product": round(product, 4),
        "peer": None if peer is None else round(peer, 4),
        "ratio": ratio,
        "peer_is": peer_is,
    }


def print_report(bench: str, measures: dict[str, Any], **more: Any) -> None:
    """JSON with --json, else a line a measure."""
    report = {"bench": bench, "commit": _commit(), "machine": _machine(), "measures": measures, **more}
    if "--json" in sys.argv:
        sys.stdout.write(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    for name, one in measures.items():
        peer = "" if one["peer"] is None else f"  peer {one['peer']:g} ({one['peer_is']})  ratio {one['ratio']:g}"
        print(f"{bench} {name}: {one['product']:g} {one['unit']}{peer}")


def say(text: str) -> None:
    """Progress, for a person who waits."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def _commit() -> str:
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "unknown"


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
