"""Pictures of what was measured, drawn without a display."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ranking(report: Mapping[str, Any]) -> "Figure":
    """NDCG@10 of each model of an evaluation's report, the best on top, with its interval where there is one."""
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells at length of the fonts that it finds
    from matplotlib.figure import Figure

    models = sorted(report["models"].items(), key=lambda model: model[1]["ndcg@10"])
    figure = Figure(figsize=(7, 0.8 + 0.4 * len(models)), layout="constrained")
    axes = figure.subplots()
    for place, (_, measures) in enumerate(models):
        value = measures["ndcg@10"]
        low, high = measures.get("ndcg@10_low", value), measures.get("ndcg@10_high", value)
        axes.errorbar(value, place, xerr=[[max(value - low, 0.0)], [max(high - value, 0.0)]], fmt="o", capsize=4)
    axes.set_yticks(range(len(models)), [name for name, _ in models])
    axes.set_xlabel("NDCG@10, with 95 % of a bootstrap over users")
    axes.grid(axis="x", alpha=0.3)
    return figure
