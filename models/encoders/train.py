"""Training an encoder to name the next item: one loop, in full view.

    events -> windows -> batches of equal lengths -> states -> softmax over items -> AdamW -> validation

Runs with torch, numpy and safetensors alone: `python -m models.encoders.train data.safetensors OUT [name=value ...]`.
Shapes: B sequences, L positions, D dimensions, N items, U users, T real positions of a batch, S drawn items.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from models.checkpointing import TrainingState, copied
from models.device import Device, best_device
from models.encoders.config import EncoderConfig, configured
from models.encoders.data import EncoderData, check, gap_buckets, load_data, rating_places, windows
from models.encoders.model import Batch, Encoder, Sides
from models.encoders.softmax import full_softmax_loss

Progress = Callable[[int, int, str], None]

CLIP: Final = 5.0  # of the gradient's norm; only a recurrent network's first steps come near it
VALIDATION_USERS: Final = 10_000
_BUCKETS: Final = 32  # batches that are cut from sequences sorted by length
_K: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """weights: of the best epoch. epoch: its number, from 1. curves: by name, one value an epoch."""

    config: EncoderConfig
    weights: Mapping[str, Tensor]
    epoch: int
    curves: Mapping[str, list[float]]
    seconds: float


def train(
    data: EncoderData,
    config: EncoderConfig,
    *,
    seed: int = 0,
    epochs: int | None = None,
    checkpoint: Path | None = None,
    device: Device | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Trains until NDCG@10 on the data's targets has not grown for `patience` epochs, and keeps the best epoch.

    epochs: train for exactly so many instead, without looking at any target. checkpoint: a file written after each
    epoch, from which a training that was killed goes on; on as many threads, to the same weights. Raises InvalidInput
    for data too few to learn from or without a target, and for a checkpoint of another training.
    """
    check(data, is_fixed=epochs is not None)
    device = device or best_device()
    torch.manual_seed(seed)
    encoder = Encoder(config, data.n_items, sides_of(data)).to(device.name)
    optimizer = torch.optim.AdamW(
        encoder.parameters(), config.learning_rate, (0.9, 0.98), weight_decay=config.weight_decay, fused=True
    )
    arrays = Arrays(data, config, device)
    most = epochs or config.epochs
    state = TrainingState.resumed(checkpoint, encoder, optimizer, _identity(data, config, seed, epochs), "ndcg@10")
    while state.epoch < most and not state.is_done(config.patience, epochs is not None):
        rng = np.random.default_rng((seed, state.epoch))
        torch.manual_seed(seed * 1_000_003 + state.epoch + 1)
        encoder.train()
        losses: list[Tensor] = []
        for batch, targets_BL in batches(arrays, rng):
            with device.autocast():
                states_BLD, vectors_ND = encoder.both(batch)
            loss = next_item_loss(states_BLD, vectors_ND, targets_BL, arrays, device)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), CLIP)
            optimizer.step()
            losses.append(loss.detach())
        ndcg = None if epochs else validate(encoder, arrays, device)
        state.add(encoder, float(torch.stack(losses).mean()), ndcg)
        state.save(checkpoint, encoder, optimizer)
        if progress is not None:
            said = "" if ndcg is None else f", validation NDCG@10 {ndcg:.4f} (best {state.best:.4f})"
            progress(state.epoch, most, f"epoch {state.epoch}: loss {state.curves['loss'][-1]:.3f}{said}")
    return Trained(
        config, state.weights or copied(encoder), state.best_epoch or state.epoch, state.curves, state.seconds
    )


class Arrays:
    """The data as tensors on the device, and what batches are cut from."""

    def __init__(self, data: EncoderData, config: EncoderConfig, device: Device) -> None:
        self.data = data
        self.config = config
        self.device = device.name
        padding = data.n_items
        # One event more, which stands for padding, so that a place past the end can be read.
        self.items_E = torch.tensor(np.append(data.items_E, padding), device=device.name)
        self.ratings_E = torch.tensor(np.append(rating_places(data.values_E), 0), device=device.name)
        gaps = [gap_buckets(at) for at in np.split(data.at_E, data.starts_V[1:-1])]
        self.gaps_E = torch.tensor(np.append(np.concatenate(gaps), 0), device=device.name)
        counts_N = np.bincount(data.items_E, minlength=padding)
        self.by_popularity_N = torch.tensor(np.argsort(-counts_N, kind="stable"), device=device.name)
        self.log_chances_N = torch.empty(padding, device=device.name)
        ranks_N = torch.arange(padding, device=device.name, dtype=torch.float64)
        chances_N = torch.log((ranks_N + 2) / (ranks_N + 1)) / math.log(padding + 1)
        self.log_chances_N[self.by_popularity_N] = chances_N.log().float()

    def gathered(self, begins_B: NDArray[np.int64], ends_B: NDArray[np.int64]) -> tuple[Batch, Tensor]:
        """(the events from begins to ends as a batch, the places in E they were taken from)."""
        width = int((ends_B - begins_B).max())
        places_BL = begins_B[:, None] + np.arange(width)
        places_BL[places_BL >= ends_B[:, None]] = len(self.data.items_E)
        places = torch.from_numpy(places_BL).to(self.device)
        return Batch(self.items_E[places], self.ratings_E[places], self.gaps_E[places]), places


def batches(arrays: Arrays, rng: np.random.Generator) -> Iterator[tuple[Batch, Tensor]]:
    """An epoch's (events, next items; n_items where there is none), sequences of about one length together."""
    begins_W, ends_W = windows(arrays.data, arrays.config.length, rng)
    order_W = rng.permutation(len(begins_W))
    size = arrays.config.batch
    found = []
    for first in range(0, len(order_W), size * _BUCKETS):
        some = order_W[first : first + size * _BUCKETS]
        some = some[np.argsort(ends_W[some] - begins_W[some], kind="stable")]
        found += [some[place : place + size] for place in range(0, len(some), size)]
    for place in rng.permutation(len(found)):
        chosen = found[place]
        batch, _ = arrays.gathered(begins_W[chosen], ends_W[chosen] - 1)
        targets, _ = arrays.gathered(begins_W[chosen] + 1, ends_W[chosen])
        yield batch, targets.items_BL


def next_item_loss(
    states_BLD: Tensor, vectors_ND: Tensor, targets_BL: Tensor, arrays: Arrays, device: Device
) -> Tensor:
    """Mean cross-entropy of the next items, over the catalogue or over items drawn for this batch.

    Drawn items are shared by the batch; their scores are corrected by the logarithm of how often each is expected among
    them, so that together they stand for the whole catalogue (Bengio and Senecal, 2008). The target is always there and
    is corrected by nothing; where it is drawn as well it is left out.
    """
    config = arrays.config
    real_BL = targets_BL != len(vectors_ND)
    states_TD, targets_T = states_BLD[real_BL], targets_BL[real_BL]
    if config.loss == "full":
        return full_softmax_loss(states_TD.float(), vectors_ND, targets_T, device.dtype)
    drawn_S, log_expected_S = draw(arrays)
    with device.autocast():
        scores_TS = states_TD @ vectors_ND[drawn_S].T
        targets_T1 = (states_TD * vectors_ND[targets_T]).sum(dim=-1, keepdim=True)
    scores_TS = scores_TS.float() - log_expected_S
    scores_TS = scores_TS.masked_fill(drawn_S == targets_T[:, None], -torch.inf)
    scores = torch.cat((targets_T1.float(), scores_TS), dim=1)
    return functional.cross_entropy(scores, torch.zeros_like(targets_T))


def draw(arrays: Arrays) -> tuple[Tensor, Tensor]:
    """(drawn_S, log_expected_S): items drawn for a batch, and the logarithm of how often each is expected."""
    config, n_items = arrays.config, arrays.data.n_items
    if config.loss == "uniform":
        drawn_S = torch.randint(n_items, (config.negatives,), device=arrays.device)
        return drawn_S, torch.full(drawn_S.shape, math.log(config.negatives / n_items), device=arrays.device)
    uniform_S = torch.rand(config.negatives, device=arrays.device, dtype=torch.float64)
    ranks_S = (torch.exp(uniform_S * math.log(n_items + 1)) - 1).long().clamp(0, n_items - 1)
    drawn_S = arrays.by_popularity_N[ranks_S]
    return drawn_S, arrays.log_chances_N[drawn_S] + math.log(config.negatives)


@torch.no_grad()
def validate(encoder: Encoder, arrays: Arrays, device: Device) -> float:
    """NDCG@10 of the targets among all items that their users have not had; of at most VALIDATION_USERS users."""
    encoder.eval()
    data, length = arrays.data, arrays.config.length
    users = np.flatnonzero((data.targets_U >= 0) & (np.diff(data.starts_V) > 0))
    users = users[:: max(1, math.ceil(len(users) / VALIDATION_USERS))]
    vectors_ND = encoder.item_vectors()
    total = 0.0
    for first in range(0, len(users), 512):
        some = users[first : first + 512]
        begins_B, ends_B = data.starts_V[some], data.starts_V[some + 1]
        newest, _ = arrays.gathered(np.maximum(begins_B, ends_B - length), ends_B)
        last_B = torch.from_numpy(np.minimum(ends_B - begins_B, length) - 1).to(arrays.device)
        with device.autocast():
            states_BD = encoder.states(newest)[torch.arange(len(some), device=arrays.device), last_B]
            scores_BN = (states_BD @ vectors_ND.T).float()
        every, _ = arrays.gathered(begins_B, ends_B)
        padded = functional.pad(scores_BN, (0, 1)).scatter_(1, every.items_BL, -torch.inf)[:, :-1]
        targets_B = torch.from_numpy(data.targets_U[some]).to(arrays.device)
        ranks_B = (padded >= padded.gather(1, targets_B[:, None])).sum(dim=1)
        total += float(torch.where(ranks_B <= _K, 1 / torch.log2(ranks_B + 1.0), 0.0).sum())
    return total / max(len(users), 1)


def sides_of(data: EncoderData) -> Sides:
    """The items' words and categories as tensors."""
    arrays = (data.words_W, data.word_starts_M[:-1], data.categories_G, data.category_starts_M[:-1])
    return Sides(*map(torch.from_numpy, arrays))


def _identity(data: EncoderData, config: EncoderConfig, seed: int, epochs: int | None) -> str:
    digest = sha256(json.dumps([asdict(config), seed, epochs], sort_keys=True).encode())
    for one in fields(EncoderData):
        digest.update(np.ascontiguousarray(getattr(data, one.name)).tobytes())
    return digest.hexdigest()


def main() -> None:
    """Trains on a file of data; writes weights.safetensors and training.json to a folder."""
    path, out, *settings = sys.argv[1:]
    config = configured(dict(setting.split("=", 1) for setting in settings if not setting.startswith("seed=")))
    seed = int(dict(setting.split("=", 1) for setting in settings).get("seed", 0))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)

    def tell(done: int, total: int, what: str) -> None:
        print(f"{done}/{total} {what}", file=sys.stderr, flush=True)  # noqa: T201 - progress, to a person

    trained = train(
        load_data(Path(path)), config, seed=seed, checkpoint=folder / "checkpoint.safetensors", progress=tell
    )
    save_file(dict(trained.weights), folder / "weights.safetensors")
    said = {"config": asdict(config), "seed": seed, "epoch": trained.epoch, "curves": trained.curves}
    (folder / "training.json").write_text(json.dumps(said | {"seconds": trained.seconds}))


if __name__ == "__main__":
    main()
