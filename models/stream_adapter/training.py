"""Teaching an adapter by questions about users that the frozen model must answer by changed weights: one loop.

    chunks before the question -> keys and values, kept -> memory -> cores -> frozen model, changed -> answers -> AdamW

The loss is that of models/soft_prompt/aligning.py; and, where they have a weight, the loss of what a user does next in
words, and the distance to what the frozen model says with the context in its prompt (the distillation that SADA adds to
StreamAdapter).
Runs from one file of tensors: `python -m models.stream_adapter.training data.safetensors LANGUAGE_MODEL OUT
[name=value]`.
Shapes: B questions of a batch, F answers, P predicting places, W dimensions of states, V words.
"""

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.checkpointing import TrainingState
from models.device import Device, best_device
from models.soft_prompt.aligning import CLIP, choice_loss, scheduled
from models.soft_prompt.course import Lot
from models.soft_prompt.language import Language
from models.soft_prompt.layout import Asked, Rows
from models.stream_adapter.config import StreamAdapterConfig, configured
from models.stream_adapter.data import AdaptingData, load_data
from models.stream_adapter.lessons import Lessons, Span
from models.stream_adapter.trained import StreamAdapter

Progress = Callable[[int, int, str], None]

_MEASURED: Final = "validation accuracy"
_ASKED: Final = "questions"


def train(
    data: AdaptingData,
    folder: Path,
    config: StreamAdapterConfig,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    device: Device | None = None,
    progress: Progress | None = None,
) -> StreamAdapter:
    """Trains an adapter of the language model in a folder; keeps the last step's.

    checkpoint: a file written every so many steps, from which a training that was killed goes on; on as many threads,
    and without a limit of minutes, to the same weights. Raises InvalidInput when there is nothing to learn from or to
    measure by, and for a checkpoint of another training; WeightsRefused.
    """
    torch.manual_seed(seed)
    adapter = StreamAdapter(config, Language(folder, device or best_device()))
    lessons = Lessons(adapter, data, seed)
    optimizer = torch.optim.AdamW(groups(adapter), betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True)
    rates = [group["lr"] for group in optimizer.param_groups]
    rounds = math.ceil(config.steps / config.every)
    identity = sha256(json.dumps([asdict(config), seed, data.digest, adapter.base]).encode()).hexdigest()
    state = TrainingState.resumed(checkpoint, adapter.weights, optimizer, identity, _MEASURED, time.process_time)
    if not state.epoch:
        lessons.measure()
    while state.epoch < rounds and not 0 < 60 * config.minutes <= state.seconds:
        losses: list[float] = []
        for number, lots in enumerate(lessons.steps(state.epoch), state.epoch * config.every):
            done = number / config.steps
            if config.minutes:
                done = max(done, state.seconds / (60 * config.minutes))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * scheduled(done)
            optimizer.zero_grad(set_to_none=True)
            lost = 0.0
            for lot in lots:
                loss = loss_of(lessons, lot, lessons.length(done)) * (len(lot) / config.batch)
                loss.backward()
                lost += loss.item()
            torch.nn.utils.clip_grad_norm_(adapter.weights.parameters(), CLIP)
            optimizer.step()
            losses.append(lost)
            if done >= 1:
                break
        accuracy = float(lessons.right().mean())
        state.add(adapter.weights, float(np.mean(losses)), None)
        state.curves[_MEASURED].append(accuracy)
        state.curves.setdefault(_ASKED, []).append(len(losses) * config.batch)
        state.save(checkpoint, adapter.weights, optimizer)
        if progress is not None:
            said = f"loss {state.curves['loss'][-1]:.3f}, {_MEASURED} {accuracy:.3f}, {state.seconds / 60:.1f} min"
            progress(min(state.epoch * config.every, config.steps), config.steps, said)
    guard = lessons.bound()
    adapter.said = {"seed": seed, "curves": state.curves, "seconds": round(state.seconds, 1), "guard": guard}
    adapter.weights.requires_grad_(False)
    return adapter


def loss_of(lessons: Lessons, lot: Lot, length: int) -> Tensor:
    """The mean over the questions of all parts of the loss, as the configuration weighs them."""
    adapter, config = lessons.adapter, lessons.config
    spans = [lessons.span(question, length) for question, _ in lot]
    cores = lessons.cores(spans)
    asked = [one for _, one in lot]
    states_PW, rows = adapter.predicting(cores, asked)
    lifts_F = adapter.language.lifts(adapter.language.told(states_PW, rows), asked)
    loss = choice_loss(lifts_F, lot, config.contrast)
    if config.text:
        found = [(place, one) for place, (question, _) in enumerate(lot) if (one := lessons.following(question))]
        if some := found[: config.windows]:
            windows = [one for _, one in some]
            sums_F = adapter.log_likelihoods(cores.of([place for place, _ in some]), windows)
            sizes_F = torch.tensor([len(answers[0]) for _, answers in windows], device=sums_F.device)
            loss = loss - config.text * (sums_F / sizes_F).mean()
    if config.distil:
        loss = loss + config.distil * distance(lessons, states_PW, rows, spans[: config.taught], asked[: config.taught])
    return loss


def distance(lessons: Lessons, states_PW: Tensor, rows: Rows, spans: Sequence[Span], asked: Sequence[Asked]) -> Tensor:
    """How far the first rows' states are from the frozen model's with their contexts in its prompt: the divergence of
    its next words from theirs, or the squared distance of the states as a part of its own size."""
    adapter = lessons.adapter
    language = adapter.language
    taught: list[Asked] = []
    for span, (question, answers) in zip(spans, asked, strict=True):
        room = language.reads - len(question) - max(map(len, answers))
        told = lessons.told(span)
        taught.append(([*told[max(0, len(told) - room) :], *question], answers))
    with torch.no_grad():
        wanted_PW, _ = adapter.predicting(None, taught)
    found_PW = states_PW[rows.rows_P < len(asked)]
    if lessons.config.distilled == "states":
        wanted_PW = wanted_PW.float()
        return ((found_PW.float() - wanted_PW).square().sum(-1) / wanted_PW.square().sum(-1)).mean()
    found_PV, wanted_PV = (language.logits(one).log_softmax(dim=-1) for one in (found_PW, wanted_PW))
    return functional.kl_div(found_PV, wanted_PV, log_target=True, reduction="batchmean")


def groups(adapter: StreamAdapter) -> list[dict[str, Any]]:
    """What learns, with its rates."""
    return [
        {"params": list(adapter.absorption.parameters()), "lr": adapter.config.learning_rate},
        {"params": list(adapter.mapping.parameters()), "lr": adapter.config.mapping_rate},
    ]


def main() -> None:
    """Trains on a file of data; writes what was learned to a folder in OUT."""
    path, language, out, *settings = sys.argv[1:]
    given = dict(setting.split("=", 1) for setting in settings)
    seed = int(given.pop("seed", 0))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)

    def tell(done: int, total: int, what: str) -> None:
        print(f"{done}/{total} {what}", file=sys.stderr, flush=True)  # noqa: T201 - progress, to a person

    checkpoint = folder / "checkpoint.safetensors"
    data, config = load_data(Path(path)), configured(given)
    train(data, Path(language), config, seed=seed, checkpoint=checkpoint, progress=tell).save(folder / "stream-adapter")


if __name__ == "__main__":
    main()
