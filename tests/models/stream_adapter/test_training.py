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
from toy_llama import toy_llama
from toy_sequences import CPU
from toy_streams import WORDS, small, streams, toy_adapter

from features.errors import InvalidInput
from models.language.adapters import base_digest
from models.stream_adapter.config import configured
from models.stream_adapter.data import load_data, save_data
from models.stream_adapter.lessons import Lessons
from models.stream_adapter.training import distance, groups, loss_of, train

CHECKOUT = Path(__file__).parents[3]
DATA = streams()
BLOCKED = ("polars", "scipy", "orjson", "peft", "faiss", "mlflow", "fastapi", "redis", "httpx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_llama(tmp_path_factory.mktemp("llm") / "toy", words=WORDS)


def lessons(folder: Path, **more: object) -> Lessons:
    adapter = toy_adapter(folder, **more)
    adapter.weights.requires_grad_(True)
    return Lessons(adapter, DATA, 0)


def lost(found: Lessons, count: int = 5) -> torch.Tensor:
    return loss_of(found, [(one, found.adapter.asked(one)) for one in found.questions[:count]], 2)


@pytest.mark.parametrize("contrast", [0.0, 0.25, 1.0])
def test_the_loss_is_of_the_answer_and_of_the_choice(folder: Path, contrast: float) -> None:
    found = lessons(folder, contrast=contrast)
    some = found.questions[:5]
    cores = found.cores([found.span(one, 2) for one in some])
    scores_NC = np.stack(found.adapter.scores(cores, [found.adapter.asked(one) for one in some])).astype(np.float64)
    truth_N = scores_NC[np.arange(5), [one.truth for one in some]]
    chosen_N = truth_N - np.log(np.exp(scores_NC).sum(axis=1))
    wanted = -(contrast * chosen_N + (1 - contrast) * truth_N).mean()
    assert lost(found).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("more", [{}, {"text": 1.0, "distil": 1.0}, {"distil": 1.0, "distilled": "states"}])
def test_gradients_reach_the_adapter_alone(folder: Path, more: dict[str, object]) -> None:
    found = lessons(folder, **more)
    lost(found).backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in found.adapter.weights.parameters())
    assert not any(one.requires_grad or one.grad is not None for one in found.adapter.language.model.parameters())
    assert len([one for group in groups(found.adapter) for one in group["params"]]) == len(
        list(found.adapter.weights.parameters())
    )


def test_the_constant_reads_nobody(folder: Path) -> None:
    found = lessons(folder, source="constant")
    lost(found).backward()
    assert all(one.grad is None or not one.grad.any() for one in found.adapter.mapping.parameters())
    assert found.adapter.absorption.base_LQD.grad.any()


def test_what_follows_weighs_as_much_as_it_is_told_to(folder: Path) -> None:
    found, told = lessons(folder), lessons(folder, text=0.5, windows=1)
    spans = [found.span(one, 2) for one in found.questions[:5]]
    following = found.following(found.questions[0])
    with torch.no_grad():
        [chance] = found.adapter.log_likelihoods(found.cores(spans[:1]), [following])
    more = -0.5 * float(chance) / len(following[1][0])
    assert (lost(told) - lost(found)).item() == pytest.approx(more, rel=1e-4)


@pytest.mark.parametrize("distilled", ["logits", "states"])
def test_the_distance_is_nought_to_oneself_and_grows(folder: Path, distilled: str) -> None:
    found = lessons(folder, distilled=distilled, distil=1.0)
    asked = [found.adapter.asked(one) for one in found.questions[:3]]
    spans = [found.span(one, 2) for one in found.questions[:3]]
    with torch.no_grad():
        told = [
            ([*found.told(span), *question], answers) for span, (question, answers) in zip(spans, asked, strict=True)
        ]
        teacher, _ = found.adapter.predicting(None, told)
        states, rows = found.adapter.predicting(None, asked)
        assert distance(found, teacher, rows, spans, asked).item() == pytest.approx(0, abs=1e-5)
        assert distance(found, states, rows, spans, asked) > 1e-3


@pytest.mark.parametrize("more", [{}, {"sees_previous": True, "undo_rotary": False}])
def test_a_favourite_is_learnt_and_neither_a_constant_nor_a_stranger_tells_it(
    folder: Path, more: dict[str, bool]
) -> None:
    data = streams(users=120)
    config = small(chunk=16, rank=4, alpha=8.0, batch=16, steps=60, every=60, validation=30, **more)
    adapter = train(data, folder, config, device=CPU)
    found = Lessons(adapter, data, 0)
    asked = [adapter.asked(question) for question in found.validation]
    spans = [found.span(question, 4) for question in found.validation]
    truths = np.array([question.truth for question in found.validation])
    strangers = adapter.scores(found.cores(spans[1:] + spans[:1], found._measured), asked)
    constant = train(data, folder, replace(config, source="constant"), device=CPU)
    assert found.right().mean() >= 0.7
    assert Lessons(constant, data, 0).right().mean() <= 0.5
    assert (np.stack(strangers).argmax(axis=1) == truths).mean() <= 0.5
    assert base_digest(folder) == adapter.base


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("more", [{}, {"source": "constant"}, {"distil": 0.5, "text": 0.5, "cache": 1e-5}])
def test_a_training_goes_on_to_the_same_weights(folder: Path, tmp_path: Path, more: dict[str, object]) -> None:
    config = small(steps=6, **more)
    whole = train(DATA, folder, config, device=CPU)

    def stop(done: int, total: int, said: str) -> None:
        if done == 4:
            raise InterruptedError

    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(InterruptedError):
        train(DATA, folder, config, device=CPU, checkpoint=checkpoint, progress=stop)
    resumed = train(DATA, folder, config, device=CPU, checkpoint=checkpoint)
    assert whole.parts() == resumed.parts()
    assert whole.said["curves"] == resumed.said["curves"]
    assert json.dumps(whole.manifest())


@pytest.mark.usefixtures("one_thread")  # as the process that is killed has
def test_a_training_where_there_is_little_else_is_killed_and_goes_on_to_the_same_weights(
    folder: Path, tmp_path: Path
) -> None:
    path, out = tmp_path / "data.safetensors", tmp_path / "out"
    save_data(DATA, path)
    given = {"steps": "12", "every": "2", "batch": "4", "validation": "2", "chunk": "8", "lengths": "2"}
    block = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED}))"
    code = f"{block}\nfrom models.stream_adapter.training import main\nmain()"
    command = [sys.executable, "-c", code, str(path), str(folder), str(out)]
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
    whole = train(load_data(path), folder, configured(given))
    resumed = train(load_data(path), folder, configured(given), checkpoint=out / "checkpoint.safetensors")
    assert whole.parts() == resumed.parts()


def test_data_reads_back(tmp_path: Path) -> None:
    save_data(DATA, tmp_path / "data.safetensors")
    read = load_data(tmp_path / "data.safetensors")
    assert read.digest == DATA.digest
    assert list(read.questions) == list(DATA.questions)
    assert tuple(read.lines_N) == tuple(DATA.lines_N)


@pytest.mark.parametrize("other", ["seed", "questions", "base", "config"])
def test_a_checkpoint_of_another_training_is_refused(folder: Path, tmp_path: Path, other: str) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    config = small(steps=1, every=1, validation=1)
    train(DATA, folder, config, checkpoint=checkpoint, device=CPU)
    with pytest.raises(InvalidInput, match="another training"):
        train(
            replace(DATA, questions=DATA.questions[1:]) if other == "questions" else DATA,
            toy_llama(tmp_path / "other", seed=1) if other == "base" else folder,
            replace(config, learning_rate=0.1) if other == "config" else config,
            seed=1 if other == "seed" else 0,
            checkpoint=checkpoint,
            device=CPU,
        )


def test_a_limit_of_minutes_ends_it(folder: Path) -> None:
    adapter = train(DATA, folder, small(steps=100_000, every=1, minutes=0.005), device=CPU)
    assert 1 <= len(adapter.said["curves"]["loss"]) < 1000
