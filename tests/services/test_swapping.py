"""A running server takes up the bundle that comes into use, refuses a bad one, and answers all the while."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event as Signal
from threading import Thread
from zlib import crc32

import httpx
import orjson
import pytest
from toy_frames import marching

from models.bundle import Bundle, train_counts
from services.bundles import publish, save
from services.promotions import current_name, put_into_use
from services.settings import Settings
from tests.models.test_bundle import poison, raise_a_weight, rewrite, truncate
from tests.services.conftest import NOW, Running, running, wait_until


@pytest.fixture(scope="module")
def bundles() -> tuple[Bundle, Bundle]:
    """Two of the same twenty items."""
    first, second = (
        train_counts(*marching(users=60, items=20, length=6, seed=seed), fingerprint="toy") for seed in (0, 1)
    )
    assert first.name != second.name
    return first, second


@pytest.fixture
def settings(own_home: Path, redis_url: str, request: pytest.FixtureRequest) -> Settings:
    return Settings(home=own_home, redis_url=redis_url, tenant=f"swap-{crc32(request.node.name.encode())}")


def use(settings: Settings, name: str) -> None:
    put_into_use(settings, name, current_name(settings), NOW)


def models(app: Running) -> dict[str, object]:
    value = app.client.get("/v1/models").json()
    assert isinstance(value, dict)
    return value


def metric(app: Running, name: str) -> float:
    [line] = [line for line in app.client.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


def answered_by(app: Running) -> str:
    return str(app.client.get("/v1/users/nobody/recommendations").json()["model_version"])


@contextmanager
def under_load(app: Running, threads: int = 3) -> Iterator[list[tuple[int, str]]]:
    """(status, model) of every answer while the block runs, in the order that each thread was given them."""
    answers: list[tuple[int, str]] = []
    stop = Signal()

    def ask() -> None:
        with httpx.Client(base_url=app.client.base_url, timeout=30.0) as client:
            while not stop.is_set():
                response = client.get("/v1/users/nobody/recommendations?k=5")
                answers.append((response.status_code, response.json()["model_version"]))

    running_threads = [Thread(target=ask) for _ in range(threads)]
    for thread in running_threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in running_threads:
            thread.join()


def test_a_promoted_bundle_is_taken_up_without_a_failed_request(
    settings: Settings, bundles: tuple[Bundle, Bundle]
) -> None:
    first, second = bundles
    publish(settings, first)
    save(settings, second)
    with running(settings) as app:
        with under_load(app) as answers:
            for bundle in (second, first, second):
                use(settings, bundle.name)
                wait_until(lambda bundle=bundle: models(app)["in_use"] == bundle.name)  # type: ignore[misc]
                assert answered_by(app) == bundle.name
        assert {status for status, _ in answers} == {200}
        assert {model for _, model in answers} == {first.name, second.name}
        assert models(app)["manifest"] == second.manifest
        assert metric(app, "tasteprint_model_swaps_total") == 4  # the first of all is counted too


def test_a_server_that_started_without_a_bundle_takes_up_the_first(
    settings: Settings, bundles: tuple[Bundle, Bundle]
) -> None:
    with running(settings) as app:
        assert models(app) == {"in_use": "popularity", "since": NOW, "refused": None, "manifest": None}
        publish(settings, bundles[0])
        wait_until(lambda: answered_by(app) == bundles[0].name)


def take_the_vocabulary_of_another(folder: Path) -> None:
    other = train_counts(*marching(users=60, items=19, length=6), fingerprint="toy")
    rewrite(folder, "vocabulary.json", orjson.dumps(other.vocabulary.items))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate, "sha256"),
        (take_the_vocabulary_of_another, "the vocabulary is not the one"),
        (poison, "not finite"),
        (raise_a_weight, "altered"),
        (shutil.rmtree, "no bundle"),
    ],
)
def test_a_bad_bundle_is_refused_with_the_reason_and_the_old_one_answers(
    settings: Settings, bundles: tuple[Bundle, Bundle], damage: Callable[[Path], None], said: str
) -> None:
    good, bad = bundles
    publish(settings, good)
    damage(save(settings, bad))
    with running(settings) as app:
        with under_load(app) as answers:
            use(settings, bad.name)
            wait_until(lambda: models(app)["refused"] is not None)
            assert models(app)["in_use"] == good.name
        assert set(answers) == {(200, good.name)}
        refused = models(app)["refused"]
        assert isinstance(refused, dict)
        assert refused["name"] == bad.name
        assert said in refused["reason"]
        ready = app.client.get("/readyz")
        assert ready.status_code == 200
        assert said in ready.json()["degraded"][0]
        assert (metric(app, "tasteprint_model_refusals_total"), metric(app, "tasteprint_model_refused")) == (1, 1)

        # What is mended, or another, is taken up.
        shutil.rmtree(settings.home / "models" / bad.name, ignore_errors=True)
        save(settings, bad)
        use(settings, good.name)
        wait_until(lambda: models(app)["refused"] is None)
        use(settings, bad.name)
        wait_until(lambda: answered_by(app) == bad.name)
        assert metric(app, "tasteprint_model_refused") == 0


def test_a_server_that_starts_on_a_bad_bundle_answers_by_the_one_before_it(
    settings: Settings, bundles: tuple[Bundle, Bundle]
) -> None:
    good, bad = bundles
    publish(settings, good)
    poison(publish(settings, bad))
    with running(settings) as app:
        assert models(app)["in_use"] == answered_by(app) == good.name
        assert "not finite" in app.client.get("/readyz").json()["degraded"][0]
        assert app.client.get("/v1/users/nobody/recommendations").json()["degraded"] == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"../models\n", None])
def test_a_name_in_use_that_is_none_starts_a_server_that_answers_by_popularity(
    settings: Settings, content: bytes | None
) -> None:
    place = settings.home / "models" / "current"
    place.parent.mkdir(parents=True)
    if content is None:
        place.mkdir()
    else:
        place.write_bytes(content)
    with running(settings) as app:
        assert models(app)["in_use"] == "popularity"
        assert models(app)["refused"] is not None


def test_a_server_with_no_good_bundle_answers_by_popularity_and_says_so(
    settings: Settings, bundles: tuple[Bundle, Bundle]
) -> None:
    truncate(publish(settings, bundles[0]))
    with running(settings) as app:
        assert models(app)["in_use"] == "popularity"
        answer = app.client.get("/v1/users/nobody/recommendations").json()
        assert answer["model_version"] == "popularity"
        assert answer["degraded"] == [f"answered without the bundle {bundles[0].name}, which is refused"]
        publish(settings, bundles[1])
        wait_until(lambda: answered_by(app) == bundles[1].name)
        assert app.client.get("/v1/users/nobody/recommendations").json()["degraded"] == []
