"""The evaluation of P5, as a table for people or JSON for machines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.table import Table

from features.datasets import fingerprint
from models.p5.config import P5Config
from models.p5.grading import main_measure
from models.p5.templates import Task
from services.console import out, print_json, progress
from services.jobs.loading import load_or_pull
from services.jobs.recording import recorded
from services.jobs.training_p5 import embedder_for, p5_store
from services.settings import Settings


def evaluate_p5_and_report(
    settings: Settings, data: str, config: P5Config, seed: int, bootstrap: int, *, may_train: bool, json: bool
) -> None:
    """Evaluates, records it as a run, and prints. may_train: a P5 that is missing, which otherwise is asked for.

    Raises InvalidInput, UnknownName, BundleRefused, RegistryUnavailable.
    """
    from models.p5.evaluation import evaluate_p5

    dataset = load_or_pull(data, settings)
    mark = fingerprint(dataset)
    parameters = {"seed": seed, "bootstrap": bootstrap, "config": asdict(config)}
    with recorded(settings, "evaluate p5", config.indexing, dataset, mark, parameters) as run:
        with progress("evaluating") as advance:
            report = evaluate_p5(
                dataset.events,
                dataset.items,
                fingerprint=mark,
                store=p5_store(settings, dataset, advance, may_train=may_train),
                config=config,
                seed=seed,
                bootstrap=bootstrap,
                embedder=embedder_for(config, settings),
                progress=advance,
            )
        report = {"evaluate": "p5", **report}
        run.metrics(dict(_numbers(report)))
        run.report("report", report)
    if json:
        print_json(report)
    else:
        _print(report, dataset.name)


def _numbers(report: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every figure as FAMILY/TASK/KIND/FIGURE, and the sensitivities."""
    for family, of_family in report["families"].items():
        for kind in ("seen", "held_out"):
            for task, figures in of_family[kind]["tasks"].items():
                for name, value in figures.items():
                    if isinstance(value, int | float):
                        yield f"{family}/{task}/{kind}/{name}", value
    for family, index in report["prompt_sensitivity"].items():
        for kind in ("seen", "held_out"):
            if index[kind] is not None:
                yield f"{family}/prompt_sensitivity/{kind}", index[kind]


def _print(report: Mapping[str, Any], data: str) -> None:
    trained = report["trained"]
    title = f"P5 on {data}, leave-one-out; best epoch {trained['epoch']}, trained in {trained['seconds'] / 60:.1f} min"
    table = Table("task", "measure", "seen", "held out", "sensitivity", title=title)
    for family, of_family in report["families"].items():
        table.add_section()
        made_from = f" ({of_family['made_from']})" if "made_from" in of_family else ""
        table.add_row(f"[bold]{family}[/bold]{made_from}")
        index = report["prompt_sensitivity"][family]["tasks"]
        for task, seen in of_family["seen"]["tasks"].items():
            main, held_out = main_measure(Task(task)), of_family["held_out"]["tasks"][task]
            both = seen, held_out
            sensitive = "/".join("-" if value is None else f"{value:.3f}" for value in index[task].values())
            table.add_row(f"  {task}", main, *(_spread(one, main) for one in both), sensitive)
            if "rmse - baseline" in seen:
                table.add_row("", "- biases", *(_gap(one["rmse - baseline"]) for one in both))
            for name in _OTHERS[main]:
                table.add_row("", name, *(_value(one[name]) for one in both))
    out.print(table)
    for message in report["left_out"]:
        out.print(message)
    out.print("Means over templates, ± half of the 95 % interval over users; sensitivity (POSIX) of seen / held out")


_OTHERS: Final[Mapping[str, Sequence[str]]] = {
    "ndcg@10": ("hr@10", "ndcg@5", "hr@5"),
    "hr@1": ("ndcg@10",),
    "rmse": ("mae",),
    "accuracy": ("auc",),
    "rouge-l": ("bleu-4", "distinct"),
}


def _spread(figures: Mapping[str, Any], name: str) -> str:
    if f"{name}_low" not in figures:
        return _value(figures[name])
    return f"{_value(figures[name])} {_half(figures[f'{name}_low'], figures[f'{name}_high'])}"


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _gap(gap: Mapping[str, float]) -> str:
    return f"{gap['value']:+.3f} {_half(gap['low'], gap['high'])}"


def _half(low: float, high: float) -> str:
    return "±" + f"{(high - low) / 2:.3f}".removeprefix("0")
