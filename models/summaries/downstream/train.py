"""Training a downstream model on all forms of prompt at once, in equal share: one loop, in full view.

    cases -> each in one form, drawn anew -> tokens -> T5 -> AdamW -> validation in every form

Shapes: B prompts, T tokens, F forms, X cases, A answers.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from models.checkpointing import TrainingState
from models.device import Device, best_device
from models.p5 import model as p5_model
from models.p5.train import CLIP, scheduled
from models.summaries.downstream.answers import answer, log_chances
from models.summaries.downstream.cases import Case, Log, Task
from models.summaries.downstream.config import DownstreamConfig
from models.summaries.downstream.forms import FORMS, Told
from models.summaries.downstream.knowing import known_tokens
from models.summaries.downstream.model import Downstream, scores_of
from models.summaries.downstream.tokens import Prompts

Progress = Callable[[int, int, str], None]

APART: Final = 0.3  # of an embedding that is drawn at random, beside what is known
VALIDATED: Final = 400  # cases, in every form


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """model: of the best round. curves: by name, one value a round; tokens: those of the prompts read. seconds: of one
    core."""

    model: Downstream
    round: int
    curves: Mapping[str, list[float]]
    seconds: float


def train(
    log: Log,
    prompts: Prompts,
    training: Sequence[tuple[Case, Told]],
    validation: Sequence[tuple[Case, Told]],
    config: DownstreamConfig,
    *,
    identity: str,
    seed: int = 0,
    checkpoint: Path | None = None,
    device: Device | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Trains on `examples` and keeps the round that answers validation cases best, over all forms alike.

    checkpoint: a file written after each round, from which a training that was killed goes on to the same weights.
    identity: what the checkpoint is of; another's is refused with InvalidInput.
    """
    device = device or best_device()
    torch.manual_seed(seed)
    model = new_model(log, prompts, config)
    give(model, *known_tokens(log, prompts, config.dimensions), prompts)
    model.to(device.name)
    optimizer = torch.optim.AdamW(model.t5.parameter_groups(config.t5()), betas=(0.9, 0.98), fused=True)
    rates = [group["lr"] for group in optimizer.param_groups]
    state = TrainingState.resumed(checkpoint, model, optimizer, identity, "validation", time.process_time)
    steps = max(config.examples // (config.rounds * config.batch), 1)
    some = validation[:: max(len(validation) // VALIDATED, 1)]
    while state.epoch < config.rounds:
        torch.manual_seed(seed * 1_000_003 + state.epoch + 1)
        drawn = drawing(len(training), state.epoch * steps * config.batch, seed)
        model.train()
        total, tokens = torch.zeros((), device=device.name), 0
        for step in range(steps):
            done = (state.epoch + step / steps) / config.rounds
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * scheduled(done)
            chosen = [next(drawn) for _ in range(config.batch)]
            batch = [prompts.of(*training[case], FORMS[form]) for case, form in chosen]
            answers = [answer(prompts.task, training[case][0]) for case, _ in chosen]
            with device.autocast():
                loss = model.loss(batch, torch.tensor(answers, device=device.name))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            total += loss.detach()
            tokens += sum(one.history + len(one.question) for one in batch)
        reached = validate(model, prompts, some)
        state.add(model, float(total) / steps, reached)
        state.curves.setdefault("tokens", []).append(tokens)
        state.save(checkpoint, model, optimizer)
        if progress is not None:
            said = f"loss {state.curves['loss'][-1]:.4f}, validation {reached:.4f} (best {state.best:.4f})"
            progress(state.epoch, config.rounds, f"round {state.epoch}: {said}, {state.seconds / 60:.1f} min")
    model.load_state_dict(state.weights)
    return Trained(model.eval(), state.best_epoch, state.curves, state.seconds)


def new_model(log: Log, prompts: Prompts, config: DownstreamConfig) -> Downstream:
    """A model of a task; weights by torch's seed. A choice is learnt beside how often each item is had at all."""
    prior_A = np.zeros(len(prompts.answers))
    if prompts.task is Task.CHOICE:
        counts_N = np.bincount(np.concatenate(log.learnt_items()), minlength=len(prior_A)) + 1
        prior_A = np.log(counts_N / counts_N.sum())
    t5 = p5_model.new_model(config.t5(), prompts.size)
    return Downstream(t5, prompts.answers, torch.from_numpy(prior_A.astype(np.float32)))


@torch.no_grad()
def give(model: Downstream, pieces_PD: NDArray[np.float32], items_ND: NDArray[np.float32], prompts: Prompts) -> None:
    """Adds what is known of tokens to what is drawn at random, which tells like ones apart."""
    tokens = model.t5.t5.shared.weight
    tokens.mul_(APART)
    tokens[: len(pieces_PD)] += torch.from_numpy(pieces_PD)
    tokens[prompts.first_item :] += torch.from_numpy(items_ND)


def drawing(cases: int, first: int, seed: int) -> Iterator[tuple[int, int]]:
    """(case, form), from the `first` one on: the forms in turn, the cases in a random order, again and again."""
    for number in count(first):
        if number == first or number % cases == 0:
            order = np.random.default_rng((seed, number // cases)).permutation(cases)
        yield int(order[number % cases]), number % len(FORMS)


def validate(model: Downstream, prompts: Prompts, cases: Sequence[tuple[Case, Told]]) -> float:
    """The mean log-probability of the true answers, over all forms alike."""
    model.eval()
    asked = [case for case, _ in cases]
    reached = [
        log_chances(prompts.task, scores_of(model, [prompts.of(*one, form) for one in cases]), asked).mean()
        for form in FORMS
    ]
    return float(np.mean(reached))
