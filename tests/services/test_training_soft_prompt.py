"""`tasteprint train soft-prompt`: from a file of events to what makes soft prompts, in use and in the registry."""

from pathlib import Path

import pytest
from toy_choosers import choosers, dataset
from toy_soft_prompt import toy_weights

from features.datasets import write
from models.soft_prompt.bundle import load_soft_prompt
from services.settings import Settings
from services.soft_prompts import soft_prompt_in_use
from services.wiring import open_registry
from tests.services.test_cli import Tasteprint, tasteprint

__all__ = ["tasteprint"]

QUICK = ("--set", "steps=2", "--set", "every=1", "--set", "batch=4", "--set", "validation=8")
SMALL = ("--encoder-set", "epochs=1", "--encoder-set", "dimensions=16", "--encoder", "mean")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder of a data set; its users choose items of eight kinds."""
    histories, categories = choosers(users=80)
    folder = tmp_path / "shop"
    write(dataset(histories, categories), folder)
    return folder


@pytest.mark.usefixtures("tables_of_mlflow")
def test_a_soft_prompt_is_trained_put_into_use_and_found_again(
    tasteprint: Tasteprint, own_home: Path, shop: Path
) -> None:
    settings = Settings(home=own_home)
    refused = tasteprint("train", "soft-prompt", "--data", shop, *SMALL, *QUICK)
    assert refused.status != 0
    assert "weights pull SmolLM2-135M-Instruct" in refused.err
    toy_weights(own_home)
    trained = tasteprint("train", "soft-prompt", "--data", shop, *SMALL, *QUICK, "--json").json()
    assert trained["in_use"]
    assert 0 <= trained["validation_accuracy"] <= 1
    prompter = load_soft_prompt(own_home / "soft-prompts" / trained["soft_prompt"])
    assert prompter.version == trained["version"]
    assert prompter.manifest["encoder_kind"] == trained["encoder"] == "mean"
    assert soft_prompt_in_use(settings) == trained["soft_prompt"]
    assert open_registry(settings).kept("tasteprint-soft-prompt", "served")["version"] == trained["version"]
    again = tasteprint("train", "soft-prompt", "--data", shop, *SMALL, *QUICK, "--json").json()
    assert (again["version"], again["trained_s"]) == (trained["version"], trained["trained_s"])
    assert not list((own_home / "soft-prompts" / "unfinished").iterdir())

    other = (*SMALL, *QUICK, "--set", "tokens=2", "--preset", "query-4")
    beside = tasteprint("train", "soft-prompt", "--data", shop, *other, "--json").json()
    assert (beside["in_use"], soft_prompt_in_use(settings)) == (False, trained["soft_prompt"])
    promoted = tasteprint("train", "soft-prompt", "--data", shop, *other, "--promote", "--json").json()
    assert promoted["in_use"]
    assert promoted["version"] == beside["version"] == load_soft_prompt(Path(promoted["folder"])).version
    assert open_registry(settings).kept("tasteprint-soft-prompt", "served")["version"] == promoted["version"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--preset", "none"), "not served"),
        (("--set", "source=constant"), "not served"),
        (("--set", "lora=4"), "set 0"),
        (("--preset", "huge"), "preset"),
        (("--encoder", "lstm"), "encoder"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_is_trained(
    tasteprint: Tasteprint, given: tuple[str, ...], said: str
) -> None:
    refused = tasteprint("train", "soft-prompt", *given)
    assert refused.status == 2
    assert said in refused.err
