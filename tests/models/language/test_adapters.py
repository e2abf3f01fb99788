from dataclasses import replace
from pathlib import Path

import pytest
from toy_llama import toy_llama
from toy_pairs import PAIRS

from features.errors import WeightsRefused
from models.device import Device
from models.language.local import LocalGenerator
from models.language.tuning import TuningConfig, tune

CPU = Device("cpu", bf16=False)
CONFIG = TuningConfig(rank=4, rounds=3, tokens=256, learning_rate=0.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_llama(tmp_path_factory.mktemp("chat") / "toy")


@pytest.fixture(scope="module")
def adapter(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("phrasers") / "toy"
    tune(folder, lambda _: PAIRS * 4, CONFIG, validation=PAIRS, device=CPU).save(to, {})
    return to


def test_a_generator_with_an_adapter_writes_otherwise_and_says_so_in_its_name(folder: Path, adapter: Path) -> None:
    plain, taught = LocalGenerator(folder, CPU), LocalGenerator(folder, CPU, adapter=adapter)
    prompts = [pair.messages for pair in PAIRS]
    assert [one.text for one in plain.generate(prompts, 8)] != [one.text for one in taught.generate(prompts, 8)]
    assert taught.name.startswith(f"{plain.name}+toy@")


def test_an_adapter_of_another_base_is_refused(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsRefused, match="other weights"):
        LocalGenerator(toy_llama(tmp_path / "other", seed=1), CPU, adapter=adapter)


def test_an_adapter_that_does_not_say_its_base_is_taken(folder: Path, tmp_path: Path) -> None:
    tune(folder, lambda _: PAIRS, replace(CONFIG, rounds=1), validation=PAIRS, device=CPU).save(tmp_path / "own", {})
    (tmp_path / "own" / "tuning.json").unlink()
    assert "+own@" in LocalGenerator(folder, CPU, adapter=tmp_path / "own").name


@pytest.mark.parametrize("lack", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_folder_without_a_whole_adapter_is_refused(folder: Path, tmp_path: Path, lack: str) -> None:
    tune(folder, lambda _: PAIRS, replace(CONFIG, rounds=1), validation=PAIRS, device=CPU).save(tmp_path / "own", {})
    (tmp_path / "own" / lack).unlink()
    with pytest.raises(WeightsRefused):
        LocalGenerator(folder, CPU, adapter=tmp_path / "own")
    with pytest.raises(WeightsRefused):
        LocalGenerator(folder, CPU, adapter=tmp_path / "nowhere")
