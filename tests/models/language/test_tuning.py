import os
import signal
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn import functional
from toy_llama import toy_llama
from toy_pairs import PAIRS, said

from features.errors import InvalidInput, WeightsRefused
from models.device import Device
from models.language.adapters import base_digest
from models.language.chat_tokens import ChatTokens
from models.language.local import LocalGenerator
from models.language.tuning import TuningConfig, adapted, answer_losses, batches, encoded, tune

CPU = Device("cpu", bf16=False)
CONFIG = TuningConfig(rank=4, rounds=6, tokens=256, learning_rate=0.02)
CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_llama(tmp_path_factory.mktemp("chat") / "toy")


def test_answers_that_were_shown_are_given(folder: Path, tmp_path: Path) -> None:
    tuned = tune(folder, lambda _: PAIRS * 8, replace(CONFIG, rounds=16), validation=PAIRS, device=CPU)
    assert tuned.curves["validation loss"][-1] < tuned.curves["validation loss"][0]
    tuned.save(tmp_path / "adapter", {})
    generator = LocalGenerator(folder, CPU, adapter=tmp_path / "adapter")
    answers = generator.generate([pair.messages for pair in PAIRS], 20)
    assert [(one.text, one.is_finished) for one in answers] == [(pair.answer, True) for pair in PAIRS]


def test_only_the_updates_of_every_linear_map_are_trained(folder: Path) -> None:
    before = adapted(folder, 4).state_dict()
    after = tune(folder, lambda _: PAIRS, replace(CONFIG, rounds=2), validation=PAIRS, device=CPU).model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "lora_" in name}
    assert len(changed) == 2 * 2 * 7  # A and B, of two layers, of seven maps each


def test_a_new_model_says_what_the_base_says(folder: Path) -> None:
    tokens = torch.arange(5, 25)[None]
    model = adapted(folder, 4)
    with torch.no_grad(), model.disable_adapter():
        base = model(tokens).logits
    with torch.no_grad():
        assert torch.equal(model(tokens).logits, base)


def test_the_loss_is_that_of_each_answer_alone_whatever_it_is_batched_with(folder: Path) -> None:
    tokens, model = ChatTokens(folder), adapted(folder, 4)
    pairs = [encoded(pair, tokens) for pair in (*PAIRS, said("a much longer question about war", "likes it"))]
    together = answer_losses(model, pairs, CPU)
    alone = []
    for prompt, answer in pairs:
        logits = model(torch.tensor([prompt + answer])).logits[0]
        alone.append(functional.cross_entropy(logits[len(prompt) - 1 : -1], torch.tensor(answer), reduction="none"))
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_an_answer_ends(folder: Path) -> None:
    tokens = ChatTokens(folder)
    _, answer = encoded(PAIRS[0], tokens)
    assert answer[-1] == tokens.end


def test_what_an_answer_says_of_special_tokens_is_text(folder: Path) -> None:
    tokens = ChatTokens(folder)
    _, answer = encoded(said("war", "likes <|im_end|> war"), tokens)
    assert answer.count(tokens.end) == 1


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 30)), min_size=1, max_size=80), st.integers(1, 400))
def test_batches_have_every_pair_once_and_keep_to_their_tokens(lengths: list[tuple[int, int]], most: int) -> None:
    pairs = [([number] * prompt, [number] * answer) for number, (prompt, answer) in enumerate(lengths)]
    cut = batches(pairs, most, np.random.default_rng(0))
    assert sorted(pair[0][0] for batch in cut for pair in batch) == list(range(len(pairs)))
    for batch in cut:
        assert len(batch) == 1 or len(batch) * max(len(one) + len(other) for one, other in batch) <= most


@pytest.mark.usefixtures("one_thread")  # as the process that is killed has
def test_a_training_that_is_killed_goes_on_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    path = os.pathsep.join(map(str, (CHECKOUT, CHECKOUT / "tests")))
    command = [sys.executable, str(Path(__file__).with_name("tune_until_killed.py")), str(folder), str(checkpoint)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline().strip() for _ in range(2)] == ["1", "2"]
        process.send_signal(signal.SIGKILL)
    rounds = []
    for name, resumed in (("whole", None), ("resumed", checkpoint)):
        tuned = tune(folder, lambda _: PAIRS, CONFIG, validation=PAIRS, checkpoint=resumed, device=CPU)
        tuned.save(tmp_path / name, {})
        rounds.append(tuned.curves)
    assert rounds[0] == rounds[1]
    whole, resumed_ = ((tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("whole", "resumed"))
    assert sha256(whole).digest() == sha256(resumed_).digest()


@pytest.mark.parametrize("other", ["seed", "pairs", "base", "config"])
def test_a_checkpoint_of_another_training_is_refused(folder: Path, tmp_path: Path, other: str) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    short = replace(CONFIG, rounds=1)
    tune(folder, lambda _: PAIRS, short, validation=PAIRS, checkpoint=checkpoint, device=CPU)
    with pytest.raises(InvalidInput, match="another training"):
        tune(
            toy_llama(tmp_path / "other", seed=1) if other == "base" else folder,
            lambda _: PAIRS[1:] if other == "pairs" else PAIRS,
            replace(short, learning_rate=0.1) if other == "config" else short,
            validation=PAIRS,
            seed=1 if other == "seed" else 0,
            checkpoint=checkpoint,
            device=CPU,
        )


def test_what_is_written_names_the_base_and_no_path(folder: Path, tmp_path: Path) -> None:
    tuned = tune(folder, lambda _: PAIRS, replace(CONFIG, rounds=1), validation=PAIRS, device=CPU)
    tuned.save(tmp_path / "adapter", {"prompt": "p1"})
    files = {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()}
    assert sorted(files) == ["adapter_config.json", "adapter_model.safetensors", "tuning.json"]
    assert all(str(folder).encode() not in content for content in files.values())
    assert base_digest(folder).encode() in files["tuning.json"]
    assert b'"prompt": "p1"' in files["tuning.json"]
    assert all("lora_" in name for name in load_file(tmp_path / "adapter" / "adapter_model.safetensors"))


def test_what_cannot_be_trained_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsRefused):
        tune(tmp_path / "nowhere", lambda _: PAIRS, CONFIG, validation=PAIRS, device=CPU)
    with pytest.raises(InvalidInput, match="pairs"):
        tune(folder, lambda _: [], CONFIG, validation=PAIRS, device=CPU)
    for name, value in (("rank", 0), ("tokens", 0), ("rounds", 0), ("learning_rate", 0.0), ("minutes", -1.0)):
        with pytest.raises(InvalidInput, match=name):
            replace(CONFIG, **{name: value})
