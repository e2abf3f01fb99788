"""Adapters as PEFT writes them, against PEFT's own merge."""

from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import nn
from toy_llama import toy_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from features.errors import WeightsRefused
from models.device import Device
from models.language.generator import Message, Role
from models.language.local import LocalGenerator
from models.language.lora import merged

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT's


def adapter_folder(folder: Path, llama: Path, **config: Any) -> tuple[Path, Any]:
    """(a random adapter, PEFT's model with it merged)"""
    torch.manual_seed(3)
    base = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    model: Any = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], **config))
    for name, weights in model.named_parameters():
        if "lora_" in name:
            nn.init.normal_(weights, std=0.2)
    model.save_pretrained(str(folder))
    return folder, model.merge_and_unload().eval()


@pytest.mark.parametrize("config", [{}, {"use_rslora": True}])
def test_a_merged_adapter_writes_what_peft_writes(tmp_path: Path, config: dict[str, Any]) -> None:
    llama = toy_llama(tmp_path / "toy")
    adapter, theirs = adapter_folder(tmp_path / "phraser", llama, **config)
    new = merged(load_file(llama / "model.safetensors"), adapter)
    expected = theirs.state_dict()
    for name, weights in new.items():
        torch.testing.assert_close(weights, expected[name])
    generator, plain = LocalGenerator(llama, Device("cpu", False), adapter=adapter), LocalGenerator(llama)
    assert generator.name.startswith(f"{plain.name}+phraser@")
    prompt = [Message(Role.USER, "The Third Man")]
    given = AutoTokenizer.from_pretrained(llama).apply_chat_template(
        [{"role": "user", "content": "The Third Man"}], add_generation_prompt=True, return_tensors="pt"
    )
    made = theirs.generate(**given, max_new_tokens=8, do_sample=False)[0, given["input_ids"].shape[1] :]
    [completion] = generator.generate([prompt], 8)
    assert completion.text == AutoTokenizer.from_pretrained(llama).decode(made, skip_special_tokens=True).strip()
    assert completion != plain.generate([prompt], 8)[0]


@pytest.mark.parametrize("change", [{"use_dora": True}, {"peft_type": "IA3"}, {"rank_pattern": {"q_proj": 2}}])
def test_an_adapter_of_another_kind_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    llama = toy_llama(tmp_path / "toy")
    adapter, _ = adapter_folder(tmp_path / "phraser", llama)
    config = orjson.loads((adapter / "adapter_config.json").read_bytes())
    (adapter / "adapter_config.json").write_bytes(orjson.dumps(config | change))
    with pytest.raises(WeightsRefused, match=next(iter(change))):
        merged(load_file(llama / "model.safetensors"), adapter)


def test_an_adapter_of_other_weights_or_none_is_refused(tmp_path: Path) -> None:
    llama = toy_llama(tmp_path / "toy")
    adapter, _ = adapter_folder(tmp_path / "phraser", llama)
    weights = load_file(llama / "model.safetensors")
    with pytest.raises(WeightsRefused, match="q_proj"):
        merged({name: one for name, one in weights.items() if "layers.1.self_attn.q_proj" not in name}, adapter)
    with pytest.raises(WeightsRefused, match="size"):
        merged({name: one[..., :-1] for name, one in weights.items()}, adapter)
    with pytest.raises(WeightsRefused, match="adapter_config"):
        LocalGenerator(llama, adapter=tmp_path)
