import json

import polars as pl
import pytest
from toy_frames import events_of, items_of, marching

from features.errors import InvalidInput, UnknownName
from models.counts.fitting import COUNTING_MODELS
from models.evaluation import evaluate_ranking


def test_every_model_is_measured_over_the_same_users() -> None:
    events, items = marching(users=80, items=25, length=7)
    names = (*COUNTING_MODELS, "pipeline-counts")
    report = evaluate_ranking(events, items, fingerprint="toy", models=names, bootstrap=50)
    assert report["data"] == {"users": 80, "items": 25, "events": 560, "fingerprint": "toy"}
    assert set(report["models"]) == set(names)
    for measures in report["models"].values():
        assert measures["users"] == 80
        assert 0 <= measures["ndcg@5"] <= measures["ndcg@10"] <= measures["hr@10"] <= 1
        assert measures["ndcg@10_low"] <= measures["ndcg@10"] <= measures["ndcg@10_high"]
    # What marches on is predicted by what follows what, and not by what is popular.
    assert report["models"]["transitions"]["ndcg@10"] > 0.8 > report["models"]["popularity"]["ndcg@10"]
    assert report["models"]["pipeline-counts"]["ndcg@10"] > 0.8
    assert report["comparisons"]["pipeline-counts - popularity"]["ndcg@10"]["low"] > 0
    json.dumps(report, allow_nan=False)


def test_popularity_is_measured_as_one_counts_by_hand() -> None:
    # Fitted on all but the last events: a 2, b 3, c 1, d 0. ann (a b | c): c is first of c, d. bob (b a | d): d is
    # second of c, d. cid (b c | a) has a first of a, d; dan has two events only and is left out.
    histories = {"ann": "abc", "bob": "bad", "cid": "bca", "dan": "dd"}
    items = items_of({name: [] for name in "abcd"})
    report = evaluate_ranking(events_of(histories), items, fingerprint="toy", models=["popularity"])
    measures = report["models"]["popularity"]
    assert measures["users"] == 3
    assert measures["ndcg@10"] == pytest.approx((1 + 1 / 1.5849625 + 1) / 3)


def test_a_target_that_was_seen_before_cannot_be_found() -> None:
    events = events_of({f"u{user}": "abca" for user in range(5)})
    report = evaluate_ranking(
        events,
        items_of({name: [] for name in "abcdefghijkl"}),
        fingerprint="",
        models=["transitions", "pipeline-counts"],
    )
    assert [measures["hr@10"] for measures in report["models"].values()] == [0, 0]


def test_orders_of_ties_are_only_tried_where_there_are_ties() -> None:
    events, items = marching(users=20, items=10, length=5)
    tied = events.with_columns(at=pl.lit(1.0))
    for frame, orders in ((events, 1), (tied, 3)):
        report = evaluate_ranking(frame, items, fingerprint="toy", models=["transitions"], tie_seeds=3)
        assert report["protocol"]["tie_orders"] == orders
        assert len(report["models"]["transitions"]["ndcg@10_runs"]) == orders


def test_the_same_call_gives_the_same_figures() -> None:
    events, items = marching(users=40, items=15, length=5)
    first, again = (
        evaluate_ranking(events, items, fingerprint="toy", models=["pipeline-counts"], seeds=2, bootstrap=20)
        for _ in range(2)
    )
    for report in (first, again):
        del report["models"]["pipeline-counts"]["fit_s"]
    assert first == again


def test_the_file_order_of_events_does_not_matter() -> None:
    events, items = marching(users=40, items=15, length=5)
    reports = [
        evaluate_ranking(frame, items, fingerprint="toy", models=["pctm", "pipeline-counts"])["models"]
        for frame in (events, events.sample(fraction=1.0, shuffle=True, seed=4))
    ]
    for name in ("pctm", "pipeline-counts"):
        assert reports[0][name]["ndcg@10"] == reports[1][name]["ndcg@10"]


@pytest.mark.parametrize("fit", ["refit", "train"])
def test_a_global_split_measures_users_from_before_the_date(fit: str) -> None:
    events, items = marching(users=40, items=15, length=10)
    report = evaluate_ranking(
        events, items, fingerprint="toy", models=["transitions", "pipeline-counts"], split="global", fit=fit
    )
    assert report["models"]["pipeline-counts"]["users"] == 40
    assert report["models"]["transitions"]["ndcg@10"] > 0.5


def test_progress_counts_up_to_the_whole() -> None:
    events, items = marching(users=20, items=10, length=5)
    told: list[tuple[int, int, str]] = []
    evaluate_ranking(
        events,
        items,
        fingerprint="toy",
        models=["popularity", "pipeline-counts"],
        seeds=2,
        progress=lambda *step: told.append(step),
    )
    assert [done for done, _, _ in told] == [0, 1, 2, 3]
    assert {total for _, total, _ in told} == {3}


def test_what_cannot_be_measured_is_refused_by_name() -> None:
    events, items = marching(users=5, items=5, length=4)
    with pytest.raises(UnknownName, match="nonesuch"):
        evaluate_ranking(events, items, fingerprint="toy", models=["nonesuch"])
    for wrong in ({"fit": "all"}, {"split": "random"}, {"tie_seeds": 0}):
        with pytest.raises(InvalidInput, match=next(iter(wrong))):
            evaluate_ranking(events, items, fingerprint="toy", models=["pctm"], **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="no user"):
        evaluate_ranking(events.head(2), items, fingerprint="toy", models=["pctm"])
