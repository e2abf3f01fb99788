"""How much of summaries, of users that nothing was learnt from, is the generator's own words that stood the check."""

import time
from collections.abc import Mapping
from typing import Any, Final

from rich.table import Table

from features.datasets import fingerprint
from features.errors import InvalidInput
from models.language.spending import Metered
from models.summaries.kinds import SummaryKind, chosen
from services.console import out, print_json, progress
from services.jobs.loading import load_or_pull
from services.jobs.recording import recorded
from services.settings import LOCAL, Settings
from services.wiring import open_generator, summary_prompt, tuning_of

BATCH: Final = 64  # users


def evaluate_phraser_and_report(settings: Settings, data: str, kind: str, users: int, *, json: bool) -> None:
    """Summarises users that are held out from training, by the generator of the settings, or the local one where they
    name none; records it as a run, and prints.

    Raises InvalidInput, ModelMissing, UnknownName, WeightsRefused, GeneratorUnavailable, RegistryUnavailable.
    """
    from models.summaries.computing import facts_of
    from models.summaries.lessons import held_out
    from models.summaries.own_words import own_words
    from models.summaries.summarising import Summariser, Written

    if kind not in list(SummaryKind):
        raise InvalidInput("kind", f"{kind!r} was given; it is one of {', '.join(SummaryKind)}")
    settings = settings.model_copy(update={"generator": settings.generator or LOCAL})
    dataset = load_or_pull(data, settings)
    opened = open_generator(settings)
    assert opened is not None  # noqa: S101 - the settings name one
    generator, prompt = Metered(opened), summary_prompt(settings)
    mark, tuning = fingerprint(dataset), tuning_of(settings)
    is_taught_here = tuning.get("data") == mark
    facts = facts_of(dataset.events, dataset.items)
    unseen = held_out(dataset.events["user"], users)
    if is_taught_here and len(unseen) > tuning["held_out"]:
        raise InvalidInput("users", f"{users} was given; the adapter was trained with {tuning['held_out']} held out")
    told = [chosen(facts[user], SummaryKind(kind)) for user in unseen]
    protocol = {
        "users": len(told),
        "kind": kind,
        "generator": generator.name,
        "taught_on": "these data" if is_taught_here else "other data" if tuning else "nothing",
        "prompt": prompt.version,
    }
    with recorded(settings, "evaluate phraser", kind, dataset, mark, protocol) as run:
        start = time.perf_counter()
        written: list[Written] = []
        with progress("summarising") as advance:
            for first in range(0, len(told), BATCH):
                written += Summariser(generator, prompt).summarise(told[first : first + BATCH], SummaryKind(kind))
                advance(len(written), len(told), "summarising")
        seconds = time.perf_counter() - start
        report = {
            "evaluate": "phraser",
            "data": {"name": dataset.name, "users": len(facts), "events": dataset.events.height},
            "protocol": protocol,
            **own_words(told, written, tuning.get("wordings", ())),
            "input_tokens": generator.spent.input_tokens,
            "output_tokens": generator.spent.output_tokens,
            "seconds": round(seconds, 1),
        }
        run.metrics({"own": report["own"]["value"], "seconds": seconds})
        run.report("report", report)
    if json:
        print_json(report)
    else:
        _print(report)


def _print(report: Mapping[str, Any]) -> None:
    protocol = report["protocol"]
    table = Table("measure", "share", "95 %", title=f"{protocol['generator']}, {protocol['users']} users held out")
    for name, what in (
        ("own", "summaries in its own words"),
        ("as_template", "of their sentences as a template says it"),
        ("in_new_wording", "of their sentences in a wording of no lesson"),
    ):
        of = report[name]
        spread = "-" if of["low"] is None else f"{of['low']:.3f} to {of['high']:.3f}"
        table.add_row(what, "-" if of["value"] is None else f"{of['value']:.3f}", spread)
    out.print(table)
    for problem, count in report["problems"].items():
        out.print(f"{count:>6}  {problem}")
    out.print(f"{report['output_tokens']} tokens written and {report['input_tokens']} read in {report['seconds']} s")
