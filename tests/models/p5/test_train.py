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
from safetensors.torch import load_file
from toy_p5 import by_hand, read, tastes
from toy_p5_checkpoint import t5_folder
from toy_p5_model import CPU, ITEMS, ringed, tiny

from features.errors import InvalidInput, WeightsRefused
from features.frames import ordered
from models.p5.corpus import Corpus
from models.p5.data import P5Data, save_data
from models.p5.examples import Examples
from models.p5.item_index import build_index
from models.p5.train import batches, scheduled, train
from models.p5.vocabulary import tokenizer_for

CHECKOUT = Path(__file__).parents[3]


def inputs(data: P5Data, indexing: str, epoch: int = 0) -> list[list[list[int]]]:
    """All that an epoch of training reads: the numbers of its batches."""
    config = tiny(indexing=indexing)
    corpus = Corpus(data, config.mix)
    tokenizer = tokenizer_for(corpus, build_index(indexing, data, seed=0), config)
    rng = np.random.default_rng(0)
    return [one.tolist() for batch in batches(Examples(corpus, 0, epoch), tokenizer, config, rng) for one in batch]


def test_what_always_comes_next_is_learnt() -> None:
    trained = train(ringed(), tiny(epochs=15), device=CPU)
    assert max(trained.curves["ndcg@10"]) > 0.9
    assert trained.curves["loss"][-1] < trained.curves["loss"][0]


@pytest.mark.parametrize("indexing", ["random", "sequential", "collaborative", "semantic", "independent"])
def test_other_last_two_events_leave_every_byte_of_the_training_inputs(indexing: str) -> None:
    events, items = tastes()
    events = ordered(events)
    data, _ = read(events, items)
    last_two = np.zeros(events.height, bool)
    for (_user,), rows in events.with_row_index("row").group_by("user"):
        last_two[rows.sort("row")["row"].to_list()[-2:]] = True
    changed = events["item"].to_list()
    for place in np.flatnonzero(last_two):
        changed[place] = items["item"][int(place) % items.height]
    other, _ = read(events.with_columns(events["item"].__class__("item", changed)), items)
    assert [one.tolist() for one in (other.items_E, other.starts_V)] == [data.items_E.tolist(), data.starts_V.tolist()]
    assert other.targets_U.tolist() != data.targets_U.tolist()
    assert inputs(other, indexing) == inputs(data, indexing)


@pytest.mark.parametrize("indexing", ["sequential", "semantic"])
def test_items_renumbered_are_read_as_the_same_tokens(indexing: str) -> None:
    data, _ = read(*tastes())
    new_N = np.random.default_rng(3).permutation(data.n_items)
    old_N = np.argsort(new_N)
    targets_U = np.where(data.targets_U >= 0, new_N[data.targets_U], -1)
    renumbered = replace(
        data,
        items_E=new_N[data.items_E],
        targets_U=targets_U,
        titles=tuple(data.titles[row] for row in old_N),
        categories=tuple(data.categories[row] for row in old_N),
    )
    assert inputs(renumbered, indexing) == inputs(data, indexing)


@pytest.mark.usefixtures("one_thread")  # as the process that is killed has
def test_a_training_that_is_killed_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    save_data(ringed(), tmp_path / "data.safetensors")
    checkpoint, epochs = tmp_path / "checkpoint.safetensors", 5
    command = [sys.executable, str(Path(__file__).with_name("train_until_killed.py"))]
    path = os.pathsep.join(map(str, (CHECKOUT, CHECKOUT / "tests")))
    with subprocess.Popen(
        [*command, str(tmp_path / "data.safetensors"), str(checkpoint), str(epochs)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGKILL)
    config = tiny(dropout=0.2, epochs=epochs, patience=epochs)
    resumed = train(ringed(), config, checkpoint=checkpoint, device=CPU)
    whole = train(ringed(), config, device=CPU)
    assert (resumed.epoch, resumed.curves) == (whole.epoch, whole.curves)
    both = zip(resumed.model.state_dict().values(), whole.model.state_dict().values(), strict=True)
    assert all(torch.equal(*pair) for pair in both)


def test_a_checkpoint_of_another_training_is_not_taken_up(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    train(ringed(), tiny(epochs=1), checkpoint=checkpoint, device=CPU)
    with pytest.raises(InvalidInput, match="is of another training"):
        train(ringed(), tiny(epochs=1), seed=1, checkpoint=checkpoint, device=CPU)


def test_a_limit_of_minutes_ends_the_training_within_an_epoch() -> None:
    trained = train(ringed(), tiny(epochs=1000, patience=1000, minutes=0.02), device=CPU)
    assert 1 <= trained.epoch < 1000
    assert trained.seconds < 30


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [scheduled(done) for done in np.linspace(0, 1, 101)]
    assert rates[0] == 0.01
    assert max(rates) == rates[5] == 1.0
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == 0.0


def test_too_few_events_or_no_target_are_refused() -> None:
    with pytest.raises(InvalidInput, match="are too few for P5"):
        train(by_hand([[0, 1]], categories=[()] * 2), tiny(), device=CPU)
    data = ringed()
    with pytest.raises(InvalidInput, match="no user has a target"):
        train(replace(data, targets_U=np.full_like(data.targets_U, -1)), tiny(), device=CPU)


def test_it_runs_from_a_file_of_tensors_alone(tmp_path: Path) -> None:
    save_data(ringed(), tmp_path / "data.safetensors")
    settings = ["dimensions=16", "heads=2", "hidden=16", "layers=1", "epochs=1", "batch=64", "vocabulary=200"]
    subprocess.run(
        [sys.executable, "-m", "models.p5.train", tmp_path / "data.safetensors", tmp_path / "out", *settings],
        cwd=CHECKOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    said = json.loads((tmp_path / "out" / "training.json").read_text())
    assert said["epoch"] == 1
    weights = load_file(tmp_path / "out" / "weights.safetensors")
    assert weights["t5.shared.weight"].shape[0] > ITEMS


def test_a_training_is_not_taken_up_once_its_t5_checkpoint_has_other_weights(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    config = tiny(checkpoint=str(t5_folder(tmp_path / "t5")), epochs=1)
    first = train(ringed(), config, checkpoint=checkpoint, device=CPU)
    assert train(ringed(), config, checkpoint=checkpoint, device=CPU).curves == first.curves
    t5_folder(tmp_path / "t5", seed=2)
    with pytest.raises(InvalidInput, match="is of another training"):
        train(ringed(), config, checkpoint=checkpoint, device=CPU)


def test_a_tokenizer_of_more_ids_than_the_checkpoint_has_is_refused(tmp_path: Path) -> None:
    config = tiny(checkpoint=str(t5_folder(tmp_path, vocabulary=20)), epochs=1)
    with pytest.raises(WeightsRefused, match="a vocab_size of 20; name a folder whose files belong together"):
        train(ringed(), config, device=CPU)
