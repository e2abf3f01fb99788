import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from toy_sequences import CPU, by_hand, marched, tiny, untrained

from features.errors import InvalidInput
from models.device import Device
from models.encoders.config import KINDS, EncoderConfig
from models.encoders.data import EncoderData, save_data
from models.encoders.model import Encoder
from models.encoders.train import Arrays, Trained, batches, sides_of, train, validate
from models.metrics import ndcg, ranks

CHECKOUT = Path(__file__).parents[3]


def pacing(users: int = 96, items: int = 40) -> EncoderData:
    """Half of the users march up a ring and half down, so that only the order tells what comes next."""
    generator = np.random.default_rng(0)
    starts, ways = generator.integers(items, size=users), np.array([1, -1] * (users // 2))
    walks = (starts[:, None] + ways[:, None] * np.arange(7)) % items
    return by_hand(walks[:, :6].tolist(), items, targets=walks[:, 6].tolist())


def popularity(data: EncoderData) -> float:
    """NDCG@10 of ranking by how often each item was chosen."""
    counts_N = np.bincount(data.items_E, minlength=data.n_items)
    return ndcg_of(data, np.tile(counts_N, (data.n_users, 1)).astype(np.float32))


def ndcg_of(data: EncoderData, scores_UN: np.ndarray) -> float:
    """What the users have had is out of the question."""
    for user in range(data.n_users):
        scores_UN[user, data.items_E[data.starts_V[user] : data.starts_V[user + 1]]] = -np.inf
    return float(ndcg(ranks(scores_UN, data.targets_U), 10).mean())


def same(first: Trained, second: Trained) -> bool:
    return all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights | second.weights)


@pytest.mark.parametrize("loss", ["full", "uniform", "log-uniform"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_by_every_loss_what_comes_next(kind: str, loss: str) -> None:
    data = marched(users=80, items=40)
    trained = train(data, tiny(kind, loss=loss, negatives=20), device=CPU)
    assert max(trained.curves["ndcg@10"]) > 0.6 > 0.2 > popularity(data)
    assert trained.curves["loss"][-1] < trained.curves["loss"][0]


def test_kinds_that_know_the_order_tell_who_marches_up_from_who_marches_down() -> None:
    data = pacing()
    reached = {}
    for kind in KINDS:
        trained = train(data, tiny(kind, epochs=30, patience=30, length=6), device=CPU)
        reached[kind] = max(trained.curves["ndcg@10"])
    assert min(reached[kind] for kind in KINDS if kind != "mean") > reached["mean"] + 0.1, reached


def test_validation_is_the_ndcg_of_the_targets_among_what_users_have_not_had() -> None:
    data = marched(users=30, items=25, length=14)
    encoder = untrained(tiny(length=5), data)
    scores_UN = np.zeros((30, 25), np.float32)
    for user in range(30):
        end = int(data.starts_V[user + 1])
        batch, _ = Arrays(data, encoder.config, CPU).gathered(np.array([end - 5]), np.array([end]))
        with torch.no_grad():
            scores_UN[user] = (encoder.states(batch)[0, -1] @ encoder.item_vectors().T).numpy()
    found = validate(encoder, Arrays(data, encoder.config, CPU), CPU)
    assert found == pytest.approx(ndcg_of(data, scores_UN), abs=1e-6)


def test_users_without_a_target_or_a_history_are_not_validated() -> None:
    data = by_hand([[0, 1], [], [2, 3], [4, 5]], 12, targets=[2, 7, -1, 6])
    of_two = by_hand([[0, 1], [4, 5]], 12, targets=[2, 6])
    encoder = untrained(tiny(), data)
    found, expected = (validate(encoder, Arrays(one, encoder.config, CPU), CPU) for one in (data, of_two))
    assert found == pytest.approx(expected) != 0


def test_an_epoch_meets_every_step_with_the_events_before_it() -> None:
    data = by_hand([[0, 1, 2], [3], [4, 5], [6, 7, 8, 9]], 10, targets=[0] * 4)
    steps = []
    for batch, targets_BL in batches(Arrays(data, tiny(batch=2), CPU), np.random.default_rng(0)):
        assert len(targets_BL) <= 2
        for items, targets in zip(batch.items_BL.tolist(), targets_BL.tolist(), strict=True):
            steps += [(item, target) for item, target in zip(items, targets, strict=True) if target != 10]
    assert sorted(steps) == [(0, 1), (1, 2), (4, 5), (6, 7), (7, 8), (8, 9)]


def test_the_best_epochs_weights_are_kept_and_training_ends_when_it_gets_no_better() -> None:
    data = marched()
    trained = train(data, tiny(epochs=60, patience=3), device=CPU)
    curve = trained.curves["ndcg@10"]
    assert trained.epoch == 1 + int(np.argmax(curve))
    assert len(curve) == len(trained.curves["loss"]) == trained.epoch + 3 < 60
    encoder = Encoder(trained.config, data.n_items, sides_of(data))
    encoder.load_state_dict(dict(trained.weights))
    assert validate(encoder, Arrays(data, trained.config, CPU), CPU) == pytest.approx(max(curve), abs=1e-6)


def test_a_number_of_epochs_ends_training_without_a_look_at_any_target() -> None:
    data = marched()
    blind = replace(data, targets_U=np.full_like(data.targets_U, -1))
    other = replace(data, targets_U=(data.targets_U + 1) % data.n_items)
    first, second, third = (train(one, tiny(), epochs=3, device=CPU) for one in (data, blind, other))
    assert same(first, second)
    assert same(first, third)
    assert first.epoch == len(first.curves["loss"]) == 3
    assert first.curves["ndcg@10"] == []


def test_a_seed_is_a_training() -> None:
    data, config = marched(), tiny(dropout=0.3, epochs=2)
    first = train(data, config, seed=4, device=CPU)
    assert same(first, train(data, config, seed=4, device=CPU))
    assert not same(first, train(data, config, seed=5, device=CPU))


def test_training_draws_nothing_from_what_was_drawn_before_it() -> None:
    data, config = marched(), tiny(dropout=0.3, epochs=2)
    first = train(data, config, device=CPU)
    torch.rand(100)
    np.random.default_rng().random(3)
    assert same(first, train(data, config, device=CPU))


@pytest.mark.parametrize("kind", ["sasrec", "gru4rec"])
@pytest.mark.usefixtures("one_thread")  # as the process that is killed has
def test_a_training_that_is_killed_at_any_moment_goes_on_to_the_same_weights(kind: str, tmp_path: Path) -> None:
    save_data(marched(), tmp_path / "data.safetensors")
    checkpoint, epochs = tmp_path / "checkpoint.safetensors", 12
    config = tiny(kind, dropout=0.3, gaps=True, epochs=epochs, patience=epochs)
    generator = random.Random(kind)
    told: list[int] = []
    for _ in range(2):
        command = [sys.executable, Path(__file__).with_name("train_until_killed.py")]
        path = os.pathsep.join(map(str, (CHECKOUT, CHECKOUT / "tests")))
        process = subprocess.Popen(
            [*command, tmp_path / "data.safetensors", checkpoint, kind, str(epochs)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        told.append(int(process.stdout.readline()))
        try:
            process.wait(generator.random() * 0.03)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
    assert told == sorted(set(told))  # each went on behind the one before
    assert 1 == told[0] < told[-1]
    data = marched()
    resumed = train(data, config, checkpoint=checkpoint, device=CPU)
    whole = train(data, config, device=CPU)
    assert same(resumed, whole)
    assert (resumed.epoch, resumed.curves) == (whole.epoch, whole.curves)


def test_a_training_that_was_over_is_not_begun_again(tmp_path: Path) -> None:
    data, checkpoint = marched(), tmp_path / "some" / "checkpoint.safetensors"
    told: list[int] = []
    for _ in range(2):
        trained = train(
            data, tiny(epochs=3), checkpoint=checkpoint, device=CPU, progress=lambda *one: told.append(one[0])
        )
        fixed = train(data, tiny(), epochs=2, checkpoint=tmp_path / "fixed.safetensors", device=CPU)
        assert (len(trained.curves["loss"]), len(fixed.curves["loss"])) == (3, 2)
    assert told == [1, 2, 3]
    assert same(fixed, train(data, tiny(), epochs=2, device=CPU))
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["checkpoint.safetensors", "fixed.safetensors"]


def other_seed(data: EncoderData, config: EncoderConfig, path: Path) -> None:
    train(data, config, seed=1, checkpoint=path, device=CPU)


def other_config(data: EncoderData, config: EncoderConfig, path: Path) -> None:
    train(data, replace(config, learning_rate=0.02), checkpoint=path, device=CPU)


def other_epochs(data: EncoderData, config: EncoderConfig, path: Path) -> None:
    train(data, config, epochs=2, checkpoint=path, device=CPU)


def other_data(data: EncoderData, config: EncoderConfig, path: Path) -> None:
    train(replace(data, items_E=data.items_E[::-1].copy()), config, checkpoint=path, device=CPU)


def shift(data: EncoderData, config: EncoderConfig, path: Path) -> None:
    train(replace(data, at_E=data.at_E + 1), config, checkpoint=path, device=CPU)


def truncate(data: EncoderData, config: EncoderConfig, path: Path) -> None:
    train(data, config, checkpoint=path, device=CPU)
    path.write_bytes(path.read_bytes()[:-100])


def behead(data: EncoderData, config: EncoderConfig, path: Path) -> None:
    path.write_bytes(b"123")


def empty(data: EncoderData, config: EncoderConfig, path: Path) -> None:
    path.write_bytes(b"")


def say_nothing(data: EncoderData, config: EncoderConfig, path: Path) -> None:
    train(data, config, checkpoint=path, device=CPU)
    save_file(load_file(path), path)


def say_nonsense(data: EncoderData, config: EncoderConfig, path: Path) -> None:
    save_file({"now.x": torch.zeros(1)}, path, {"state": "{"})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (other_seed, "of another training; remove it, or name another"),
        (other_config, "of another training"),
        (other_epochs, "of another training"),
        (other_data, "of another training"),
        (shift, "of another training"),
        (truncate, "is damaged .* remove it to start anew"),
        (behead, "is damaged"),
        (empty, "is damaged"),
        (say_nothing, "is damaged"),
        (say_nonsense, "is damaged"),
    ],
)
def test_a_checkpoint_that_is_another_trainings_or_damaged_is_refused(
    make: Callable[[EncoderData, EncoderConfig, Path], None], said: str, tmp_path: Path
) -> None:
    data, config, path = marched(), tiny(epochs=2), tmp_path / "checkpoint.safetensors"
    make(data, config, path)
    with pytest.raises(InvalidInput, match=said) as refused:
        train(data, config, checkpoint=path, device=CPU)
    assert refused.value.field == "checkpoint"


def test_progress_says_how_far_it_is_and_how_well_it_ranks() -> None:
    told: list[tuple[int, int, str]] = []
    train(marched(), tiny(epochs=2), device=CPU, progress=lambda *one: told.append(one))
    train(marched(), tiny(), epochs=1, device=CPU, progress=lambda *one: told.append(one))
    assert [one[:2] for one in told] == [(1, 2), (2, 2), (1, 1)]
    assert "validation NDCG@10" in told[1][2]
    assert "validation" not in told[2][2]


def test_too_little_data_is_refused() -> None:
    with pytest.raises(InvalidInput, match="too few"):
        train(marched(users=3), tiny(), device=CPU)


ALONE = """
import sys
from pathlib import Path

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
import runpy
runpy.run_module("models.encoders.train", run_name="__main__")
"""


def test_training_alone_needs_torch_numpy_and_safetensors_only(tmp_path: Path) -> None:
    data = marched()
    save_data(data, tmp_path / "data.safetensors")
    names = {
        *("polars", "mlflow", "faiss", "scipy", "orjson", "redis", "pydantic", "fastapi", "typer", "rich"),
        *("transformers", "tokenizers", "matplotlib"),
    }
    settings = ["kind=gru4rec", "dimensions=16", "epochs=2", "words=false", "categories=false", "seed=3"]
    ended = subprocess.run(
        [sys.executable, "-c", ALONE.format(names=names), tmp_path / "data.safetensors", tmp_path / "out", *settings],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "2/2 epoch 2: loss" in ended.stderr
    said = json.loads((tmp_path / "out" / "training.json").read_text())
    config = EncoderConfig("gru4rec", 16, epochs=2, words=False, categories=False)
    assert EncoderConfig(**said["config"]) == config
    assert (said["seed"], len(said["curves"]["loss"])) == (3, 2)
    trained = train(data, config, seed=3)
    with safe_open(tmp_path / "out" / "weights.safetensors", "pt") as file:
        for name, weights in trained.weights.items():
            torch.testing.assert_close(file.get_tensor(name), weights)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_trains_to_the_loss_of_a_cpu(kind: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here: `pytest -m gpu tests/models/encoders` on a machine with one runs it")
    data, config = marched(users=80, items=40), tiny(kind, epochs=12, patience=12)
    at_home = train(data, config, device=CPU)
    for bf16, tolerance in ((False, 0.05), (True, 0.1)):
        trained = train(data, config, device=Device("cuda", bf16))
        assert trained.curves["loss"][0] == pytest.approx(at_home.curves["loss"][0], rel=tolerance)
        assert trained.curves["loss"][-1] == pytest.approx(at_home.curves["loss"][-1], rel=2 * tolerance)
        assert max(trained.curves["ndcg@10"]) > max(at_home.curves["ndcg@10"]) - 0.05
        assert {weights.device.type for weights in trained.weights.values()} == {"cpu"}
