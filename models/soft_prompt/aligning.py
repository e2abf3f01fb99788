"""Aligning a user encoder with a language model by questions about users: one loop, in full view.

    questions -> what is known of their users -> states -> soft prompt -> frozen language model -> answers -> AdamW

The loss is the truth's negative lift (models/soft_prompt/trained.py) and, as choices are compared by it afterwards, its
cross-entropy among the choices: what makes all of them likelier tells nothing of the user. Answers' tokens alone have
logits. A question weighs as much as any other, however long its answer.
Runs from one file of tensors: `python -m models.soft_prompt.aligning data.safetensors LANGUAGE_MODEL OUT [name=value]`.
Shapes: B questions of a batch, F answers, N questions, C choices.
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
from numpy.typing import NDArray
from torch import Tensor, nn

from features.errors import InvalidInput
from models.checkpointing import TrainingState
from models.device import Device, best_device
from models.encoders.data import EncoderData
from models.soft_prompt.config import SoftPromptConfig, configured
from models.soft_prompt.course import Course
from models.soft_prompt.data import AligningData, load_data
from models.soft_prompt.language import Language
from models.soft_prompt.layout import Asked
from models.soft_prompt.questions import Question
from models.soft_prompt.reading import Past, pasts_of
from models.soft_prompt.trained import Aligned
from models.soft_prompt.warming import warm

Progress = Callable[[int, int, str], None]

CLIP: Final = 1.0  # of the gradient's norm
SETTLED: Final = 2000  # questions, whose users' states the adapter is fitted to before it learns
WARM_UP: Final = 0.05  # of the training
_MEASURED: Final = "validation accuracy"
_ASKED: Final = "questions"


def align(
    data: AligningData,
    folder: Path,
    config: SoftPromptConfig,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    device: Device | None = None,
    progress: Progress | None = None,
) -> Aligned:
    """Trains an adapter between the data's encoder and the language model in a folder; keeps the last step's.

    checkpoint: a file written every so many steps, from which a training that was killed goes on; on as many threads,
    and without a limit of minutes, to the same weights. Raises InvalidInput when there is nothing to learn from or to
    measure by, and for a checkpoint of another training; WeightsRefused.
    """
    if not data.questions or not data.validation:
        raise InvalidInput("questions", f"{len(data.questions)} to learn from, {len(data.validation)} to measure by")
    device = device or best_device()
    language = Language(folder, device, rank=config.lora, seed=seed)
    torch.manual_seed(seed)
    aligned = Aligned(config, data.encoder, language)
    if config.tokens:
        settle(aligned, data)
    learns = nn.ModuleDict({"weights": aligned.weights, "updates": language.updates})
    optimizer = torch.optim.AdamW(
        groups(aligned, config), betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    measured = data.validation[: config.validation]
    course = Course.of(aligned, data.questions, seed)
    rounds = math.ceil(config.steps / config.every)
    identity = sha256(json.dumps([asdict(config), seed, data.digest, language.digest]).encode()).hexdigest()
    state = TrainingState.resumed(checkpoint, learns, optimizer, identity, _MEASURED, time.process_time)
    if not state.epoch and config.warm and config.tokens:
        warm(aligned, data, seed)
    while not state.epoch or (state.epoch < rounds and not 0 < 60 * config.minutes <= state.seconds):
        torch.manual_seed(seed * 1_000_003 + state.epoch + 1)
        aligned.weights.train()
        losses: list[float] = []
        for number, lots in enumerate(course.steps(state.epoch), state.epoch * config.every):
            done = number / config.steps
            if config.minutes:
                done = max(done, state.seconds / (60 * config.minutes))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * scheduled(done)
            optimizer.zero_grad(set_to_none=True)
            lost = 0.0
            for lot in lots:
                pasts = pasts_of(data.events, [question for question, _ in lot])
                loss = loss_of(aligned, pasts, lot) * (len(lot) / config.batch)
                loss.backward()
                lost += loss.item()
            torch.nn.utils.clip_grad_norm_(learns.parameters(), CLIP)
            optimizer.step()
            losses.append(lost)
            if done >= 1:
                break
        aligned.weights.eval()
        accuracy = float(right(aligned, data.events, measured).mean())
        state.add(learns, float(np.mean(losses)), None)
        state.curves[_MEASURED].append(accuracy)
        state.curves.setdefault(_ASKED, []).append(len(losses) * config.batch)
        state.save(checkpoint, learns, optimizer)
        if progress is not None:
            said = f"loss {state.curves['loss'][-1]:.3f}, {_MEASURED} {accuracy:.3f}, {state.seconds / 60:.1f} min"
            progress(min(state.epoch * config.every, config.steps), config.steps, said)
    aligned.said = {"seed": seed, "curves": state.curves, "seconds": round(state.seconds, 1)}
    return aligned


@torch.no_grad()
def settle(aligned: Aligned, data: AligningData) -> None:
    """Fits what is learned from nothing but states, those of some questions' users, and where a soft prompt begins."""
    [[cue_W]] = aligned.language.embedded([aligned.language.cue[-1:]])[0]
    aligned.adapter.start(cue_W.float())
    if aligned.config.source == "constant":
        return
    order = np.random.default_rng(0).permutation(len(data.questions))[:SETTLED]
    aligned.adapter.settle(*aligned.reader(pasts_of(data.events, [data.questions[place] for place in order])))


def loss_of(aligned: Aligned, pasts: Sequence[Past], batch: Sequence[tuple[Question, Asked]]) -> Tensor:
    """The mean over the questions of both parts of the loss, as the configuration weighs them.

    Choices share what is before them and are short beside it, so that scoring them all costs little more than one.
    """
    contrast = aligned.config.contrast
    if not contrast:
        asked = [(words, [answers[question.truth]]) for question, (words, answers) in batch]
        return -aligned.lifts(pasts, asked).mean()
    return choice_loss(aligned.lifts(pasts, [asked for _, asked in batch]), batch, contrast)


def choice_loss(lifts_F: Tensor, batch: Sequence[tuple[Question, Asked]], contrast: float) -> Tensor:
    """The same of the lifts of all choices."""
    lifts_of = lifts_F.split([len(question.choices) for question, _ in batch])
    truths = [(lifts_C, question.truth) for lifts_C, (question, _) in zip(lifts_of, batch, strict=True)]
    return torch.stack([contrast * lifts_C.logsumexp(0) - lifts_C[truth] for lifts_C, truth in truths]).mean()


def groups(aligned: Aligned, config: SoftPromptConfig) -> list[dict[str, Any]]:
    """What learns, with its rates."""
    found = aligned.adapter.groups(config)
    if "reader" in aligned.weights:
        rate = config.encoder_rate if config.tune_encoder else config.learning_rate
        found.append({"params": list(aligned.reader.parameters()), "lr": rate})
    if len(aligned.language.updates):
        found.append({"params": list(aligned.language.updates), "lr": config.lora_rate})
    return found


def scheduled(done: float) -> float:
    """The part of the learning rate at this part of the training: a straight rise, then half a cosine."""
    if done < WARM_UP:
        return max(done / WARM_UP, 0.01)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - WARM_UP) / (1 - WARM_UP))))


def right(aligned: Aligned, events: EncoderData, questions: Sequence[Question]) -> NDArray[np.bool_]:
    """is_right_N: whether the likeliest choice is the true one."""
    scores_NC = aligned.scores(questions, pasts_of(events, questions))
    return np.asarray(scores_NC.argmax(axis=1) == [question.truth for question in questions])


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
    align(data, Path(language), config, seed=seed, checkpoint=checkpoint, progress=tell).save(folder / "soft-prompt")


if __name__ == "__main__":
    main()
