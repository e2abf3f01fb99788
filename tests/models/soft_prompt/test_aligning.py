import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_favourites import favourites, quick
from toy_llama import toy_llama
from toy_sequences import CPU

from features.errors import InvalidInput
from models.soft_prompt.aligning import align, groups, loss_of, right
from models.soft_prompt.config import SoftPromptConfig, configured
from models.soft_prompt.data import load_data, save_data
from models.soft_prompt.language import Language
from models.soft_prompt.reading import pasts_of, pasts_of_strangers
from models.soft_prompt.trained import Aligned

CHECKOUT = Path(__file__).parents[3]
DATA = favourites()
KINDS = {"linear": 1, "query": 2, "instructed": 2, "dept": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_llama(tmp_path_factory.mktemp("llm") / "toy")


def lost(aligned: Aligned, questions: int = 4) -> torch.Tensor:
    some = DATA.questions[:questions]
    return loss_of(aligned, pasts_of(DATA.events, some), [(one, aligned.asked(one)) for one in some])


@pytest.mark.parametrize("contrast", [0.0, 0.25, 1.0])
def test_the_loss_is_of_the_answer_and_of_the_choice(folder: Path, contrast: float) -> None:
    aligned = Aligned(quick(contrast=contrast), DATA.encoder, Language(folder, CPU))
    some = DATA.questions[:5]
    scores_NC = aligned.scores(some, pasts_of(DATA.events, some)).astype(np.float64)
    truth_N = scores_NC[np.arange(5), [one.truth for one in some]]
    chosen_N = truth_N - np.log(np.exp(scores_NC).sum(axis=1))
    wanted = -(contrast * chosen_N + (1 - contrast) * truth_N).mean()
    assert lost(aligned, 5).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_adapter_alone(folder: Path, kind: str) -> None:
    aligned = Aligned(quick(kind=kind, tokens=KINDS[kind]), DATA.encoder, Language(folder, CPU))
    lost(aligned).backward()
    assert all(one.grad is not None for one in aligned.adapter.parameters())
    others = [*aligned.language.model.parameters(), *aligned.reader.parameters()]
    assert not any(one.requires_grad or one.grad is not None for one in others)


def test_a_tuned_encoder_and_a_lora_get_gradients_when_they_are_to(folder: Path) -> None:
    config = quick(kind="query", tokens=2, tune_encoder=True, lora=2)
    aligned = Aligned(config, DATA.encoder, Language(folder, CPU, rank=config.lora))
    lost(aligned).backward()
    assert aligned.reader.encoder.rows.weight.grad.abs().sum() > 0
    named = dict(aligned.language.model.named_parameters())
    assert {name for name, one in named.items() if one.grad is not None} == {name for name in named if "lora_" in name}
    assert [group["lr"] for group in groups(aligned, config)] == [
        config.learning_rate,
        config.encoder_rate,
        config.lora_rate,
    ]


def test_what_dept_adds_to_words_has_a_rate_of_its_own(folder: Path) -> None:
    config = quick(kind="dept", tokens=2)
    aligned = Aligned(config, DATA.encoder, Language(folder, CPU))
    own, words = groups(aligned, config)
    assert (own["lr"], words["lr"]) == (config.learning_rate, config.words_rate)
    assert len(words["params"]) == 2
    assert len(own["params"]) + 2 == len(list(aligned.adapter.parameters()))


def test_a_favourite_is_learnt_and_neither_a_constant_nor_a_stranger_tells_it(tmp_path: Path) -> None:
    data = favourites(users=160)
    folder = toy_llama(tmp_path / "toy", words="likes what Answer war love space jazz", spread=0.2)
    config = quick(kind="query", tokens=2, batch=16, steps=120, every=120)
    truths = [question.truth for question in data.validation]
    aligned = align(data, folder, config, device=CPU)
    constant = align(data, folder, replace(config, source="constant"), device=CPU)
    strangers = aligned.scores(data.validation, pasts_of_strangers(data.events, data.validation))
    assert right(aligned, data.events, data.validation).mean() >= 0.7
    assert right(constant, data.events, data.validation).mean() <= 0.5
    assert (strangers.argmax(axis=1) == truths).mean() <= 0.5


def test_a_language_model_is_tuned_without_an_adapter(folder: Path) -> None:
    config = quick(kind="none", tokens=0, lora=2, steps=4, every=4)
    aligned = align(DATA, folder, config, device=CPU)
    assert aligned.prompts(pasts_of(DATA.events, DATA.validation)).shape == (len(DATA.validation), 0, 32)
    assert any(name.endswith(".safetensors") for name in aligned.language.parts())


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("more", [{}, {"tune_encoder": True, "lora": 2}, {"source": "constant"}])
def test_a_training_goes_on_to_the_same_weights(folder: Path, tmp_path: Path, more: dict[str, object]) -> None:
    data = favourites(users=24, kind="sasrec")
    config = quick(kind="query", tokens=2, steps=6, **more)
    whole = align(data, folder, config, device=CPU)

    def stop(done: int, total: int, said: str) -> None:
        if done == 4:
            raise InterruptedError

    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(InterruptedError):
        align(data, folder, config, device=CPU, checkpoint=checkpoint, progress=stop)
    resumed = align(data, folder, config, device=CPU, checkpoint=checkpoint)
    assert whole.parts() == resumed.parts()
    assert whole.said["curves"] == resumed.said["curves"]


@pytest.mark.usefixtures("one_thread")  # as the process that is killed has
def test_a_training_from_a_file_that_is_killed_goes_on_to_the_same_weights(folder: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "data.safetensors", tmp_path / "out"
    save_data(favourites(users=24), path)
    given = {"steps": "12", "every": "2", "batch": "4", "validation": "2"}
    command = [sys.executable, "-m", "models.soft_prompt.aligning", str(path), str(folder), str(out)]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, *(f"{name}={value}" for name, value in given.items())],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
    ) as process:
        assert process.stderr is not None
        assert any(line.startswith("4/12 ") for line in process.stderr)
        process.send_signal(signal.SIGKILL)
    whole = align(load_data(path), folder, configured(given))
    resumed = align(load_data(path), folder, configured(given), checkpoint=out / "checkpoint.safetensors")
    assert whole.parts() == resumed.parts()
    assert whole.said["curves"] == resumed.said["curves"]


def test_training_needs_neither_polars_nor_what_serves(tmp_path: Path) -> None:
    blocked = ("polars", "scipy", "orjson", "peft", "faiss", "mlflow", "fastapi", "redis", "httpx")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked}))\nimport models.soft_prompt.aligning"
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)


def test_data_reads_back(tmp_path: Path) -> None:
    save_data(DATA, tmp_path / "data.safetensors")
    read = load_data(tmp_path / "data.safetensors")
    assert read.digest == DATA.digest
    assert list(read.questions) == DATA.questions
    assert read.encoder.config == DATA.encoder.config


@pytest.mark.parametrize("other", ["seed", "questions", "base", "config"])
def test_a_checkpoint_of_another_training_is_refused(folder: Path, tmp_path: Path, other: str) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    config = quick(steps=1, every=1, validation=1)
    align(DATA, folder, config, checkpoint=checkpoint, device=CPU)
    with pytest.raises(InvalidInput, match="another training"):
        align(
            replace(DATA, questions=DATA.questions[1:]) if other == "questions" else DATA,
            toy_llama(tmp_path / "other", seed=1) if other == "base" else folder,
            replace(config, learning_rate=0.1) if other == "config" else config,
            seed=1 if other == "seed" else 0,
            checkpoint=checkpoint,
            device=CPU,
        )


def test_nothing_to_learn_from_or_to_measure_by_is_refused(folder: Path) -> None:
    for name in ("questions", "validation"):
        with pytest.raises(InvalidInput, match="questions"):
            align(replace(DATA, **{name: []}), folder, SoftPromptConfig(), device=CPU)


def test_a_limit_of_minutes_ends_it(folder: Path) -> None:
    aligned = align(DATA, folder, quick(steps=100_000, every=1, minutes=0.005), device=CPU)
    assert 1 <= len(aligned.said["curves"]["loss"]) < 1000
    assert json.dumps(aligned.said)


def test_minutes_that_are_over_before_the_language_model_is_read_leave_one_step_of_it(folder: Path) -> None:
    aligned = align(DATA, folder, quick(warm=1, minutes=1e-6), device=CPU)
    curves = aligned.said["curves"]
    assert curves["questions"] == [8]
    assert len(curves["validation accuracy"]) == len(curves["loss"]) == 1
