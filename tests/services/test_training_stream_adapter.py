"""`tasteprint train stream-adapter`: from a file of events to an adapter, in use and in the registry."""

from pathlib import Path

import pytest
from toy_choosers import choosers, dataset
from toy_llama import toy_llama

from features.datasets import write
from models.kept import load_parts
from models.language.weights import SMOLLM2
from models.stream_adapter.trained import StreamAdapter
from services.settings import Settings
from services.stream_adapters import stream_adapter_in_use
from services.wiring import open_registry
from tests.services.test_cli import Tasteprint, tasteprint

__all__ = ["tasteprint"]

QUICK = tuple(
    part for one in ("layers=", "steps=2", "every=1", "batch=4", "validation=8", "chunk=16") for part in ("--set", one)
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder of a data set; its users choose items of eight kinds."""
    histories, categories = choosers(users=80)
    folder = tmp_path / "shop"
    write(dataset(histories, categories), folder)
    return folder


@pytest.mark.usefixtures("tables_of_mlflow")
def test_an_adapter_is_trained_put_into_use_and_found_again(tasteprint: Tasteprint, own_home: Path, shop: Path) -> None:
    settings = Settings(home=own_home)
    refused = tasteprint("train", "stream-adapter", "--data", shop, *QUICK)
    assert refused.status != 0
    assert "weights pull SmolLM2-135M-Instruct" in refused.err
    weights = toy_llama(own_home / "weights" / SMOLLM2, reads=512)
    trained = tasteprint("train", "stream-adapter", "--data", shop, *QUICK, "--json").json()
    assert trained["in_use"]
    assert 0 <= trained["validation_accuracy"] <= 1
    folder = own_home / "stream-adapters" / trained["stream_adapter"]
    adapter = StreamAdapter.load(folder, weights)
    assert adapter.version == trained["version"]
    assert trained["base_model"] == {"name": SMOLLM2, "sha256": adapter.base}
    assert trained["state_bytes"] == adapter.state_bytes
    assert load_parts(folder, {})[1]["data"]["name"] == str(shop)
    assert stream_adapter_in_use(settings) == trained["stream_adapter"]
    assert open_registry(settings).kept("tasteprint-stream-adapter", "served")["version"] == trained["version"]
    again = tasteprint("train", "stream-adapter", "--data", shop, *QUICK, "--json").json()
    assert (again["version"], again["trained_s"]) == (trained["version"], trained["trained_s"])
    assert not list((own_home / "stream-adapters" / "unfinished").iterdir())

    other = (*QUICK, "--set", "rank=2")
    beside = tasteprint("train", "stream-adapter", "--data", shop, *other, "--json").json()
    assert (beside["in_use"], stream_adapter_in_use(settings)) == (False, trained["stream_adapter"])
    promoted = tasteprint("train", "stream-adapter", "--data", shop, *other, "--promote", "--json").json()
    assert promoted["in_use"]
    assert promoted["version"] == beside["version"]
    assert open_registry(settings).kept("tasteprint-stream-adapter", "served")["version"] == promoted["version"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--preset", "constant"), "not served"),
        (("--set", "source=constant"), "not served"),
        (("--preset", "huge"), "preset"),
        (("--set", "chunk=0"), "chunk"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_is_trained(
    tasteprint: Tasteprint, given: tuple[str, ...], said: str
) -> None:
    refused = tasteprint("train", "stream-adapter", *given)
    assert refused.status == 2
    assert said in refused.err
