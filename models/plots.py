"""Pictures of what was measured, drawn without a display."""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
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


def curves(values: Mapping[str, Sequence[float]]) -> "Figure":
    """A training's loss, and beside it its validation NDCG@10 when there is one, by epoch from 1."""
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    from matplotlib.figure import Figure

    drawn = {name: curve for name, curve in values.items() if curve}
    figure = Figure(figsize=(4.5 * max(len(drawn), 1), 3.2), layout="constrained")
    for axes, (name, curve) in zip(
        figure.subplots(1, max(len(drawn), 1), squeeze=False)[0], drawn.items(), strict=False
    ):
        axes.plot(range(1, len(curve) + 1), curve)
        axes.set_xlabel("epoch")
        axes.set_title(name if name == "loss" else f"validation {name.upper()}")
        axes.grid(alpha=0.3)
    return figure


def accuracies(report: Mapping[str, Any]) -> "Figure":
    """Accuracy against the input tokens of a question, of each arm of an evaluation by questions, with its interval;
    guesses as lines."""
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    colours = {
        arm: colormaps["tab20"](place % 20) for place, arm in enumerate(dict.fromkeys(map(_own, report["arms"])))
    }
    beside: Counter[int] = Counter()
    for arm, found in report["arms"].items():
        one, tokens = found["accuracy"], found["tokens"]
        if not tokens:
            axes.axhline(one["value"], color="grey", linestyle="--" if arm == "chance" else ":", label=arm)
            continue
        place = round(10 * math.log10(tokens))
        shown = tokens * 1.03 ** beside[place]  # beside those of as many, or intervals would hide intervals
        beside[place] += 1
        axes.errorbar(
            shown,
            one["value"],
            yerr=[[max(one["value"] - one["low"], 0.0)], [max(one["high"] - one["value"], 0.0)]],
            fmt="s" if arm.startswith(("text", "no-user", "zero-shot")) else "^" if arm.startswith("constant") else "o",
            color=colours[_own(arm)],
            markerfacecolor="none" if _own(arm) != arm else None,
            capsize=3,
            label=arm,
        )
    axes.set_xscale("log")
    axes.set_xlabel("input tokens of a question; those of about as many stand beside each other")
    axes.set_ylabel("accuracy, with 95 % of a bootstrap over users")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    return figure


def _own(arm: str) -> str:
    """The arm that is fed with another's past, as it is with its own."""
    return arm.partition(" of another")[0]


def latencies(report: Mapping[str, Any]) -> "Figure":
    """How many times what the model alone takes a request of each arm takes, by the tokens of its user's history."""
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for place, (arm, found) in enumerate(report["arms"].items()):
        if found.get("latency"):
            tokens, ratios = [*map(int, found["latency"])], [one["ratio"] for one in found["latency"].values()]
            axes.plot(tokens, ratios, marker="o", color=colormaps["tab20"](place % 20), label=arm)
    axes.set_xscale("symlog", linthresh=128)
    axes.set_yscale("log")
    axes.set_xlabel("tokens of the history in words")
    axes.set_ylabel("latency of a request, of the frozen model's without a history")
    axes.grid(alpha=0.3)
    if axes.lines:
        figure.legend(loc="outside right upper", fontsize="small")
    return figure


def scaling(points: Sequence[Mapping[str, Any]]) -> "Figure":
    """Accuracy against an encoder's parameters, a line for each length of history."""
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for place, length in enumerate(sorted({point["length"] for point in points})):
        some = sorted((one for one in points if one["length"] == length), key=lambda one: one["parameters"])
        values = [one["accuracy"]["value"] for one in some]
        below = [max(one["accuracy"]["value"] - one["accuracy"]["low"], 0.0) for one in some]
        above = [max(one["accuracy"]["high"] - one["accuracy"]["value"], 0.0) for one in some]
        shift = 1.02**place  # beside each other, or intervals would hide intervals
        sizes = [one["parameters"] * shift for one in some]
        axes.errorbar(sizes, values, yerr=[below, above], fmt="o-", capsize=3, label=f"{length} events")
    axes.set_xscale("log")
    axes.set_xlabel("parameters of the encoder")
    axes.set_ylabel("accuracy")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
