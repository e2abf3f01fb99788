"""The evaluation of rankings, as a table for people or JSON for machines."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from features.datasets import fingerprint
from models.encoders.config import EncoderConfig
from models.evaluation import evaluate_ranking
from models.p5.config import P5Config
from models.plots import ranking
from models.registry import Run
from services.console import out, print_json, progress
from services.jobs.loading import load_or_pull
from services.jobs.recording import recorded
from services.jobs.training import encoder_store
from services.jobs.training_p5 import embedder_for, p5_store
from services.settings import Settings


def evaluate_and_report(
    settings: Settings,
    data: str,
    models: Sequence[str],
    fit: str,
    split: str,
    tie_seeds: int,
    seeds: int,
    bootstrap: int,
    *,
    configs: Sequence[EncoderConfig],
    encoder: str,
    p5: P5Config | None = None,
    may_train: bool,
    json: bool,
) -> None:
    """Evaluates, records it as a run, and prints.

    configs: of encoders, where not the presets. encoder: the kind of the pipeline's. p5: of P5, where one is measured.
    may_train: encoders and P5 that are missing, which otherwise are asked for.

    Raises InvalidInput for an unknown fit or split, UnknownName for a data set or a model, RegistryUnavailable.
    """
    dataset = load_or_pull(data, settings)
    mark = fingerprint(dataset)
    asked = {"fit": fit, "split": split, "tie_seeds": tie_seeds, "seeds": seeds, "bootstrap": bootstrap}
    named = ", ".join(models)
    with recorded(settings, "evaluate ranking", named, dataset, mark, {"models": named, **asked}) as run:
        with progress("evaluating") as advance:
            report = evaluate_ranking(
                dataset.events,
                dataset.items,
                fingerprint=mark,
                models=models,
                fit=fit,
                split=split,
                tie_seeds=tie_seeds,
                seeds=seeds,
                bootstrap=bootstrap,
                encoders=encoder_store(settings, dataset, advance, may_train=may_train),
                encoder_configs={config.kind: config for config in configs},
                encoder=encoder,
                p5s=None if p5 is None else p5_store(settings, dataset, advance, may_train=may_train),
                p5_config=p5,
                embedder=None if p5 is None else embedder_for(p5, settings),
                progress=advance,
            )
        report = {"evaluate": "ranking", **report}
        _record(run, report)
    if json:
        print_json(report)
        return
    table = Table("model", "NDCG@10", "HR@10", "NDCG@5", "HR@5", "fit s", title=f"{dataset.name}, {fit}, {split}")
    for name, measures in report["models"].items():
        figures = [f"{measures[measure]:.4f}" for measure in ("ndcg@10", "hr@10", "ndcg@5", "hr@5")]
        table.add_row(name, *figures, f"{measures['fit_s']:.1f}")
    out.print(table)
    for pair, by_measure in report.get("comparisons", {}).items():
        difference = by_measure["ndcg@10"]
        interval = f"[{difference['low']:+.4f}, {difference['high']:+.4f}]"
        out.print(f"{pair}: NDCG@10 {difference['value']:+.4f} {interval} (paired bootstrap, 95 %)")


def _record(run: Run, report: Mapping[str, Any]) -> None:
    """Every figure of every model as MODEL/FIGURE, the whole report, and a picture of it."""
    numbers = {
        f"{name}/{measure}": value
        for name, measures in report["models"].items()
        for measure, value in measures.items()
        if isinstance(value, int | float)
    }
    run.metrics(numbers)
    run.report("report", report)
    run.figure("ndcg@10", ranking(report))
