from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from toy_raters import ITEMS, SMALL, raters

from features.errors import BundleRefused, UnknownName
from models.summaries import evaluation
from models.summaries.downstream.cases import Task
from models.summaries.downstream.config import DownstreamConfig
from models.summaries.downstream.store import DownstreamStore
from models.summaries.evaluation import COMPARED, evaluate_summaries
from models.summaries.retrieval import BM25, Recency, Retriever

pytestmark = pytest.mark.usefixtures("one_thread")


def evaluated(
    store: DownstreamStore,
    events: pl.DataFrame | None = None,
    config: DownstreamConfig = SMALL,
    retriever: Retriever | None = None,
    only: tuple[Task, ...] = tuple(Task),
    seed: int = 0,
) -> dict[str, Any]:
    return evaluate_summaries(
        raters() if events is None else events,
        ITEMS,
        fingerprint="toy",
        store=store,
        retriever=retriever or BM25(),
        config=config,
        seed=seed,
        bootstrap=50,
        count=lambda texts: [len(text.split()) for text in texts],
        only=only,
    )


@pytest.fixture(scope="module", autouse=True)
def few_are_timed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "TIMED", 1)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downstream")


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    return evaluated(DownstreamStore(folder, may_train=True))


def test_who_is_told_of_a_user_answers_better_than_who_is_not(report: dict[str, Any]) -> None:
    rating = report["tasks"]["rating"]
    assert rating["arms"]["none"]["mae"]["value"] > 1.5
    for arm in ("summary", "summary+1", "retrieval-16", "full"):
        assert rating["arms"][arm]["mae"]["value"] < 0.2, arm
    assert rating["differences"]["summary - none"]["-mae"]["low"] > 1.5


def test_every_arm_has_its_figures(report: dict[str, Any]) -> None:
    for task, measures in (("rating", {"mae", "rmse"}), ("choice", {"accuracy", "mrr"})):
        arms = report["tasks"][task]["arms"]
        told = {"tokens", "history_tokens", "history_tokens_generator", "latency_ms"}
        assert all(set(figures) == measures | told for figures in arms.values())
        for figures in arms.values():
            assert all(figures[name]["low"] <= figures[name]["value"] <= figures[name]["high"] for name in measures)
        assert arms["none"]["history_tokens"] == 0
        assert arms["retrieval-1"]["history_tokens"] < arms["retrieval-4"]["history_tokens"]
        assert arms["full"]["tokens"] > arms["recency-4"]["tokens"]
        assert arms["summary+1"]["history_tokens"] > arms["summary"]["history_tokens"]


def test_the_claim_is_what_the_figures_say(report: dict[str, Any]) -> None:
    for task, name in (("rating", "-mae"), ("choice", "accuracy")):
        found = report["tasks"][task]
        pair = found["differences"]["summary+1 - retrieval-16"]
        both = (found["arms"][arm]["history_tokens"] for arm in ("summary+1", "retrieval-16"))
        assert found["claim"]["low"] == pair[name]["low"]
        assert found["claim"]["shares"]["history_tokens"] == pytest.approx(next(both) / next(both), abs=1e-3)
        assert found["claim"]["holds"] == (pair[name]["low"] >= -0.01 and max(found["claim"]["shares"].values()) <= 0.4)
        assert set(found["differences"]) == {f"{ours} - {other}" for ours, other in COMPARED}


def test_what_is_there_is_loaded_and_answers_the_same(folder: Path, report: dict[str, Any]) -> None:
    again = evaluated(DownstreamStore(folder))
    for task in Task:
        for arm, figures in again["tasks"][task]["arms"].items():
            before = report["tasks"][task]["arms"][arm]
            assert {**figures, "latency_ms": 0} == {**before, "latency_ms": 0}


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"config": replace(SMALL, dropout=0.1)},
        {"retriever": Recency()},
        {"events": raters().with_columns(value=6 - pl.col("value"))},
    ],
)
@pytest.mark.usefixtures("report")
def test_what_was_trained_for_something_else_is_not_taken(folder: Path, other: dict[str, Any]) -> None:
    with pytest.raises(UnknownName, match="--train"):
        evaluated(DownstreamStore(folder), **other)


@pytest.mark.usefixtures("report")
def test_a_damaged_model_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for one in folder.glob("rating-*"):
        (copy / one.name).mkdir()
        for part in one.iterdir():
            (copy / one.name / part.name).write_bytes(part.read_bytes() + b" " * (part.name == "tokenizer.json"))
    with pytest.raises(BundleRefused, match="sha256"):
        evaluated(DownstreamStore(copy), only=(Task.RATING,))


def test_data_without_ratings_is_asked_for_choices_alone(tmp_path: Path) -> None:
    store = DownstreamStore(tmp_path, may_train=True)
    config = replace(SMALL, examples=40, rounds=1)
    found = evaluated(store, raters(users=6).with_columns(value=pl.lit(None, pl.Float64)), config)
    assert [*found["tasks"]] == ["choice"]
    assert found["left_out"][0].startswith("rating")
