"""What soft prompts are worth, as a table for people or JSON for machines."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from features.datasets import Dataset, fingerprint
from features.errors import InvalidInput
from models import plots
from models.encoders.config import KINDS, EncoderConfig, preset
from models.language.weights import SMOLLM2
from models.registry import Run
from services.console import out, print_json, progress
from services.jobs.loading import load_or_pull, pulled_weights
from services.jobs.recording import recorded
from services.jobs.reporting_arms import difference, print_claims, record_arms, spread, table_of
from services.jobs.training import encoder_store
from services.settings import Settings
from services.wiring import arms_folder

if TYPE_CHECKING:  # torch
    from models.soft_prompt.tasks import Asking


def evaluate_questions_and_report(
    settings: Settings,
    data: str,
    *,
    encoders: Sequence[str],
    adapters: Sequence[str],
    only: Sequence[str],
    minutes: float,
    each: int,
    scaling_minutes: float | None,
    asking: "Asking",
    seed: int,
    bootstrap: int,
    may_train: bool,
    json: bool,
) -> None:
    """Evaluates, records every arm as a run within one, and prints.

    encoders, adapters: kinds and presets, in all pairs. only: names of arms, all when there are none. minutes: of
    training an arm, and of a point of the scaling study, which is left out when None. may_train: whether arms and
    encoders that are missing are trained, or asked for. Raises InvalidInput, ModelMissing when the language model was
    not pulled, UnknownName, BundleRefused, WeightsRefused, RegistryUnavailable.
    """
    from models.device import best_device
    from models.soft_prompt.arm_store import ArmStore
    from models.soft_prompt.arms import arms_of, chosen, scaling_arms
    from models.soft_prompt.drawing import draw
    from models.soft_prompt.evaluation import evaluate_questions
    from models.soft_prompt.log import Split
    from models.soft_prompt.preparing import encoder_of, prepared

    weights = pulled_weights(SMOLLM2, settings)
    configs = _encoders(encoders)
    arms = arms_of(configs, adapters, minutes, has_gpu=best_device().name == "cuda")
    names = chosen([*arms], only)
    points = [] if scaling_minutes is None else scaling_arms(configs[0], scaling_minutes)
    dataset = load_or_pull(data, settings)
    mark = fingerprint(dataset)
    given = {
        "language": weights.name,
        "encoders": ",".join(encoders),
        "adapters": ",".join(adapters),
        "minutes": minutes,
        "questions": each,
        "seed": seed,
        "bootstrap": bootstrap,
    }
    with recorded(settings, "evaluate questions", ",".join(only) or "all arms", dataset, mark, given) as run:
        with progress("evaluating") as advance:
            known = encoder_store(settings, dataset, advance, may_train=may_train)
            log, learnt = prepared(dataset, known, configs[0], asking, seed)
            store = ArmStore(
                arms_folder(settings),
                weights,
                log,
                learnt,
                cache(lambda config: encoder_of(dataset, log, known, config, asking, seed)),
                fingerprint=mark,
                seed=seed,
                may_train=may_train,
                progress=advance,
            )
            drawn = draw(log, Split.TEST, asking, seed=seed)
            report = evaluate_questions(
                store, drawn, arms, names, seed=seed, each=each, bootstrap=bootstrap, points=points
            )
        report = {"evaluate": "questions", **report}
        report["protocol"] |= {"data": dataset.name, "language": weights.name, "minutes": minutes}
        _record(run, report)
    if json:
        print_json(report)
    else:
        _print(report, dataset)


def _encoders(kinds: Sequence[str]) -> list[EncoderConfig]:
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidInput("encoders", f"{kind!r} was given; it is one of {', '.join(KINDS)}")
    if not kinds:
        raise InvalidInput("encoders", f"none was given; there are {', '.join(KINDS)}")
    return [preset(kind) for kind in dict.fromkeys(kinds)]


def _record(run: Run, report: Mapping[str, Any]) -> None:
    """The report and its figures in the run, and every arm in a run of its own within."""
    run.report("report", report)
    run.figure("accuracy-by-tokens", plots.accuracies(report))
    points = report["scaling"] or []
    if points:
        run.figure("scaling", plots.scaling(points))
    record_arms(run, report, points)


def _print(report: Mapping[str, Any], dataset: Dataset) -> None:
    out.print(table_of(report, dataset.name))
    for pair, some in report["differences"].items():
        share = some.get("history_tokens")
        out.print(difference(pair, some) + ("" if share is None else f", {share:.1%} of its history tokens"))
    print_claims(report)
    for point in report["scaling"] or []:
        out.print(f"{point['arm']}, {point['parameters']:,} parameters: {spread(point['accuracy'])}")
