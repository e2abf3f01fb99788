"""Putting a bundle into use: compared, refused when it ranks worse, forced, undone."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from toy_frames import marching

from features.datasets import load as load_dataset
from features.errors import BundleRefused, PromotionRefused, UnknownName
from models.bundle import Bundle, train_counts
from services.bundles import publish, save
from services.jobs.models import list_models
from services.jobs.promoting import promote_model, roll_back
from services.jobs.training import train_and_register
from services.promotions import current_name, journal
from services.settings import Settings
from tests.models.test_bundle import poison, truncate
from tests.services.conftest import NOW, running


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users who march through a ring of items, as a file."""
    events, _ = marching(users=60, items=20, length=6)
    file = tmp_path_factory.mktemp("data") / "ring.csv"
    events.select("user", "item", timestamp="at").write_csv(file)
    return file


def trained(file: Path, name: str | None = None, *, shuffled: bool = False) -> Bundle:
    dataset = load_dataset(str(file), Path("/nowhere"))
    events = dataset.events
    if shuffled:
        events = events.with_columns(events["item"].sample(fraction=1.0, shuffle=True, seed=3))
    return train_counts(events, dataset.items, fingerprint="toy", data_name=str(file) if name is None else name)


@pytest.fixture(scope="module")
def good(ring: Path) -> Bundle:
    return trained(ring)


@pytest.fixture(scope="module")
def bad(ring: Path) -> Bundle:
    """Fitted on the same items in an order that means nothing."""
    return trained(ring, shuffled=True)


@pytest.fixture
def settings(own_home: Path) -> Settings:
    return Settings(home=own_home)


def test_the_first_is_compared_with_nothing(settings: Settings, good: Bundle) -> None:
    save(settings, good)
    report = promote_model(settings, good.name, NOW)
    assert (report["kind"], report["from"], report["figures"]) == ("first", None, {})
    assert current_name(settings) == good.name


def test_a_better_bundle_is_promoted_with_the_figures_in_the_journal(
    settings: Settings, good: Bundle, bad: Bundle, ring: Path
) -> None:
    publish(settings, bad)
    save(settings, good)
    promote_model(settings, good.name, NOW, who="ann")
    assert current_name(settings) == good.name
    promotion = journal(settings)[-1]
    assert (promotion.who, promotion.before, promotion.to, promotion.forced) == ("ann", bad.name, good.name, False)
    figures = promotion.figures
    assert (figures["users"], figures["data"]) == (60, str(ring))
    assert figures["ndcg@10"]["to"] > 0.8 > figures["ndcg@10"]["from"]
    assert figures["difference"]["low"] > 0


def test_a_worse_bundle_is_refused_unless_it_is_forced(settings: Settings, good: Bundle, bad: Bundle) -> None:
    publish(settings, good)
    save(settings, bad)
    with pytest.raises(PromotionRefused, match="ranks worse") as refused:
        promote_model(settings, bad.name, NOW)
    assert "--force" in str(refused.value)
    assert current_name(settings) == good.name
    assert len(journal(settings)) == 1
    promote_model(settings, bad.name, NOW, force=True)
    assert current_name(settings) == bad.name
    promotion = journal(settings)[-1]
    assert promotion.forced
    assert "ranks worse" in promotion.reason
    assert promotion.figures["difference"]["high"] < 0


def test_what_is_in_use_already_stays_and_is_not_journalled(settings: Settings, good: Bundle) -> None:
    publish(settings, good)
    assert promote_model(settings, good.name, NOW)["changed"] is False
    assert len(journal(settings)) == 1


def test_a_damaged_candidate_is_refused_before_anything_changes_even_when_forced(
    settings: Settings, good: Bundle, bad: Bundle
) -> None:
    publish(settings, bad)
    poison(save(settings, good))
    with pytest.raises(BundleRefused, match="not finite"):
        promote_model(settings, good.name, NOW, force=True)
    assert current_name(settings) == bad.name
    assert len(journal(settings)) == 1


def test_an_unknown_candidate_is_refused(settings: Settings) -> None:
    with pytest.raises(UnknownName, match="models list"):
        promote_model(settings, "counts-gone", NOW)


@pytest.mark.parametrize(("name", "said"), [("/gone/ring.csv", "/gone/ring.csv"), ("", "does not name its data")])
def test_without_its_data_a_bundle_is_refused_unless_data_is_named_or_it_is_forced(
    settings: Settings, bad: Bundle, ring: Path, name: str, said: str
) -> None:
    lost = trained(ring, name)
    publish(settings, bad)
    save(settings, lost)
    with pytest.raises(PromotionRefused, match=said) as refused:
        promote_model(settings, lost.name, NOW)
    assert "--data" in str(refused.value)
    assert promote_model(settings, lost.name, NOW, data=str(ring))["changed"]
    promote_model(settings, bad.name, NOW, force=True)
    assert promote_model(settings, lost.name, NOW, force=True)["figures"] == {}
    with pytest.raises(UnknownName):
        promote_model(settings, bad.name, NOW, data="/not/there")


def test_data_without_a_user_to_hold_out_compares_nothing(
    settings: Settings, good: Bundle, bad: Bundle, tmp_path: Path
) -> None:
    file = tmp_path / "few.csv"
    pl.DataFrame({"user": ["a", "b"], "item": ["i1", "i2"], "timestamp": [1, 2]}).write_csv(file)
    publish(settings, bad)
    save(settings, good)
    with pytest.raises(PromotionRefused, match="three events"):
        promote_model(settings, good.name, NOW, data=str(file))


def test_a_damaged_bundle_in_use_is_replaced_only_by_force(settings: Settings, good: Bundle, bad: Bundle) -> None:
    truncate(publish(settings, bad))
    save(settings, good)
    with pytest.raises(PromotionRefused, match="sha256"):
        promote_model(settings, good.name, NOW)
    assert promote_model(settings, good.name, NOW, force=True)["changed"]


def test_a_rollback_goes_to_what_was_before_and_refuses_what_no_longer_loads(
    settings: Settings, good: Bundle, bad: Bundle
) -> None:
    folder = publish(settings, bad)
    publish(settings, good)
    report = roll_back(settings, NOW)
    assert (report["from"], report["to"], report["kind"]) == (good.name, bad.name, "rollback")
    promote_model(settings, good.name, NOW)
    truncate(folder)
    with pytest.raises(PromotionRefused, match="sha256"):
        roll_back(settings, NOW)
    assert current_name(settings) == good.name


def test_who_waits_is_told_when_the_server_answers_by_the_bundle(
    settings: Settings, good: Bundle, bad: Bundle, redis_url: str
) -> None:
    publish(settings, bad)
    save(settings, good)
    with running(settings.model_copy(update={"redis_url": redis_url, "tenant": "waits"})) as app:
        at = settings.model_copy(update={"port": app.client.base_url.port})
        report = promote_model(at, good.name, NOW, wait=20.0)
        assert report["served_after"] > 0
        assert app.client.get("/v1/models").json()["in_use"] == good.name
    assert roll_back(at, NOW, wait=0.2)["served_after"] is None  # the server has gone


def test_what_is_on_disk_and_not_registered_is_listed_all_the_same(
    settings: Settings, good: Bundle, bad: Bundle, ring: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(settings, good)
    (save(settings, bad) / "manifest.json").write_text("{")
    list_models(settings, json=True)
    listed = json.loads(capsys.readouterr().out)
    assert listed["in_use"] == good.name
    kinds = {one["name"]: (one["version"], one["kind"], one["data"], one["in_use"]) for one in listed["models"]}
    assert kinds == {good.name: (None, "counts", str(ring), True), bad.name: (None, "unreadable", "", False)}
    assert not (settings.home / "mlflow.sqlite").exists()  # to look is not to make tables


def test_before_the_first_there_is_nothing_to_go_back_to(settings: Settings, good: Bundle) -> None:
    publish(settings, good)
    with pytest.raises(PromotionRefused, match="nothing was in use"):
        roll_back(settings, NOW)


@pytest.mark.usefixtures("tables_of_mlflow")
def test_a_registered_bundle_that_is_not_on_this_disk_is_fetched(settings: Settings, ring: Path, bad: Bundle) -> None:
    publish(settings, bad)
    report = train_and_register(settings, str(ring), 0)
    shutil.rmtree(settings.home / "models" / report["model"])
    [registered] = (settings.home / "mlflow-artifacts").rglob("pctm.safetensors")
    content = registered.read_bytes()
    registered.write_bytes(content[:-1])
    for _ in range(2):  # what came broken is not kept
        with pytest.raises(BundleRefused, match="sha256"):
            promote_model(settings, report["model"], NOW)
    registered.write_bytes(content)
    promoted = promote_model(settings, report["model"], NOW)
    assert (promoted["to"], promoted["version"]) == (report["model"], report["version"])
    assert current_name(settings) == report["model"]


@pytest.mark.usefixtures("tables_of_mlflow")
def test_training_with_promotion_is_refused_when_it_ranks_worse_and_stays_registered(
    settings: Settings, good: Bundle, tmp_path: Path
) -> None:
    publish(settings, good)
    # Users who choose at random until their last step, which is that of the ring: only who knows the ring foresees it.
    generator = np.random.default_rng(0)
    rows = []
    for user in range(60):
        last, *others = generator.permutation(20).tolist()
        items = [*[item for item in others if item not in (last, (last + 1) % 20)][:6], last, (last + 1) % 20]
        rows += [(f"r{user}", f"i{item}", at) for at, item in enumerate(items)]
    worse = tmp_path / "worse.csv"
    pl.DataFrame(rows, ["user", "item", "timestamp"], orient="row").write_csv(worse)
    with pytest.raises(PromotionRefused) as refused:
        train_and_register(settings, str(worse), 0, promote=True)
    assert "ranks worse" in str(refused.value)
    assert current_name(settings) == good.name
