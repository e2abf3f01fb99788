"""P5 among the models that are ranked, alone and in the pipeline; users march round a ring of 20 items."""

import json
from pathlib import Path
from typing import Any

import pytest
from toy_frames import marching
from toy_p5_asked import tiny

from features.errors import InvalidInput, UnknownName
from models.evaluation import evaluate_ranking
from models.p5.evaluation import case_of, trained_p5
from models.p5.store import P5Store

EVENTS, ITEMS = marching(users=60, items=20, length=6)
CONFIG = tiny(epochs=3)
NAMES = ("pipeline-counts", "p5", "pipeline-p5")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> P5Store:
    folder = tmp_path_factory.mktemp("p5")
    trained_p5(case_of(EVENTS, ITEMS, CONFIG), "toy", P5Store(folder, may_train=True), CONFIG)
    return P5Store(folder)


def ranked(store: P5Store, *names: str, **given: Any) -> dict[str, Any]:
    asked = {"fingerprint": "toy", "p5s": store, "p5_config": CONFIG, "bootstrap": 20, **given}
    return evaluate_ranking(EVENTS, ITEMS, models=names, **asked)


def test_p5_is_ranked_alone_and_in_the_pipeline(store: P5Store) -> None:
    report = ranked(store, *NAMES)
    assert list(report["models"]) == list(NAMES)
    assert {measures["users"] for measures in report["models"].values()} == {60}
    assert set(report["comparisons"]) == {"pipeline-p5 - pipeline-counts", "pipeline-p5 - p5"}
    assert "p5" in report["weights"]
    assert "no refit" in report["protocol"]["p5_is"]
    json.dumps(report, allow_nan=False)


def test_p5_reaches_in_a_ranking_what_it_reaches_by_itself(store: P5Store, tmp_path: Path) -> None:
    from models.p5.exams import exams
    from models.p5.replies import replies
    from models.p5.templates import Task, templates_of

    case = case_of(EVENTS, ITEMS, CONFIG)
    p5 = trained_p5(case, "toy", store, CONFIG)
    found = replies(p5, case.corpus, exams(case.corpus, Task.NEXT), templates_of(Task.NEXT)[0])
    assert ranked(store, "p5")["models"]["p5"]["hr@5"] == sum(one.value <= 5 for one in found) / 60


def test_a_refit_leaves_p5_as_it_is(store: P5Store) -> None:
    refitted, trained = (ranked(store, "p5", "pipeline-p5", fit=fit)["models"] for fit in ("refit", "train"))
    assert refitted["p5"] == trained["p5"]


def test_p5_of_another_cut_is_refused(store: P5Store) -> None:
    for other in ({"fingerprint": "other"}, {"split": "global"}, {"seeds": 2}, {"p5_config": tiny(epochs=4)}):
        with pytest.raises(UnknownName, match="no P5 was trained for this"):
            ranked(store, "pipeline-p5", **other)
    with pytest.raises(InvalidInput, match="no store"):
        evaluate_ranking(EVENTS, ITEMS, fingerprint="toy", models=["p5"])


def test_without_p5_the_protocol_does_not_speak_of_it() -> None:
    report = evaluate_ranking(EVENTS, ITEMS, fingerprint="toy", models=["popularity"])
    assert report["protocol"]["p5"] is None
    assert "p5_is" not in report["protocol"]
