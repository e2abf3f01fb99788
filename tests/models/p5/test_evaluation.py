"""The evaluation of a P5 that learnt next to nothing: what is measured, on what, and what is refused."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from toy_p5_asked import tiny, told

from features.errors import InvalidInput, UnknownName
from models.p5.corpus import Corpus
from models.p5.evaluation import KINDS, case_of, evaluate_p5, trained_p5
from models.p5.exams import exams
from models.p5.questions import worded
from models.p5.store import P5Store
from models.p5.templates import TEMPLATES, Family, Task, family_of, templates_of

EVENTS, ITEMS = told(users=40)
CONFIG = tiny()
STEPS: list[tuple[int, int, str]] = []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("p5")
    trained_p5(case_of(EVENTS, ITEMS, CONFIG), "toy", P5Store(found, may_train=True), CONFIG)
    return found


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    store = P5Store(folder)
    return evaluate_p5(
        EVENTS,
        ITEMS,
        fingerprint="toy",
        store=store,
        config=CONFIG,
        bootstrap=20,
        progress=lambda *step: STEPS.append(step),
    )


def test_every_family_and_every_template_is_measured(report: dict[str, Any]) -> None:
    assert list(report["families"]) == [family.value for family in Family]
    for kind in KINDS:
        measured = [
            name
            for family in report["families"].values()
            for task in family[kind]["tasks"].values()
            for name in task["by_template"]
        ]
        assert sorted(measured) == sorted(one.id for one in TEMPLATES if one.held_out == (kind == "held_out"))
        for family in report["families"].values():
            assert family[kind]["templates"] == sum(task["templates"] for task in family[kind]["tasks"].values())
    assert report["left_out"] == []
    assert report["data"]["users_measured"] == EVENTS["user"].n_unique()
    json.dumps(report, allow_nan=False)


def test_a_familys_figures_are_those_of_its_first_task(report: dict[str, Any]) -> None:
    for family, task, measure in (
        ("rating", Task.STARS, "rmse"),
        ("sequential", Task.NEXT, "ndcg@10"),
        ("explanation", Task.EXPLAIN, "rouge-l"),
        ("review", Task.HEADLINE, "bleu-4"),
        ("direct", Task.SUITS, "accuracy"),
    ):
        seen = report["families"][family]["seen"]
        assert (seen["task"], seen[measure]) == (task, seen["tasks"][task][measure])


def test_ratings_stand_beside_the_baseline(report: dict[str, Any]) -> None:
    for kind in KINDS:
        stars = report["families"]["rating"][kind]
        gap = stars["rmse - baseline"]
        assert gap["value"] == pytest.approx(stars["rmse"] - stars["baseline"]["rmse"])
        assert gap["low"] <= gap["value"] <= gap["high"]
        assert (
            stars["questions"] == EVENTS.group_by("user").agg(pl.col("value").sort_by("at").last()).drop_nulls().height
        )


def test_the_wording_matters_a_little_in_every_family(report: dict[str, Any]) -> None:
    assert set(report["prompt_sensitivity"]) == set(report["families"])
    for family, index in report["prompt_sensitivity"].items():
        assert {family_of(Task(task)) for task in index["tasks"]} == {Family(family)}
        assert index["seen"] > 0
        assert index["held_out"] > 0


def test_texts_say_what_they_were_learnt_from(report: dict[str, Any], tmp_path: Path) -> None:
    assert [report["families"][family]["made_from"] for family in ("explanation", "review")] == ["reviews"] * 2
    config = tiny(sequential=0.0, direct=0.0, rating=0.0)
    store = P5Store(tmp_path, may_train=True)
    events = EVENTS.drop("headline", "review")
    found = evaluate_p5(events, ITEMS, fingerprint="toy", store=store, config=config)
    assert list(found["families"]) == ["explanation"]
    assert found["families"]["explanation"]["made_from"] == "facts"
    assert [message.partition(" ")[0] for message in found["left_out"]] == ["review", "rating", "sequential", "direct"]


def test_the_same_model_gives_the_same_report(folder: Path, report: dict[str, Any]) -> None:
    shuffled = EVENTS.sample(fraction=1.0, shuffle=True, seed=1)
    again = evaluate_p5(shuffled, ITEMS, fingerprint="toy", store=P5Store(folder), config=CONFIG, bootstrap=20)
    assert again == report


@pytest.mark.parametrize("other", ["another cut", "another seed", "another configuration", "other items"])
def test_a_model_that_was_trained_for_anything_else_is_refused(folder: Path, other: str) -> None:
    with pytest.raises(UnknownName, match="no P5 was trained for this"):
        evaluate_p5(
            EVENTS,
            pl.concat([ITEMS, ITEMS.head(1).with_columns(item=pl.lit("new"))]) if other == "other items" else ITEMS,
            fingerprint="another" if other == "another cut" else "toy",
            store=P5Store(folder),
            config=tiny(indexing="random") if other == "another configuration" else CONFIG,
            seed=1 if other == "another seed" else 0,
        )


def test_training_and_questions_know_nothing_of_what_is_asked_about() -> None:
    last = pl.col("at") == pl.col("at").max().over("user")
    other = EVENTS.with_columns(
        item=pl.when(last).then(pl.lit("i3")).otherwise("item"), value=pl.when(last).then(1.0).otherwise("value")
    )
    cases = [case_of(events, ITEMS, CONFIG) for events in (EVENTS, other)]
    assert cases[0].history.equals(cases[1].history)
    prompts = [
        [worded(one.question, templates_of(Task.NEXT)[0]) for one in exams(case.corpus, Task.NEXT)] for case in cases
    ]
    assert prompts[0] == prompts[1]


def test_what_others_gave_is_what_they_gave_in_training(folder: Path) -> None:
    case = case_of(EVENTS, ITEMS, CONFIG)
    p5 = trained_p5(case, "toy", P5Store(folder), CONFIG)
    asker = p5.asker
    told_of, known = [
        {one.user: one.question.values["others"] for one in exams(case.corpus, Task.STARS, asker=asker)}
        for asker in (asker, None)
    ]
    assert told_of != known  # validation events count in the corpus alone
    kept = EVENTS.filter(pl.col("at") < pl.col("at").max().over("user") - 1)
    means = dict(kept.group_by("item").agg(pl.col("value").mean()).drop_nulls().iter_rows())
    for user, item in zip(told_of, _targets(case.corpus, case.vocabulary.items, told_of), strict=True):
        assert told_of[user] == (f"{means[item]:.1f}" if item in means else "unknown",)


def _targets(corpus: Corpus, items: tuple[str, ...], users: dict[int, Any]) -> list[str]:
    return [items[corpus.data.targets_U[user]] for user in users]


def test_progress_counts_the_templates(report: dict[str, Any]) -> None:
    assert report
    assert [done for done, _, _ in STEPS] == list(range(len(TEMPLATES) + 1))
    assert {total for _, total, _ in STEPS} == {len(TEMPLATES)}


def test_users_with_few_events_are_not_measured() -> None:
    with pytest.raises(InvalidInput, match="no user has three events"):
        case_of(EVENTS.head(2), ITEMS, CONFIG)
