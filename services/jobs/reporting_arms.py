"""The arms of an evaluation by questions as people read them, and as runs of their own."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.table import Table

from models.registry import Run
from services.console import out

_SHORT: Final = {
    "sequence-understanding": "understanding",
    "action-prediction": "prediction",
    "interest-perception": "interest",
}
_HOLDS: Final[Mapping[bool | None, str]] = {True: "holds", False: "does not hold", None: "not known without its arms"}


def record_arms(run: Run, report: Mapping[str, Any], points: Sequence[Mapping[str, Any]] = ()) -> None:
    """Accuracies in the run, and every arm in a run of its own within. points: of a study, with the name as "arm"."""
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
    for name in ("tokens", "history_tokens", "latency_ms", "parameters", "length", "rank", "chunk", "distil"):
        if name in found:
            yield name, found[name]
    for name, one in found.get("latency", {}).items():
        yield f"latency_{name}_ms", one["ms"]
    for group in ("update", "drift"):
        for name, value in (found.get(group) or {}).items():
            yield f"{group}_{name}", value


def table_of(report: Mapping[str, Any], data: str) -> Table:
    """A row an arm. data: the name of the data set."""
    of_dimension = [*dict.fromkeys(name for found in report["arms"].values() for name in found["dimensions"])]
    asked = report["questions"]
    title = f"{asked['questions']} questions about {asked['users']} users of {data}"
    table = Table("arm", *(_SHORT.get(name, name) for name in of_dimension), "average", title=title)
    for name in ("tokens", "of the user", "ms", "trained on"):
        table.add_column(name, justify="right")
    for name, found in report["arms"].items():
        trained = found.get("trained")
        table.add_row(
            name,
            *(spread(found["dimensions"][one]) for one in of_dimension),
            spread(found["accuracy"]),
            *(f"{found[one]:.0f}" for one in ("tokens", "history_tokens", "latency_ms")),
            f"{trained['questions']:,}" if trained else "",
        )
    return table


def difference(pair: str, some: Mapping[str, Any]) -> str:
    """A pair of arms, and how far they are apart in each dimension and on average."""
    said = ", ".join(
        f"{_SHORT.get(name, name)} {one['value']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]"
        for name, one in some.items()
        if isinstance(one, Mapping)
    )
    return f"{pair}: {said}"


def print_claims(report: Mapping[str, Any]) -> None:
    for name, goals in report["claims"].items():
        for goal in goals.values():
            out.print(f"{name}: {goal['is']}: {_HOLDS[goal['holds']]}")


def spread(figure: Mapping[str, float]) -> str:
    """A value and half of its interval."""
    return f"{figure['value']:.3f} ±{(figure['high'] - figure['low']) / 2:.3f}"
