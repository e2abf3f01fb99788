"""Trained bundles on disk: published, found, replaced, refused."""

from pathlib import Path

import pytest
from toy_frames import marching

from features.errors import BundleRefused, UnknownName
from models.bundle import Bundle, train_counts
from services.bundles import current_bundle, load, names, publish, save
from services.promotions import current_name, journal
from services.settings import Settings


@pytest.fixture(scope="module")
def bundles() -> tuple[Bundle, Bundle]:
    """Two, fitted on different data."""
    return (
        train_counts(*marching(users=20, items=10, length=5), fingerprint="one"),
        train_counts(*marching(users=20, items=10, length=5, seed=1), fingerprint="two"),
    )


@pytest.fixture
def settings(own_home: Path) -> Settings:
    return Settings(home=own_home)


def test_before_anything_is_published_there_is_no_bundle(settings: Settings) -> None:
    assert current_bundle(settings) is None


def test_what_was_published_last_is_in_use_and_what_was_before_is_kept(
    settings: Settings, bundles: tuple[Bundle, Bundle]
) -> None:
    first, second = bundles
    for bundle in (first, second, first):
        folder = publish(settings, bundle)
        assert folder == settings.home / "models" / bundle.name
        found = current_bundle(settings)
        assert found is not None
        assert found.name == bundle.name
    folders = {path.name for path in (settings.home / "models").iterdir() if path.is_dir()}
    assert folders == {first.name, second.name}


def test_publishing_leaves_nothing_half_written(settings: Settings, bundles: tuple[Bundle, Bundle]) -> None:
    publish(settings, bundles[0])
    kept = {path.name for path in (settings.home / "models").iterdir()}
    assert kept == {bundles[0].name, "current", "promotions.jsonl", "promotions.lock"}


def test_what_is_published_is_journalled_and_what_is_saved_is_not_in_use(
    settings: Settings, bundles: tuple[Bundle, Bundle]
) -> None:
    publish(settings, bundles[0])
    save(settings, bundles[1])
    assert [promotion.to for promotion in journal(settings)] == [bundles[0].name]
    assert current_name(settings) == bundles[0].name
    assert names(settings) == [bundle.name for bundle in bundles]


def test_a_bundle_in_the_folder_of_another_is_refused(settings: Settings, bundles: tuple[Bundle, Bundle]) -> None:
    first, second = bundles
    save(settings, first).rename(settings.home / "models" / second.name)
    with pytest.raises(BundleRefused, match=first.name):
        load(settings, second.name)


@pytest.mark.parametrize("name", ["../models", "", ".", "a/b"])
def test_a_name_that_is_a_path_names_no_bundle(settings: Settings, name: str) -> None:
    with pytest.raises(UnknownName):
        load(settings, name)


def test_a_name_without_its_bundle_is_unknown_and_the_error_names_it(
    settings: Settings, bundles: tuple[Bundle, Bundle]
) -> None:
    publish(settings, bundles[0])
    (settings.home / "models" / "current").write_text("counts-gone\n")
    with pytest.raises(UnknownName, match="counts-gone"):
        current_bundle(settings)


def test_a_bundle_that_was_changed_on_disk_is_refused(settings: Settings, bundles: tuple[Bundle, Bundle]) -> None:
    folder = publish(settings, bundles[0])
    file = next(folder.glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleRefused):
        current_bundle(settings)
