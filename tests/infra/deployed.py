"""What the files of infra/ are held against: the commands, the settings and the metrics that there are."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import promql_parser
import yaml
from prometheus_client.metrics import MetricWrapperBase
from typer.main import get_command

from services.cli import app
from services.metrics import Metrics
from services.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"

# Of Prometheus itself, and the label that it puts on everything it fetches.
_OF_PROMETHEUS = {"up": set[str]()}
_JOB = "job"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def is_command(arguments: Sequence[str]) -> bool:
    """Whether `tasteprint ARGUMENTS` is a command with such options."""
    commands: Mapping[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    name, *options = arguments
    if name not in commands:
        return False
    return bool(commands[name].make_context(name, list(options)).info_name == name)


def settings() -> set[str]:
    """The variables that settings are taken from."""
    return {"TASTEPRINT_CONFIG", *(f"TASTEPRINT_{name.upper()}" for name in Settings.model_fields)}


def check_settings(given: Mapping[str, str]) -> None:
    """Variables are settings, with values that these take."""
    assert given.keys() <= settings(), given.keys() - settings()
    load_settings(**{name.removeprefix("TASTEPRINT_").lower(): value for name, value in given.items()})


def is_pinned(image: str) -> bool:
    """Whether an image's name says which version it is of."""
    return re.search(r":[\w.-]*\d+\.\d+[\w.-]*$", image) is not None


def metrics() -> dict[str, set[str]]:
    """The series that there are, with their labels."""
    found = dict(_OF_PROMETHEUS)
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase):
            [family] = metric.describe()
            labels = set(metric._labelnames)
            suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
            for suffix in suffixes:
                found[family.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return found


def recorded() -> dict[str, set[str]]:
    """The series that the rules record, with the labels that they keep."""
    rules = [rule for group in read(INFRA / "prometheus" / "rules.yml")["groups"] for rule in group["rules"]]
    return {rule["record"]: labels_of(rule["expr"]) for rule in rules if "record" in rule}


def check_query(query: str) -> None:
    """A query is PromQL, and asks for series and labels that there are."""
    known = metrics() | recorded()
    for selector in parts(query, promql_parser.VectorSelector):
        assert selector.name in known, f"{query}: no series {selector.name}"
        asked = {matcher.name for matcher in selector.matchers.matchers}
        assert asked <= known[selector.name] | {_JOB}, f"{query}: {selector.name} has labels {known[selector.name]}"
    for aggregation in parts(query, promql_parser.AggregateExpr):
        by = set(aggregation.modifier.labels) if aggregation.modifier is not None else set()
        under = (known[found.name] for found in parts(str(aggregation.expr), promql_parser.VectorSelector))
        assert by <= {_JOB}.union(*under), f"{query}: not every label of {by} is there"


def labels_of(query: str) -> set[str]:
    """The labels by which a query's outer aggregations tell its results apart."""
    by: set[str] = set()
    for aggregation in parts(query, promql_parser.AggregateExpr):
        by |= set(aggregation.modifier.labels) if aggregation.modifier is not None else set()
    return by - ({"le"} if "histogram_quantile" in query else set())


def parts(query: str, kind: type) -> list[Any]:
    """The parts of a query that are of a kind. Raises ValueError where it is no PromQL."""
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(query), lambda part: found.append(part) if isinstance(part, kind) else None)
    return found


def queried(text: str) -> Iterable[str]:
    """The labels that a legend or an annotation puts in."""
    return re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", text)
