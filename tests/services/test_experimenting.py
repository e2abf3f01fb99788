"""`tasteprint experiments report`: what was shown and done on a running application comes out as figures."""

import random
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest

from features.errors import InvalidInput, UnknownName
from services.experiments import Experiment, assign
from services.jobs.experimenting import report_experiment
from services.settings import Settings
from streaming.log import Stream
from tests.services.conftest import NOW, Running, event, running, wait_until

WEEK = 7 * 86_400.0
USERS = [f"user-{number}" for number in range(300)]
ASKING = USERS + USERS[::2] + USERS[::3]  # 550 lists

_tenants = count()

Report = Callable[..., dict[str, Any]]


def toy(kind: str = "split", **variants: float) -> Experiment:
    shares = {name: {"share": share} if kind == "split" else {} for name, share in variants.items()}
    described = {name: {"bundle": "current", **share} for name, share in shares.items()}
    return Experiment.model_validate({"name": "toy", "kind": kind, "variants": described})


SPLIT, INTERLEAVED = toy(a=0.5, b=0.5), toy("interleave", a=0, b=0)


@pytest.fixture
def report(own_home: Path, redis_url: str, capsys: pytest.CaptureFixture[str]) -> Report:
    """The report of a home's log, as JSON."""

    def make(
        experiment: Experiment | None, name: str | None = None, *types: str, since: str | None = None
    ) -> dict[str, Any]:
        settings = Settings(home=own_home, redis_url=redis_url, experiment=experiment)
        report_experiment(settings, name, types, WEEK, since, json=True)
        return orjson.loads(capsys.readouterr().out)

    return make


def traffic(home: Path, redis_url: str, experiment: Experiment, clicks: Callable[[str, str], float]) -> None:
    """Everybody is shown four items, once or more, and clicks on each with a chance of user and item."""
    rng = random.Random(5)
    settings = Settings(home=home, redis_url=redis_url, tenant=f"traffic-{next(_tenants)}", experiment=experiment)
    with running(settings, ingest=False) as app:
        app.client.post("/v1/items", json=[{"item_id": f"i{number}"} for number in range(8)])
        wait_until(lambda: len(recommended(app, events=[])[0]["items"]) == 4)  # nobody's, so no exposure
        shown = recommended(app, users=ASKING)
        events = [
            event(user, item["item_id"], NOW, event_id=f"{answer['recommendation_id']}-{item['item_id']}", type="click")
            | {"recommendation_id": answer["recommendation_id"]}
            for user, answer in zip(ASKING, shown, strict=True)
            for item in answer["items"]
            if rng.random() < clicks(user, item["item_id"])
        ]
        for start in range(0, len(events), 500):
            assert app.client.post("/v1/events", json=events[start : start + 500]).status_code == 202


def recommended(app: Running, **whom: object) -> list[dict[str, Any]]:
    answer = app.client.post("/v1/recommendations", json={"k": 4, **whom})
    assert answer.status_code == 200, answer.text
    return answer.json()["recommendations"]


def holds(interval: Mapping[str, float], value: float) -> bool:
    return interval["low"] <= value <= interval["high"]


def test_of_two_variants_alike_the_interval_of_the_difference_holds_0(
    own_home: Path, redis_url: str, report: Report
) -> None:
    traffic(own_home, redis_url, SPLIT, lambda user, _: 0.1 + 0.2 * (len(user) % 2))
    found = report(SPLIT)
    assert {name: found[name] for name in ("experiment", "kind", "since", "outcomes", "window_seconds")} == {
        "experiment": "toy",
        "kind": "split",
        "since": None,
        "outcomes": None,
        "window_seconds": WEEK,
    }
    assert sum(one["users"] for one in found["variants"].values()) == 300
    assert sum(one["exposures"] for one in found["variants"].values()) == 550
    for variant in ("a", "b"):
        assert found["variants"][variant]["users"] == sum(assign(user, SPLIT) == variant for user in USERS)
    compared = found["comparisons"]["b - a"]
    assert all(holds(compared[rate], 0.0) for rate in ("click_through", "user_rate", "outcomes_per_user"))
    assert compared["click_through"]["p"] > 0.05
    assert found["sample_ratio"]["mismatch"] is False
    assert set(found["left_out"].values()) == {0}


def test_an_obvious_effect_is_found_and_only_among_the_outcomes_that_were_asked_for(
    own_home: Path, redis_url: str, report: Report
) -> None:
    traffic(own_home, redis_url, SPLIT, lambda user, _: 0.3 if assign(user, SPLIT) == "b" else 0.1)
    compared = report(SPLIT, None, "purchase", "click")["comparisons"]["b - a"]["outcomes_per_user"]
    # a list has four items and a user 1.83 of them: 7.33 chances each, .2 more of which are taken
    assert compared["low"] > 0
    assert holds(compared, 7.33 * 0.2)
    assert compared["p"] < 1e-6
    assert report(SPLIT, None, "purchase")["variants"]["b"]["clicked"] == 0
    assert report(SPLIT, "toy", since="2100-01-01T00:00:00Z")["variants"]["b"]["exposures"] == 0
    assert report(SPLIT, "toy", since=str(NOW))["variants"]["b"]["exposures"] > 0


def test_without_its_settings_an_experiment_is_reported_from_the_log_alone(
    own_home: Path, redis_url: str, report: Report
) -> None:
    traffic(own_home, redis_url, SPLIT, lambda *_: 0.2)
    told, untold = report(SPLIT), report(None, "toy")
    assert untold["sample_ratio"] is None  # the shares are not in the log
    assert untold["comparisons"] == told["comparisons"]
    other = SPLIT.model_copy(update={"name": "other"})
    assert report(other, "toy") == untold
    assert report(other)["variants"]["a"]["exposures"] == 0


def test_who_changes_sides_when_the_shares_change_is_counted_and_left_out(
    own_home: Path, redis_url: str, report: Report
) -> None:
    moved = toy(a=0.2, b=0.8)
    for experiment in (SPLIT, moved):
        traffic(own_home, redis_url, experiment, lambda *_: 0.2)
    changed = sum(assign(user, SPLIT) != assign(user, moved) for user in USERS)
    found = report(moved)
    assert changed > 50
    assert found["left_out"]["users_in_two_variants"] == changed
    assert sum(one["users"] for one in found["variants"].values()) == 300 - changed


def test_an_interleaving_prefers_what_users_click(own_home: Path, redis_url: str, report: Report) -> None:
    traffic(own_home, redis_url, INTERLEAVED, lambda *_: 0.3)
    found = report(INTERLEAVED)
    placed = [one["placed"] for one in found["variants"].values()]
    assert sum(placed) == 4 * found["exposures"] == 4 * 550
    preference = found["comparisons"]["b - a"]["preference"]
    # Both variants are the same pipeline. The coins are of ids that no two runs share: 4.4 standard errors.
    assert abs(preference["value"]) < 4.4 * (preference["high"] - preference["low"]) / 3.92
    assert report(None, "toy") == found
    as_a_split = report(SPLIT)
    assert as_a_split["left_out"]["exposures_of_the_other_kind"] == 550
    assert as_a_split["variants"]["a"]["exposures"] == 0


def test_for_people_it_is_a_table_and_a_mismatch_is_shouted(
    own_home: Path, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    traffic(own_home, redis_url, SPLIT, lambda *_: 0.2)
    for shares, shouts in ((SPLIT, False), (toy(a=0.9, b=0.1), True)):
        report_experiment(Settings(home=own_home, experiment=shares), None, [], WEEK, None, json=False)
        said = capsys.readouterr().out
        assert "toy, split" in said
        assert "b - a: click through" in said
        assert ("SAMPLE RATIO MISMATCH" in said) is shouts
        assert ("sample ratio as set" in said) is not shouts


def test_for_people_an_interleaving_is_wins_and_losses(
    own_home: Path, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    traffic(own_home, redis_url, INTERLEAVED, lambda *_: 0.2)
    report_experiment(Settings(home=own_home, experiment=INTERLEAVED), None, [], WEEK, None, json=False)
    said = capsys.readouterr().out
    assert "b - a: preference " in said
    assert " wins, " in said
    assert "(sign test)" in said


def test_an_erased_user_leaves_the_report(own_home: Path, redis_url: str, report: Report) -> None:
    with running(Settings(home=own_home, redis_url=redis_url, tenant="erased", experiment=SPLIT)) as app:
        recommended(app, users=["ann", "bob"])
        app.client.delete("/v1/users/ann")
        assert app.appended(Stream.IMPRESSIONS) == 2
    assert sum(one["users"] for one in report(SPLIT)["variants"].values()) == 1


@pytest.mark.parametrize(
    ("name", "window", "since", "error", "said"),
    [
        (None, WEEK, None, InvalidInput, "^experiment: the settings have none"),
        ("nothing-like-it", WEEK, None, UnknownName, "nothing-like-it"),
        ("toy", 0.0, None, InvalidInput, "^window: "),
        ("toy", WEEK, "yesterday", InvalidInput, "^since: 'yesterday'"),
        ("toy", WEEK, "2026-11-25", InvalidInput, "with a zone"),
        ("toy", WEEK, "nan", InvalidInput, "^since: "),
    ],
)
def test_what_cannot_be_reported_is_named(
    own_home: Path, name: str | None, window: float, since: str | None, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        report_experiment(Settings(home=own_home), name, [], window, since, json=True)
