from pathlib import Path
from shutil import copytree
from typing import Any

import orjson
import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_llama import toy_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from features.errors import InvalidInput, WeightsRefused
from models.device import Device
from models.language.generator import Message, Role
from models.language.local import LocalGenerator

FULL = Device("cpu", bf16=False)
MOST, READS = 12, 256


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_llama(tmp_path_factory.mktemp("llama") / "toy")


@pytest.fixture(scope="module")
def generator(folder: Path) -> LocalGenerator:
    return LocalGenerator(folder, FULL)


def test_it_says_what_transformers_says(folder: Path, generator: LocalGenerator) -> None:
    said(folder, generator, "The Third Man")


def said(folder: Path, generator: LocalGenerator, text: str) -> None:
    words, theirs = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    given = words.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = theirs.generate(**given, max_new_tokens=MOST, do_sample=False)[0, given["input_ids"].shape[1] :]
    [completion] = generator.generate([[Message(Role.USER, text)]], MOST)
    assert completion.text == words.decode(made, skip_special_tokens=True).strip() != ""


def test_messages_are_answered_in_their_order_and_counted(generator: LocalGenerator) -> None:
    prompts = [[Message(Role.USER, text)] for text in ("the film", "", "a toy " * 9, "<|im_end|>" * 3)]
    completions = generator.generate(prompts, MOST)
    assert [generator.generate([prompt], MOST)[0] for prompt in prompts] == completions
    for completion in completions:
        assert completion.output_tokens == MOST if not completion.is_finished else completion.output_tokens <= MOST
        assert "<|im_end|>" not in completion.text
    empty = completions[1].input_tokens
    counts = generator.count(["the film", "", "a toy " * 9, "<|im_end|>" * 3])
    assert [completion.input_tokens - empty for completion in completions] == counts
    assert generator.generate([], MOST) == []


def test_a_prompt_longer_than_the_model_reads_is_refused_with_both_lengths(generator: LocalGenerator) -> None:
    prompts = [[Message(Role.USER, "x")], [Message(Role.USER, "z" * (READS - 20))]]
    with pytest.raises(InvalidInput, match=rf"^prompts\.1: a prompt of \d+ tokens; .* reads {READS - MOST} at most"):
        generator.generate(prompts, MOST)


def test_its_name_says_folder_and_weights(folder: Path, tmp_path: Path) -> None:
    one = LocalGenerator(folder, FULL).name
    assert one.startswith("toy@")
    assert len(one) == len("toy@") + 12
    assert LocalGenerator(toy_llama(tmp_path / "toy", seed=9), FULL).name != one


def test_damaged_or_other_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    broken = copytree(folder, tmp_path / "toy")
    weights = load_file(broken / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, broken / "model.safetensors")
    with pytest.raises(WeightsRefused, match=r"model\.layers\.1\.mlp\.up_proj"):
        LocalGenerator(broken, FULL)
    (broken / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(WeightsRefused, match="safetensors"):
        LocalGenerator(broken, FULL)
    (broken / "model.safetensors").unlink()
    torch.save(weights, broken / "pytorch_model.bin")
    with pytest.raises(WeightsRefused, match="safetensors"):
        LocalGenerator(broken, FULL)


@pytest.mark.parametrize(
    "change", [{"model_type": "gpt2"}, {"hidden_act": "gelu"}, {"quantization_config": {"bits": 4}}]
)
def test_a_model_of_another_kind_is_refused(folder: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    other = copytree(folder, tmp_path / "toy")
    config = orjson.loads((other / "config.json").read_bytes())
    (other / "config.json").write_bytes(orjson.dumps(config | change))
    with pytest.raises(WeightsRefused, match="Llama"):
        LocalGenerator(other, FULL)


def test_untied_weights_and_shards_are_read(tmp_path: Path) -> None:
    folder = toy_llama(tmp_path / "toy", tied=False, seed=5)
    whole = LocalGenerator(folder, FULL)
    said(folder, whole, "The Third Man")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    save_file({name: weights[name] for name in names[::2]}, folder / "model-00001-of-00002.safetensors")
    save_file({name: weights[name] for name in names[1::2]}, folder / "model-00002-of-00002.safetensors")
    prompts = [[Message(Role.USER, "a")], [Message(Role.USER, "b, c")]]
    assert LocalGenerator(folder, FULL).generate(prompts, MOST) == whole.generate(prompts, MOST)
