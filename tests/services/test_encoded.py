"""Vectors of a trained encoder in real applications: stored behind the ingest, used while fresh, gone with a user."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from toy_frames import marching

from features.events import UserId
from features.profile import UserVector
from models.bundle import Bundle, train_counts
from models.encoders.config import EncoderConfig
from models.encoders.store import EncoderStore
from services.bundles import publish
from services.encode import query_of
from services.settings import Settings
from tests.services.conftest import NOW, Running, event, running, wait_until
from tests.services.test_cli import Tasteprint, tasteprint

__all__ = ["tasteprint"]

CONFIG = EncoderConfig(dimensions=16, blocks=1, heads=1, epochs=3, patience=3)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """Two, whose encoders differ; of users who march through a ring of items, i0 to i19."""
    store = EncoderStore(tmp_path_factory.mktemp("encoders"), may_train=True)
    events, items = marching(users=60, items=20, length=6)
    first, second = (
        train_counts(events, items, fingerprint="toy", seed=seed, encoders=store, encoder_config=CONFIG)
        for seed in (0, 1)
    )
    assert first.name != second.name
    return first, second


@pytest.fixture(scope="module")
def encoding(
    tmp_path_factory: pytest.TempPathFactory, redis_url: str, bundles: tuple[Bundle, Bundle]
) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("encoding")
    with started(Settings(home=home, redis_url=redis_url, tenant="encoding", explore=0.0), bundles[0]) as app:
        yield app


def started(settings: Settings, bundle: Bundle) -> Any:
    publish(settings, bundle)
    return running(settings)


def marched(app: Running, user: str, *items: str, at: float = NOW - 100) -> None:
    app.send([event(user, item, at + step) for step, item in enumerate(items)])


def computed(app: Running, user: str) -> NDArray[np.float32]:
    """The vector of the profile as it is now."""
    [vector_D] = app.serving.recommender.pipeline.vectors([query_of(app.backends.patient.read([UserId(user)])[0])])
    return vector_D


def stored(app: Running, user: str) -> UserVector | None:
    """The vector of the model in use, when it is fresh."""
    model = app.serving.recommender.pipeline.model
    [(history, vector)] = app.backends.patient.read_with_vectors([UserId(user)], model)
    return vector if vector is not None and vector.as_of == history.as_of else None


def answer(app: Running, user: str) -> tuple[list[tuple[str, float]], str]:
    """(items with their scores, as_of)"""
    found = app.client.get(f"/v1/users/{user}/recommendations?k=5").json()
    assert found["degraded"] == []
    return [(item["item_id"], item["score"]) for item in found["items"]], found["as_of"]


def counted(app: Running) -> dict[str, float]:
    """How many vectors answers have used, by where they came from."""
    return {
        sample.labels["source"]: sample.value
        for family in text_string_to_metric_families(app.client.get("/metrics").text)
        for sample in family.samples
        if sample.name == "tasteprint_user_vectors_total"
    }


def forge(app: Running, user: str, model: str | None = None) -> None:
    """Stores a vector that the encoder would not give, as one that is fresh."""
    [history] = app.backends.patient.read([UserId(user)])
    assert history.as_of is not None
    vector_D = -10.0 * computed(app, user)
    forged = UserVector(vector_D, model or app.serving.recommender.pipeline.model, history.as_of)
    assert app.backends.patient.write_vectors([(UserId(user), forged)]) == 1


def test_after_events_the_stored_vector_is_that_of_the_profile(encoding: Running, user: str) -> None:
    for items in (["i3", "i4"], ["i5"]):
        marched(encoding, user, *items, at=NOW - 100 * len(items))
        wait_until(lambda: stored(encoding, user))
        vector = stored(encoding, user)
        assert vector is not None
        np.testing.assert_allclose(vector.vector_D, computed(encoding, user), atol=1e-6)
        assert np.abs(vector.vector_D).max() > 0.01


def test_many_users_together_have_the_vectors_that_each_has_alone(encoding: Running, user: str) -> None:
    users = [f"{user}-{number}" for number in range(40)]
    encoding.send([event(one, f"i{n % 20}", NOW - 50 + n) for n, one in enumerate(users)])
    wait_until(lambda: all(stored(encoding, one) for one in users))
    for one in users:
        vector = stored(encoding, one)
        assert vector is not None
        np.testing.assert_allclose(vector.vector_D, computed(encoding, one), atol=1e-6)


def test_a_fresh_vector_is_used_and_a_stale_one_is_not(encoding: Running, user: str) -> None:
    marched(encoding, user, "i3", "i4")
    wait_until(lambda: stored(encoding, user))
    items, as_of = answer(encoding, user)
    before = counted(encoding)
    forge(encoding, user)
    forged, same = answer(encoding, user)
    assert forged != items
    assert same == as_of
    assert counted(encoding) == before | {"stored": before["stored"] + 1}
    marched(encoding, user, "i5", at=NOW - 10)
    newer, newer_as_of = answer(encoding, user)  # the forged vector may still be there, and is not used
    assert newer_as_of != as_of
    wait_until(lambda: stored(encoding, user))
    again, _ = answer(encoding, user)
    assert [item for item, _ in again] == [item for item, _ in newer]
    np.testing.assert_allclose([score for _, score in again], [score for _, score in newer], atol=1e-5)


def test_a_vector_of_another_model_is_not_used(encoding: Running, user: str) -> None:
    marched(encoding, user, "i3", "i4")
    wait_until(lambda: stored(encoding, user))
    items, _ = answer(encoding, user)
    forge(encoding, user, model="another")
    assert answer(encoding, user)[0] == items


def test_who_is_erased_has_no_vector(encoding: Running, user: str) -> None:
    marched(encoding, user, "i3", "i4")
    wait_until(lambda: stored(encoding, user))
    assert encoding.client.delete(f"/v1/users/{user}").status_code == 202
    wait_until(lambda: not encoding.backends.patient.read([UserId(user)])[0].encoded)
    assert encoding.backends.patient.vectors(UserId(user)) == ()
    marched(encoding, f"{user}-other", "i3")
    wait_until(lambda: stored(encoding, f"{user}-other"))  # the worker has gone on since
    assert encoding.backends.patient.vectors(UserId(user)) == ()


def test_a_model_that_comes_into_use_has_everybody_encoded_and_the_one_before_keeps_its_vectors(
    own_home: Path, redis_url: str, bundles: tuple[Bundle, Bundle]
) -> None:
    settings = Settings(home=own_home, redis_url=redis_url, tenant="swapped", explore=0.0)
    users = ["ann", "bob", "cem"]
    with started(settings, bundles[0]) as app:
        for number, user in enumerate(users):
            marched(app, user, f"i{number}", f"i{number + 1}")
        wait_until(lambda: all(stored(app, user) for user in users))
        publish(settings, bundles[1])
        wait_until(lambda: app.serving.recommender.pipeline.model == bundles[1].name)
        wait_until(lambda: all(stored(app, user) for user in users))
        for user in users:
            vector = stored(app, user)
            assert vector is not None
            np.testing.assert_allclose(vector.vector_D, computed(app, user), atol=1e-6)
            kept = {one.model for one in app.backends.patient.vectors(UserId(user))}
            assert kept == {bundles[0].name, bundles[1].name}


def test_without_the_worker_answers_are_as_fresh_and_the_same(
    encoding: Running, own_home: Path, redis_url: str, bundles: tuple[Bundle, Bundle]
) -> None:
    settings = Settings(home=own_home, redis_url=redis_url, tenant="off", explore=0.0, encode=False)
    marched(encoding, "walker", "i3", "i4")
    wait_until(lambda: stored(encoding, "walker"))
    with started(settings, bundles[0]) as app:
        marched(app, "walker", "i3", "i4")
        items, as_of = answer(app, "walker")
        assert counted(app)["computed"] == 1
        marched(app, "walker", "i5", at=NOW - 10)
        assert answer(app, "walker")[1] != as_of
        assert app.backends.patient.vectors(UserId("walker")) == ()
        assert (stored(app, "walker"), counted(app)["stored"]) == (None, 0)
        ours, theirs = computed(app, "walker"), computed(encoding, "walker")
        assert not np.allclose(ours, theirs)  # it knows of the newest event
    assert [item for item, _ in items] == [item for item, _ in answer(encoding, "walker")[0]]


def test_the_command_encodes_what_the_log_holds_and_the_export_names_the_vectors(
    tasteprint: Tasteprint, own_home: Path, tmp_path: Path, bundles: tuple[Bundle, Bundle]
) -> None:
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("user,item,at\nann,i1,1000\nann,i2,2000\nbob,i7,3000\n")
    refused = tasteprint("encode")
    assert (refused.status, refused.out) == (2, "")
    assert "no bundle with an encoder" in refused.err
    publish(Settings(home=own_home), bundles[0])
    tasteprint("data", "import", ratings)
    tasteprint("ingest", "--until-end")
    report = tasteprint("encode", "--json").json()
    del report["seconds"]
    assert report == {"events": 3, "users": 2, "written": 2, "failed": 0, "not_applied": 0}
    assert tasteprint("encode", "--json").json()["users"] == 0
    exported = tasteprint("users", "export", "ann").json()
    assert exported["vectors"] == [{"model": bundles[0].name, "as_of": exported["as_of"], "dimensions": 16}]
    tasteprint("users", "erase", "ann", "--json")
    assert tasteprint("users", "export", "ann").json()["vectors"] == []
