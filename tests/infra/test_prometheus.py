"""Prometheus and Grafana: queries that can be asked, of series that there are, and of this deployment's machines."""

import json
from typing import Any

import promql_parser
import pytest

from tests.infra.deployed import INFRA, check_query, labels_of, parts, queried, read, recorded

RULES = [rule for group in read(INFRA / "prometheus" / "rules.yml")["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
DASHBOARD = json.loads((INFRA / "grafana" / "dashboards" / "tasteprint.json").read_text())
PANELS = DASHBOARD["panels"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"record", "alert", "expr", "for", "labels", "annotations"}
    check_query(rule["expr"])


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_compares_says_how_bad_it_is_and_what_it_means(rule: dict[str, Any]) -> None:
    assert any(str(part.op) in "== > <" for part in parts(rule["expr"], promql_parser.BinaryExpr))
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert promql_parser.parse_duration(rule.get("for", "1s"))
    assert rule["annotations"].keys() == {"summary", "description"}
    told_apart = labels_of(rule["expr"]).union(*(recorded().get(name, set()) for name in series(rule["expr"])))
    for text in rule["annotations"].values():
        assert set(queried(text)) <= told_apart | {"job"}


def test_rules_have_names_of_their_own() -> None:
    names = [rule.get("alert") or rule["record"] for rule in RULES]
    assert len(names) == len(set(names))
    groups = read(INFRA / "prometheus" / "rules.yml")
    assert groups.keys() == {"groups"}
    assert all(group.keys() == {"name", "rules"} for group in groups["groups"])


def series(query: str) -> set[str]:
    return {selector.name for selector in parts(query, promql_parser.VectorSelector)}


def test_prometheus_asks_the_services_of_the_deployment_on_their_ports() -> None:
    prometheus = read(INFRA / "prometheus" / "prometheus.yml")
    assert prometheus.keys() == {"global", "rule_files", "scrape_configs"}
    assert all((INFRA / "prometheus" / name).is_file() for name in prometheus["rule_files"])
    services = read(INFRA / "compose.yaml")["services"]
    for job in prometheus["scrape_configs"]:
        assert job.keys() == {"job_name", "dns_sd_configs"}
        for found in job["dns_sd_configs"]:
            assert found["type"] == "A"
            assert set(found["names"]) <= services.keys()
            assert found["port"] == (8000 if job["job_name"] == "api" else 9100)
    jobs = {job["job_name"] for job in prometheus["scrape_configs"]}
    for rule in RULES:
        for selector in parts(rule["expr"], promql_parser.VectorSelector):
            asked = [matcher.value for matcher in selector.matchers.matchers if matcher.name == "job"]
            assert {name for value in asked for name in value.split("|")} <= jobs


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: f"{panel['id']}-{panel['title']}")
def test_a_panel_asks_for_what_there_is(panel: dict[str, Any]) -> None:
    [source] = read(INFRA / "grafana" / "provisioning" / "datasources" / "prometheus.yaml")["datasources"]
    assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        check_query(target["expr"])
        told_apart = labels_of(target["expr"]).union(*(recorded().get(name, set()) for name in series(target["expr"])))
        assert set(queried(target["legendFormat"])) <= told_apart
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_a_route_in_a_query_is_one_of_the_application(routes: set[str]) -> None:
    queries = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]
    selectors = [one for query in queries for one in parts(query, promql_parser.VectorSelector)]
    asked = {matcher.value for one in selectors for matcher in one.matchers.matchers if matcher.name == "route"}
    assert asked
    assert asked <= routes


def test_panels_have_places_of_their_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    covered: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + right, at["y"] + down) for right in range(at["w"]) for down in range(at["h"])}
        assert not cells & covered
        covered |= cells


def test_the_dashboard_lies_where_grafana_looks() -> None:
    compose = read(INFRA / "compose.yaml")["services"]["grafana"]
    [provider] = read(INFRA / "grafana" / "provisioning" / "dashboards" / "tasteprint.yaml")["providers"]
    folder = provider["options"]["path"]
    assert f"./grafana/dashboards:{folder}:ro" in compose["volumes"]
    home = compose["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/tasteprint.json"


@pytest.mark.parametrize("query", ["sum(", "rate(tasteprint_nothing_total[5m])", 'up{colour="red"}', "sum by (x) (up)"])
def test_a_query_for_what_is_not_there_is_refused(query: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check_query(query)
