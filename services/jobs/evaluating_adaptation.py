"""What weights updated by users' streams are worth, as a table for people or JSON for machines."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from rich.table import Table

from features.datasets import Dataset, fingerprint
from features.errors import InvalidInput
from models import plots
from models.encoders.config import EncoderConfig, preset
from models.language.weights import SMOLLM2
from models.registry import Run
from services.console import out, print_json, progress
from services.jobs.loading import load_or_pull, pulled_weights
from services.jobs.recording import recorded
from services.jobs.reporting_arms import difference, print_claims, record_arms, spread, table_of
from services.jobs.training import encoder_store
from services.settings import Settings
from services.wiring import adapted_arms_folder, arms_folder

if TYPE_CHECKING:  # torch
    from models.soft_prompt.tasks import Asking
    from models.stream_adapter.config import StreamAdapterConfig


def evaluate_adaptation_and_report(
    settings: Settings,
    data: str,
    *,
    config: "StreamAdapterConfig",
    soft_prompt: str,
    only: Sequence[str],
    minutes: float,
    each: int,
    few: int,
    ablation_minutes: float | None,
    asking: "Asking",
    seed: int,
    bootstrap: int,
    may_train: bool,
    json: bool,
) -> None:
    """Evaluates, records every arm as a run within one, and prints.

    config: of the weight updates. soft_prompt: ENCODER/ADAPTER. only: names of arms, all when there are none. minutes:
    of training an arm, and of a point of the ablation, which is left out when None. may_train: whether arms that are
    missing are trained, or asked for. Raises InvalidInput, ModelMissing when the language model was not pulled,
    UnknownName, BundleRefused, WeightsRefused, RegistryUnavailable.
    """
    from models.counts.fitting import texts_of
    from models.device import best_device
    from models.encoders.reading import encoder_data
    from models.soft_prompt.arm_store import ArmStore, blank
    from models.soft_prompt.data import AligningData
    from models.soft_prompt.drawing import draw
    from models.soft_prompt.log import Split, log_of
    from models.soft_prompt.preparing import asked_of, encoder_of
    from models.stream_adapter.arm_store import Arms
    from models.stream_adapter.arms import ablation_arms, arms_of, chosen
    from models.stream_adapter.evaluation import evaluate_adaptation
    from models.stream_adapter.preparing import of_events

    weights = pulled_weights(SMOLLM2, settings)
    encoder, adapter = _soft_prompt(soft_prompt)
    arms = arms_of(config, encoder, adapter, minutes, has_gpu=best_device().name == "cuda")
    names = chosen(arms, only)
    points = [] if ablation_minutes is None else ablation_arms(config, ablation_minutes)
    dataset = load_or_pull(data, settings)
    mark = fingerprint(dataset)
    given = {
        "language": weights.name,
        "soft_prompt": soft_prompt,
        "minutes": minutes,
        "questions": each,
        "few": few,
        "seed": seed,
        "bootstrap": bootstrap,
    }
    with recorded(settings, "evaluate adaptation", ",".join(only) or "all arms", dataset, mark, given) as run:
        with progress("evaluating") as advance:
            known = encoder_store(settings, dataset, advance, may_train=may_train)
            log = log_of(dataset, asking)
            events = encoder_data(log.past, texts_of(dataset.items, log.vocabulary))
            nothing = blank(encoder.dimensions, encoder.length, events.n_items)  # until an arm reads one
            words = ArmStore(
                arms_folder(settings),
                weights,
                log,
                AligningData(events, nothing, *asked_of(log, asking, seed)),
                cache(lambda of: encoder_of(dataset, log, known, of, asking, seed)),
                fingerprint=mark,
                seed=seed,
                may_train=may_train,
                progress=advance,
                command="adaptation",
            )
            learnt = of_events(dataset, log, events, words.data.questions, words.data.validation)
            store = Arms(adapted_arms_folder(settings), words, learnt, arms)
            drawn = draw(log, Split.TEST, asking, seed=seed)
            report = evaluate_adaptation(
                store, drawn, names, seed=seed, each=each, few=few, bootstrap=bootstrap, points=points
            )
        report = {"evaluate": "adaptation", **report}
        report["protocol"] |= {"data": dataset.name, "language": weights.name, "minutes": minutes}
        _record(run, report)
    if json:
        print_json(report)
    else:
        _print(report, dataset)


def _soft_prompt(name: str) -> tuple[EncoderConfig, str]:
    kind, slash, adapter = name.partition("/")
    if not slash:
        raise InvalidInput("soft_prompt", f"{name!r} was given; name an encoder and an adapter, as sasrec/linear-1")
    return preset(kind), adapter


def _record(run: Run, report: Mapping[str, Any]) -> None:
    """The report and its figures in the run, and every arm in a run of its own within."""
    run.report("report", report)
    run.figure("accuracy-by-tokens", plots.accuracies(report))
    run.figure("latency-by-history", plots.latencies(report))
    record_arms(run, report, report["ablation"] or ())


def _print(report: Mapping[str, Any], dataset: Dataset) -> None:
    out.print(table_of(report, dataset.name))
    out.print(_costs(report["arms"]))
    for pair, some in report["differences"].items():
        out.print(difference(pair, some))
    print_claims(report)
    for point in report["ablation"] or []:
        out.print(f"{point['arm']}: {spread(point['accuracy'])}")


def _costs(arms: Mapping[str, Mapping[str, Any]]) -> Table:
    """What requests, updates and drift come to, of the arms that take any."""
    told = {name: found for name, found in arms.items() if found.get("latency")}
    sizes = [*dict.fromkeys(size for found in told.values() for size in found["latency"])]
    table = Table("arm", title="requests by the tokens of the history, updates, and what else they change")
    for name in (*(f"ms at {size}" for size in sizes), "update, ms", "bytes", "drift, nats", "others"):
        table.add_column(name, justify="right")
    for name, found in told.items():
        update, drift = found["update"], found["drift"]
        table.add_row(
            name,
            *(f"{found['latency'][size]['ms']:.0f}" for size in sizes),
            *(("", "") if update is None else (f"{update['ms']:.0f}", f"{update['bytes']:,}")),
            *(("", "") if drift is None else (f"{drift['text']:+.4f}", f"{drift['others']:.2g}")),
        )
    return table
