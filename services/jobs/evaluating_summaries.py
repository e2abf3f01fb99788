"""What summaries are worth in prompts, as a table for people or JSON for machines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from features.datasets import fingerprint
from features.errors import InvalidInput, ModelMissing
from models.language.counting import tokens_by
from models.language.weights import SMOLLM2, find_weights
from models.plots import curves
from models.summaries.downstream.config import DownstreamConfig, configured
from models.summaries.retrieval import Retriever
from services.console import out, print_json, progress
from services.jobs.loading import load_or_pull
from services.jobs.recording import recorded
from services.jobs.training import said_settings
from services.prompting import By, Embed, Retrievers
from services.settings import Settings
from services.wiring import open_downstream_store, open_embedder


def evaluate_summaries_and_report(
    settings: Settings, data: str, config: DownstreamConfig, seed: int, bootstrap: int, *, may_train: bool, json: bool
) -> None:
    """Evaluates, records it as a run, and prints. may_train: models that are missing, which otherwise are asked for.

    Raises InvalidInput, UnknownName, BundleRefused, RegistryUnavailable.
    """
    from models.summaries.evaluation import evaluate_summaries

    retriever = retriever_of(config, settings)
    dataset = load_or_pull(data, settings)
    mark = fingerprint(dataset)
    weights = find_weights(SMOLLM2, settings.home)
    with recorded(
        settings, "evaluate summaries", config.retriever, dataset, mark, {"seed": seed, "config": asdict(config)}
    ) as run:
        with progress("evaluating") as advance:
            report = evaluate_summaries(
                dataset.events,
                dataset.items,
                fingerprint=mark,
                store=open_downstream_store(settings, may_train=may_train, progress=advance),
                retriever=retriever,
                config=config,
                seed=seed,
                bootstrap=bootstrap,
                count=tokens_by(weights / "tokenizer.json") if weights else None,
                progress=advance,
            )
        report = {"evaluate": "summaries", **report}
        run.metrics(dict(_numbers(report)))
        run.report("report", report)
        for task, found in report["tasks"].items():
            known = found["trained"]["curves"]
            run.figure(f"curves-{task}", curves({"loss": known["loss"], "log-probability": known["validation"]}))
    if json:
        print_json(report)
    else:
        _print(report, dataset.name)


def retriever_of(config: DownstreamConfig, settings: Settings) -> Retriever:
    """Raises InvalidInput for a name that is none, ModelMissing for one whose weights were not pulled."""
    if config.retriever not in [*By]:
        raise InvalidInput("retriever", f"{config.retriever!r} was given; it is one of {', '.join(By)}")

    def embed() -> Embed | None:
        embedder = open_embedder(settings)
        return None if embedder is None else embedder.vectors

    retriever, problems = Retrievers(embed).get(By(config.retriever))
    if problems:
        raise ModelMissing("; ".join(problems))
    return retriever


def downstream_config(file: Path | None, given: Sequence[str]) -> DownstreamConfig:
    """What a TOML file and then NAME=VALUE settings say. Raises InvalidInput."""
    return configured(said_settings(file, given))


def _numbers(report: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every figure as TASK/ARM/FIGURE, and every difference."""
    for task, found in report["tasks"].items():
        for part in ("arms", "differences"):
            for name, figures in found[part].items():
                for figure, value in figures.items():
                    value = value["value"] if isinstance(value, Mapping) else value
                    if value is not None:
                        yield f"{task}/{name}/{figure}", value


def _print(report: Mapping[str, Any], data: str) -> None:
    for task, found in report["tasks"].items():
        measures = [name for name, value in found["arms"]["none"].items() if isinstance(value, Mapping)]
        trained = found["trained"]
        title = f"{task} on {data}; trained in {trained['cpu_minutes']} minutes of one core, round {trained['round']}"
        table = Table("told", *measures, "tokens", "of the user", "ms", title=title)
        for arm, figures in found["arms"].items():
            spreads = (_spread(figures[name]) for name in measures)
            counts = (f"{figures[name]:.0f}" for name in ("tokens", "history_tokens"))
            table.add_row(arm, *spreads, *counts, f"{figures['latency_ms']:.1f}")
        out.print(table)
        for pair, figures in found["differences"].items():
            said = ", ".join(
                f"{name} {value['value']:+.4f} [{value['low']:+.4f}, {value['high']:+.4f}]"
                for name, value in figures.items()
                if isinstance(value, Mapping)
            )
            share = figures["history_tokens"]
            out.print(f"{pair}: {said}" + ("" if share is None else f", {share:.0%} of its tokens"))
        out.print(f"{found['claim']['is']}: {'holds' if found['claim']['holds'] else 'does not hold'}")
    for message in report["left_out"]:
        out.print(message)


def _spread(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.4f} ±{(figure['high'] - figure['low']) / 2:.4f}"
