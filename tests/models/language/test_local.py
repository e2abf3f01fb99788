"""A toy Llama, whose every answer is checked against transformers' own `generate`."""

from pathlib import Path
from shutil import copytree
from typing import Any

import orjson
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from toy_llama import toy_llama
from transformers import AutoModelForCausalLM

from features.errors import InvalidInput, WeightsRefused
from models.device import Device
from models.language import local
from models.language.generator import Message, Role
from models.language.local import BATCH, LocalGenerator

FULL = Device("cpu", bf16=False)
MOST, READS = 12, 256
ENDS = list(range(2, 30))  # many, so that answers end early, late and not at all


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = toy_llama(tmp_path_factory.mktemp("llama") / "toy")
    for name in ("config.json", "generation_config.json"):
        settings = orjson.loads((folder / name).read_bytes())
        (folder / name).write_bytes(orjson.dumps(settings | {"eos_token_id": ENDS}))
    return folder


@pytest.fixture(scope="module")
def generator(folder: Path) -> LocalGenerator:
    return LocalGenerator(folder, FULL)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def alone(model: Any, prompt: list[int], most: int = MOST) -> tuple[list[int], bool]:
    """What transformers writes after one prompt, and whether it came to an end."""
    given_ = torch.tensor([prompt])
    made = model.generate(
        input_ids=given_, attention_mask=torch.ones_like(given_), max_new_tokens=most, do_sample=False
    )[0, len(prompt) :].tolist()
    end = next((place for place, token in enumerate(made) if token in ENDS), None)
    return made[:end], end is not None


def some_prompts(lengths: list[int], prefix: int, seed: int) -> list[list[int]]:
    random = torch.Generator().manual_seed(seed)
    tokens = [torch.randint(3, 259, (length,), generator=random).tolist() for length in [prefix, *lengths]]
    return [tokens[0] + own for own in tokens[1:]]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=7), st.sampled_from([0, 3, 16, 40]), st.integers(0, 10_000))
def test_every_prompt_is_continued_as_if_it_were_alone(
    generator: LocalGenerator, theirs: Any, lengths: list[int], prefix: int, seed: int
) -> None:
    prompts = some_prompts(lengths, prefix, seed)
    assert generator.continued(prompts, MOST) == [alone(theirs, prompt) for prompt in prompts]


def test_packs_batches_and_a_kept_beginning_change_nothing(
    folder: Path, theirs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "PACK", 50)  # so that a batch takes several
    fresh = LocalGenerator(folder, FULL)
    prompts = some_prompts([1, 2, 30, 49, 50, 51, 7, 7] * 3, prefix=20, seed=1)
    assert len(prompts) > BATCH
    expected = [alone(theirs, prompt) for prompt in prompts]
    assert any(is_finished for _, is_finished in expected)
    assert not all(is_finished for _, is_finished in expected)
    assert fresh.continued(prompts, MOST) == expected
    assert fresh.continued(prompts[::-1], MOST) == expected[::-1]  # the beginning is at hand
    assert [fresh.continued([prompt], MOST)[0] for prompt in prompts[:6]] == expected[:6]
    other = some_prompts([5, 9], prefix=30, seed=2)
    assert fresh.continued(other, MOST) == [alone(theirs, prompt) for prompt in other]
    assert fresh.continued([other[0], other[0]], MOST) == [alone(theirs, other[0])] * 2


def test_a_common_beginning_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    packed = local.packed

    def counting(prompts: Any, begin: int = 0) -> Any:
        read.append(sum(map(len, prompts)))
        return packed(prompts, begin)

    monkeypatch.setattr(local, "packed", counting)
    fresh = LocalGenerator(folder, FULL)
    prompts = some_prompts([5, 9, 7], prefix=40, seed=3)
    fresh.continued(prompts, 1)
    assert sum(read) == 40 + 5 + 9 + 7
    read.clear()
    fresh.continued(prompts, 1)
    assert sum(read) == 5 + 9 + 7
    read.clear()
    fresh.continued(prompts[:1], 1)
    fresh.continued(prompts[1:2], 1)
    assert sum(read) == 5 + 9


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
    with pytest.raises(InvalidInput, match=rf"1: a prompt of \d+ tokens; .* reads {READS - MOST} at most"):
        generator.generate(prompts, MOST)


def test_untied_weights_and_shards_are_read(tmp_path: Path) -> None:
    folder = toy_llama(tmp_path / "untied", tied=False, seed=5)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    save_file({name: weights[name] for name in names[::2]}, folder / "model-00001-of-00002.safetensors")
    save_file({name: weights[name] for name in names[1::2]}, folder / "model-00002-of-00002.safetensors")
    prompts = some_prompts([4, 11], prefix=0, seed=6)
    made = LocalGenerator(folder, FULL).continued(prompts, 1)
    assert [tokens for tokens, _ in made] == [alone(theirs, prompt, 1)[0] for prompt in prompts]


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
