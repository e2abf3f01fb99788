"""What soft prompts are worth, as a table for people or JSON for machines."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from features.datasets import Dataset, fingerprint
from features.errors import InvalidInput, ModelMissing
from models import plots
from models.encoders.config import KINDS, EncoderConfig, preset
from models.language.weights import SMOLLM2, find_weights
from models.registry import Run
from services.console import out, print_json, progress
from services.jobs.loading import load_or_pull
from services.jobs.recording import recorded
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

    weights = find_weights(SMOLLM2, settings.home)
    if weights is None:
        raise ModelMissing(f"{SMOLLM2} is not there; `tasteprint weights pull {SMOLLM2}` brings it")
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
    run.metrics({f"{name}/accuracy": found["accuracy"]["value"] for name, found in report["arms"].items()})
    for name, found in [*report["arms"].items(), *((point["arm"], point) for point in points)]:
        trained = found.get("trained") or {}
        with run.child(name, {"trained_as": trained.get("as", "")}) as child:
            child.metrics(dict(_numbers(found)))
            for curve, values in trained.get("curves", {}).items():
                child.curve(curve, values)


def _numbers(found: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """An arm's figures, those of tasks and dimensions under their names."""
    for part in ("accuracy", "low", "high"):
        yield part, found["accuracy"]["value" if part == "accuracy" else part]
    for group in ("dimensions", "tasks"):
        for name, one in found.get(group, {}).items():
            yield name, one["value"]
    for name in ("tokens", "history_tokens", "latency_ms", "parameters", "length"):
        if name in found:
            yield name, found[name]


def _print(report: Mapping[str, Any], dataset: Dataset) -> None:
    of_dimension = [*dict.fromkeys(name for found in report["arms"].values() for name in found["dimensions"])]
    asked = report["questions"]
    title = f"{asked['questions']} questions about {asked['users']} users of {dataset.name}"
    table = Table("arm", *(_SHORT.get(name, name) for name in of_dimension), "average", title=title)
    for name in ("tokens", "of the user", "ms", "trained on"):
        table.add_column(name, justify="right")
    for name, found in report["arms"].items():
        trained = found.get("trained")
        table.add_row(
            name,
            *(_spread(found["dimensions"][one]) for one in of_dimension),
            _spread(found["accuracy"]),
            *(f"{found[one]:.0f}" for one in ("tokens", "history_tokens", "latency_ms")),
            f"{trained['questions']:,}" if trained else "",
        )
    out.print(table)
    for pair, some in report["differences"].items():
        said = ", ".join(
            f"{_SHORT.get(name, name)} {one['value']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]"
            for name, one in some.items()
            if isinstance(one, Mapping)
        )
        share = some.get("history_tokens")
        out.print(f"{pair}: {said}" + ("" if share is None else f", {share:.1%} of its history tokens"))
    for name, goals in report["claims"].items():
        for goal in goals.values():
            out.print(f"{name}: {goal['is']}: {_HOLDS[goal['holds']]}")
    for point in report["scaling"] or []:
        out.print(f"{point['arm']}, {point['parameters']:,} parameters: {_spread(point['accuracy'])}")


_SHORT: Final = {
    "sequence-understanding": "understanding",
    "action-prediction": "prediction",
    "interest-perception": "interest",
}
_HOLDS: Final[Mapping[bool | None, str]] = {True: "holds", False: "does not hold", None: "not known without its arms"}


def _spread(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.3f} ±{(figure['high'] - figure['low']) / 2:.3f}"
