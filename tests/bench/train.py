"""An epoch of encoder training, against a bare PyTorch loop over the same layers that does no work on data.

Both do the same forward and backward passes and the same steps of the optimiser, on MovieLens 100K. Ours cuts windows,
sorts them by length, gathers batches, and writes its loss down; the bare loop finds its batches ready-made in memory.
Neither validates.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from _movielens import movielens
from _report import alternate, measure, print_report, say

from features.datasets import Dataset
from features.frames import ordered, sequences
from models.counts.fitting import texts_of
from models.device import best_device
from models.encoders.config import preset
from models.encoders.data import EncoderData
from models.encoders.model import Encoder
from models.encoders.reading import encoder_data
from models.encoders.train import CLIP, Arrays, batches, next_item_loss, sides_of, train
from models.vocabulary import Vocabulary

ROUNDS, EPOCHS = 5, 3
KINDS = ("sasrec", "hstu", "gru4rec")
PEER = "the same layers, loss and AdamW over batches made beforehand"


def main() -> None:
    data = read(movielens())
    measures = {}
    for kind in KINDS:
        ours, bare = alternate(lambda kind=kind: (epoch(data, kind),), bare_epoch(data, kind), ROUNDS)
        say(f"{kind}: {ours[0]:.2f} s, bare {bare[0]:.2f} s")
        measures["time" if kind == KINDS[0] else f"time_{kind}"] = measure("s an epoch", ours[0], bare[0], PEER)
    print_report("train", measures, device=str(best_device()), threads=torch.get_num_threads())


def read(dataset: Dataset) -> EncoderData:
    vocabulary = Vocabulary.of(dataset.items["item"])
    known = sequences(ordered(dataset.events), vocabulary.items)
    return encoder_data(known, texts_of(dataset.items, vocabulary))


def epoch(data: EncoderData, kind: str) -> float:
    """Seconds of an epoch after the first, with which what every training does once is over."""
    ends: list[float] = []
    train(data, preset(kind), epochs=EPOCHS, progress=lambda *_: ends.append(time.perf_counter()))
    return (ends[-1] - ends[0]) / (EPOCHS - 1)


def bare_epoch(data: EncoderData, kind: str) -> Callable[[], tuple[float, ...]]:
    device, config = best_device(), preset(kind)
    torch.manual_seed(0)
    encoder = Encoder(config, data.n_items, sides_of(data)).to(device.name).train()
    optimizer = torch.optim.AdamW(encoder.parameters(), config.learning_rate, (0.9, 0.98), weight_decay=0.0, fused=True)
    arrays = Arrays(data, config, device)
    ready = list(batches(arrays, np.random.default_rng(1)))

    def run() -> tuple[float, ...]:
        start = time.perf_counter()
        for batch, targets_BL in ready:
            with device.autocast():
                states_BLD, vectors_ND = encoder.both(batch)
            loss = next_item_loss(states_BLD, vectors_ND, targets_BL, arrays, device)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), CLIP)
            optimizer.step()
        return (time.perf_counter() - start,)

    return run


if __name__ == "__main__":
    main()
