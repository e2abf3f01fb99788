"""New items in real applications: posted, placed among an encoder's vectors behind the requests, shown."""

import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from threading import Event as Signal

import polars as pl
import pytest
from toy_tastes import ToyEmbedder, tastes

from features.datasets import Dataset, write
from features.errors import WeightsRefused
from features.events import ItemId
from features.items import Item
from models.bundle import Bundle, train_counts
from models.catalogue import Catalogue
from models.encoders.cold import ColdVectors
from models.encoders.config import EncoderConfig
from models.encoders.store import EncoderStore
from models.language.embedder import Embedder
from services.bundles import publish
from services.cold import AT_ONCE, ColdItems, keep_cold
from services.settings import Settings
from tests.services.conftest import NOW, Running, event, running, wait_until
from tests.services.test_cli import Tasteprint, tasteprint

__all__ = ["tasteprint"]

CONFIG = EncoderConfig(dimensions=16, dropout=0.0, batch=8, epochs=8, patience=8, words=False)
SUITS = "new, and goes with what you chose lately"


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> EncoderStore:
    return EncoderStore(tmp_path_factory.mktemp("encoders"), may_train=True)


@pytest.fixture(scope="module")
def mapped(encoders: EncoderStore, minilm: Path) -> Bundle:
    """With a map from the real embeddings; its encoder leaves words alone."""
    return train_counts(
        *tastes(), fingerprint="toy", encoders=encoders, encoder_config=CONFIG, embedder=Embedder(minilm)
    )


@pytest.fixture(scope="module")
def toy(encoders: EncoderStore) -> Bundle:
    """The same with a map from toy embeddings."""
    return train_counts(*tastes(), fingerprint="toy", encoders=encoders, encoder_config=CONFIG, embedder=ToyEmbedder())


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, redis_url: str, mapped: Bundle, minilm: Path) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("cold")
    (home / "weights").symlink_to(minilm.parent)
    settings = Settings(home=home, redis_url=redis_url, tenant="cold", explore=0.2)
    publish(settings, mapped)
    with running(settings) as started:
        yield started


def last(app: Running, user: str) -> tuple[str, str, str]:
    """(item, source, reason) of the last place of a user's list."""
    found = app.client.get(f"/v1/users/{user}/recommendations?k=5").json()
    assert found["degraded"] == []
    item = found["items"][-1]
    return item["item_id"], item["source"], item["reason"]


def test_a_posted_item_is_shown_to_those_whom_its_title_suits(app: Running) -> None:
    """Neither title has a category, nor a word of those that the encoder was trained with."""
    app.send([event("watcher", f"s{n}", NOW - 100 + n) for n in (1, 2, 3)])
    app.send([event("reader", f"f{n}", NOW - 100 + n) for n in (1, 2, 3)])
    app.put([{"item_id": "astronauts", "title": "Astronauts"}, {"item_id": "baking", "title": "Baking bread at home"}])
    wait_until(lambda: last(app, "watcher")[1] == last(app, "reader")[1] == "new")
    wait_until(lambda: last(app, "watcher") == ("astronauts", "new", SUITS))
    wait_until(lambda: last(app, "reader") == ("baking", "new", SUITS))
    app.send([event("other", "s1", NOW - 50)])  # live counts change, and the vectors stay
    app.put([{"item_id": "astronauts", "title": "Astronauts", "hidden": True, "timestamp": NOW + 1}])
    wait_until(lambda: last(app, "watcher")[0] != "astronauts")
    assert app.serving.problems() == []


def new(*titles: str) -> list[Item]:
    return [Item(ItemId(title), title) for title in titles]


def similar(vectors: ColdVectors, first: str, second: str) -> float:
    found, _ = vectors.of([ItemId(first), ItemId(second)])
    return float(found[0] @ found[1])


def test_what_is_embedded_is_embedded_once_and_forgotten_when_it_is_no_longer_new(toy: Bundle) -> None:
    embedder = ToyEmbedder()
    cold = ColdItems(lambda: embedder)
    found, left = cold.vectors(toy, new("space one", "food one"))
    assert (set(found.items), left) == ({"space one", "food one"}, False)
    found, _ = cold.vectors(toy, new("space one", "food one", "space two", ""))
    assert set(found.items) == {"space one", "food one", "space two"}
    assert embedder.seen == ["space one", "food one", "space two"]
    assert similar(found, "space one", "space two") > similar(found, "space one", "food one")
    cold.vectors(toy, new("space two"))
    cold.vectors(toy, new("space one"))
    assert embedder.seen[3:] == ["space one"]


def test_many_items_come_a_part_at_a_time(toy: Bundle) -> None:
    titles = [f"space {n}" for n in range(AT_ONCE + 1)]
    catalogue, stop, counts = Catalogue(new(*titles)), Signal(), []

    def put(bundle: Bundle, vectors: ColdVectors) -> None:
        assert bundle is toy
        counts.append(len(vectors.items))
        if len(vectors.items) == len(titles):
            stop.set()

    keep_cold(catalogue, lambda: toy, ToyEmbedder, put, stop)
    assert counts == [AT_ONCE, AT_ONCE + 1]


class Strangers(ToyEmbedder):
    digest = "others"


def refusing() -> None:
    raise WeightsRefused("the folder is damaged")


@pytest.mark.parametrize("opened", [lambda: None, Strangers, refusing])
def test_without_the_weights_of_the_map_words_and_categories_speak(
    encoders: EncoderStore, opened: object, caplog: pytest.LogCaptureFixture
) -> None:
    config = EncoderConfig(dimensions=16, epochs=1)
    bundle = train_counts(
        *tastes(), fingerprint="toy", encoders=encoders, encoder_config=config, embedder=ToyEmbedder()
    )
    cold = ColdItems(opened)  # type: ignore[arg-type]
    found, left = cold.vectors(bundle, new("the space", "unheard"))
    assert (list(found.items), left) == (["the space"], False)
    assert "words and categories" in caplog.text


def test_a_bundle_of_counts_waits_for_nothing_heavy() -> None:
    script = "import sys, services.serving; print({'torch', 'transformers', 'tokenizers', 'faiss'} & set(sys.modules))"
    done = run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_command_trains_a_map_when_the_weights_are_there_and_says_when_not(
    tasteprint: Tasteprint, own_home: Path, minilm: Path, tmp_path: Path, tables_of_mlflow: None
) -> None:
    events, items = tastes()
    events = events.select(
        "event_id", "user", "item", pl.lit("view").alias("type"), pl.lit(None, pl.Float64).alias("value"), "at"
    )
    write(Dataset("tastes", events, items), tmp_path / "tastes")
    train = ["train", "encoder", "--data", str(tmp_path / "tastes"), "--json"]
    train += [part for one in ("dimensions=16", "epochs=1", "batch=8") for part in ("--set", one)]
    without = tasteprint(*train).json()
    assert "tasteprint weights pull all-MiniLM-L6-v2" in without["cold_items"]
    (own_home / "weights").symlink_to(minilm.parent)
    assert tasteprint("weights", "pull", "all-MiniLM-L6-v2", "--json").json()["license"] == "Apache-2.0"
    with_map = tasteprint(*train).json()
    assert with_map["cold_items"] == "embeddings of titles"
    assert with_map["model"] != without["model"]
    assert tasteprint("weights", "pull", "gpt-17").status == 2
