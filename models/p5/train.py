"""Training P5 on all families at once: one loop, in full view.

    events -> cases of every family, drawn anew each epoch -> random wordings -> tokens -> T5 -> AdamW -> validation

Runs from one file of tensors: `python -m models.p5.train data.safetensors OUT [name=value ...]`.
Shapes: B examples, T tokens of a prompt, A tokens of an answer, U users, K items found.
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

from features.errors import InvalidInput
from models.checkpointing import TrainingState, copied
from models.device import Device, best_device
from models.p5.config import P5Config, configured
from models.p5.corpus import Corpus
from models.p5.data import P5Data, load_data
from models.p5.examples import Example, Examples
from models.p5.item_index import ItemIndex, build_index
from models.p5.model import P5Model, checkpoint_digest, new_model
from models.p5.tokens import P5Tokenizer
from models.p5.trained import P5
from models.p5.vocabulary import tokenizer_for

Progress = Callable[[int, int, str], None]

CLIP: Final = 1.0  # of the gradient's norm, as in the original
WARM_UP: Final = 0.05  # of the steps, as in the original
VALIDATION_USERS: Final = 1000
_K: Final = 10
_BUCKETS: Final = 16  # batches that are cut from prompts sorted by length


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """weights: of the best epoch. epoch: its number, from 1. curves: by name, one value an epoch."""

    config: P5Config
    tokenizer: P5Tokenizer
    model: P5Model
    epoch: int
    curves: Mapping[str, list[float]]
    seconds: float


def train(
    data: P5Data,
    config: P5Config,
    *,
    seed: int = 0,
    index: ItemIndex | None = None,
    embeddings_ND: NDArray[np.float32] | None = None,
    checkpoint: Path | None = None,
    device: Device | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Trains until NDCG@10 on the data's targets has not grown for `patience` epochs, and keeps the best epoch.

    index: of the items; built from the data when it is not given, a semantic one from embeddings_ND. checkpoint: a file
    written after each epoch, from which a training that was killed goes on; on as many threads, and without a limit of
    minutes, to the same weights. Raises InvalidInput for data too few to learn from, and for a checkpoint of another
    training; WeightsRefused for a T5 checkpoint that cannot be used.
    """
    device = device or best_device()
    corpus = Corpus(data, config.mix)
    check(corpus)
    index = index or build_index(config.indexing, data, seed=seed, embeddings_ND=embeddings_ND)
    tokenizer = tokenizer_for(corpus, index, config)
    torch.manual_seed(seed)
    model = new_model(config, tokenizer.size).to(device.name)
    optimizer = torch.optim.AdamW(model.parameter_groups(config), betas=(0.9, 0.98), fused=True)
    rates = [group["lr"] for group in optimizer.param_groups]
    steps = config.epochs * math.ceil(len(Examples(corpus, seed, 0)) / config.batch)
    state = TrainingState.resumed(checkpoint, model, optimizer, _identity(data, config, seed, tokenizer), "ndcg@10")
    while not _is_over(state, config):
        rng = np.random.default_rng((seed, state.epoch, 1))
        torch.manual_seed(seed * 1_000_003 + state.epoch + 1)
        model.train()
        losses: list[Tensor] = []
        for number, batch in enumerate(batches(Examples(corpus, seed, state.epoch), tokenizer, config, rng)):
            done = (state.epoch / config.epochs) + number / steps
            if config.minutes:
                done = max(done, state.seconds / (60 * config.minutes))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * scheduled(done)
            tokens_BT, places_BT, answers_BA = (torch.from_numpy(one).to(device.name) for one in batch)
            with device.autocast():
                loss = model.loss(tokens_BT, places_BT, answers_BA, device.dtype)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            losses.append(loss.detach())
            if done >= 1:
                break
        ndcg = validate(model, tokenizer, corpus, config, device)
        state.add(model, float(torch.stack(losses).mean()), ndcg)
        state.save(checkpoint, model, optimizer)
        if progress is not None:
            said = f"loss {state.curves['loss'][-1]:.3f}, validation NDCG@10 {ndcg:.4f} (best {state.best:.4f})"
            progress(state.epoch, config.epochs, f"epoch {state.epoch}: {said}, {state.seconds / 60:.1f} min")
    model.load_state_dict(state.weights)
    return Trained(config, tokenizer, model.eval(), state.best_epoch, state.curves, state.seconds)


def _is_over(state: TrainingState, config: P5Config) -> bool:
    is_late = config.minutes > 0 and state.seconds >= 60 * config.minutes
    return state.epoch >= config.epochs or is_late or state.is_done(config.patience, is_fixed=False)


def scheduled(done: float) -> float:
    """The part of the learning rate at this part of the training: a straight rise, then half a cosine."""
    if done < WARM_UP:
        return max(done / WARM_UP, 0.01)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - WARM_UP) / (1 - WARM_UP))))


def batches(
    examples: Examples, tokenizer: P5Tokenizer, config: P5Config, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """An epoch's (tokens_BT, places_BT, answers_BA), prompts and answers of about one length together."""
    width = config.batch * _BUCKETS
    for first in range(0, len(examples), width):
        some = examples[range(first, min(first + width, len(examples)))]
        some.sort(key=_length)
        cut = [some[place : place + config.batch] for place in range(0, len(some), config.batch)]
        for number in rng.permutation(len(cut)):
            chosen = cut[number]
            for one in chosen:
                tokenizer.remember((*one.prompt, *one.answer))
            tokens_BT, places_BT = tokenizer.prompts([one.prompt for one in chosen], config.length, cut=True)
            yield tokens_BT, places_BT, tokenizer.answers([one.answer for one in chosen])


def _length(example: Example) -> tuple[bool, int]:
    """Texts apart from short answers, for the decoder computes what a batch's longest answer has."""
    return len(example.answer) > SHORT, len(example.prompt)


SHORT: Final = 8


def check(corpus: Corpus) -> None:
    """Raises InvalidInput when there is nothing to learn from, or to stop by."""
    data = corpus.data
    steps = int(np.maximum(np.diff(data.starts_V) - 1, 0).sum())
    if data.n_items < 2 or steps < MOST_NEEDED:
        raise InvalidInput(
            "data",
            f"{data.n_items} items and {steps} steps from an event to the next are too few for P5; it takes at least "
            f"{MOST_NEEDED} steps: use counting models, or bring more events",
        )
    if not (data.targets_U >= 0).any():
        raise InvalidInput("data", "no user has a target that training could stop by; leave out somebody's last event")


MOST_NEEDED: Final = 100


def validate(model: P5Model, tokenizer: P5Tokenizer, corpus: Corpus, config: P5Config, device: Device) -> float:
    """NDCG@10 of the targets among all items that their users have not had; of at most VALIDATION_USERS users."""
    data = corpus.data
    users = np.flatnonzero((data.targets_U >= 0) & (np.diff(data.starts_V) > 0))
    users = users[:: max(1, math.ceil(len(users) / VALIDATION_USERS))]
    p5 = P5.of(config, tokenizer, model, corpus, device=device)
    pasts = [corpus.past_of(user) for user in users.tolist()]
    seen = [data.items_E[data.starts_V[user] : data.starts_V[user + 1]] for user in users]
    found = p5.next_items(pasts, k=_K, seen=seen)
    is_target_UK = found.rows_BK == data.targets_U[users][:, None]
    return float((is_target_UK / np.log2(np.arange(_K) + 2.0)).sum(axis=1).mean())


def _identity(data: P5Data, config: P5Config, seed: int, tokenizer: P5Tokenizer) -> str:
    digest = sha256(json.dumps([asdict(config), seed, tokenizer.index.tokens], sort_keys=True).encode())
    digest.update(tokenizer.text.to_str().encode())
    digest.update(np.ascontiguousarray(tokenizer.index.codes_NC).tobytes())
    if config.checkpoint:
        digest.update(checkpoint_digest(Path(config.checkpoint)).encode())
    for one in fields(P5Data):
        value = getattr(data, one.name)
        is_array = isinstance(value, np.ndarray)
        digest.update(np.ascontiguousarray(value).tobytes() if is_array else repr(value).encode())
    return digest.hexdigest()


def main() -> None:
    """Trains on a file of data; writes weights.safetensors and training.json to a folder."""
    path, out, *settings = sys.argv[1:]
    given = dict(setting.split("=", 1) for setting in settings)
    seed = int(given.pop("seed", 0))
    config = configured(given)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)

    def tell(done: int, total: int, what: str) -> None:
        print(f"{done}/{total} {what}", file=sys.stderr, flush=True)  # noqa: T201 - progress, to a person

    trained = train(
        load_data(Path(path)), config, seed=seed, checkpoint=folder / "checkpoint.safetensors", progress=tell
    )
    save_file(copied(trained.model), folder / "weights.safetensors")
    said = {"config": asdict(config), "seed": seed, "epoch": trained.epoch, "curves": trained.curves}
    (folder / "training.json").write_text(json.dumps(said | {"seconds": trained.seconds}))


if __name__ == "__main__":
    main()
