"""Choosing how summaries are written, by the downstream measure on validation users."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from features.datasets import fingerprint
from features.errors import InvalidInput, ModelMissing
from models.summaries.downstream.cases import Case, Task, cases_of, log_of
from models.summaries.downstream.config import DownstreamConfig
from services.console import progress
from services.jobs.evaluating_summaries import retriever_of
from services.jobs.loading import load_or_pull
from services.jobs.recording import recorded
from services.settings import Settings
from services.wiring import open_downstream_store, open_generator

MODEL: Final = "tasteprint-summary-prompt"


def choose_summary_prompt(
    settings: Settings, data: str, task: str, by: str, users: int, rounds: int, config: DownstreamConfig, seed: int
) -> dict[str, Any]:
    """Scores candidates, registers the best under the alias of its kind of summary and of what writes it, and reports.

    by: "template" for the facts that are told and their order, "generator" for the instruction and the examples that
    the settings' generator is given. Raises InvalidInput, UnknownName when the downstream model was not trained,
    ModelMissing without a generator, GeneratorUnavailable, RegistryUnavailable.
    """
    from models.summaries.choosing import Scoring, best_of, said_of, search, sensitivity
    from models.summaries.downstream.writing import KIND, by_generator, by_template, usual
    from models.summaries.instructing import PROMPTS
    from models.summaries.kinds import SHAPES
    from models.summaries.summarising import Summariser

    if task not in [*Task]:
        raise InvalidInput("task", f"{task!r} was given; it is one of {', '.join(Task)}")
    if by not in ("template", "generator"):
        raise InvalidInput("by", f"{by!r} was given; it is template or generator")
    generator = open_generator(settings) if by == "generator" else None
    if by == "generator" and generator is None:
        raise ModelMissing("no generator is set; `generator = local` in the settings takes the one that was pulled")
    of, kind = Task(task), KIND[Task(task)]
    retriever = retriever_of(config, settings)
    dataset = load_or_pull(data, settings)
    mark = fingerprint(dataset)
    log = log_of(dataset.events, dataset.items, config)
    cases = cases_of(log, config, seed).of(of)
    store = open_downstream_store(settings)
    reader = store.get(log, cases, of, retriever, usual(of), config, fingerprint=mark, seed=seed)
    asked = _asked(cases.validation, users, is_each_once=generator is not None)
    score = Scoring(log, asked, of, retriever, reader)
    parameters = {"seed": seed, "cases": len(asked), "config": asdict(config)}
    with recorded(settings, "summary prompt", f"{kind} {by}", dataset, mark, parameters) as run:
        with progress("scoring") as advance:
            if generator is None:
                shapes, scored = search(of, lambda shape: score(by_template(shape)), SHAPES[kind], rounds, advance)
                content: Mapping[str, Any] = {name: asdict(shape) for name, shape in shapes.items()}
            else:
                writers = {name: by_generator(Summariser(generator, one), kind) for name, one in PROMPTS.items()}
                scored = {"template": score(usual(of))}
                for number, (name, writer) in enumerate(writers.items()):
                    advance(number, len(writers), name)
                    scored[name] = score(writer)
                content = {"template": None} | {name: asdict(one) for name, one in PROMPTS.items()}
        best = best_of(of, scored)
        said = said_of(of, scored, resamples=1000, seed=seed)
        report = {
            "task": task,
            "kind": str(kind),
            "by": by if generator is None else generator.name,
            "cases": len(asked),
            "best": best,
            "sensitivity": sensitivity([*scored.values()]),
            "candidates": said,
        }
        measures = [name for name, value in said[best].items() if isinstance(value, Mapping) and "value" in value]
        run.metrics({f"best/{name}": said[best][name]["value"] for name in measures})
        run.report("report", report)
        tags = {"kind": str(kind), "best": best, "data": dataset.name, "fingerprint": mark}
        report["version"] = run.keep(MODEL, f"{kind}-{by}", {"name": best, "content": content[best]}, tags)
    return report


def _asked(cases: Sequence[Case], users: int, *, is_each_once: bool) -> list[Case]:
    """The cases of so many users; their last ones, where each takes a generator's time."""
    last = {case.user: case for case in cases}
    chosen = [*last][:: max(len(last) // users, 1)][:users]
    return [last[user] for user in chosen] if is_each_once else [case for case in cases if case.user in set(chosen)]
