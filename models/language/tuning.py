"""Teaching a chat model by example: a LoRA of a model in a local folder, one loop in full view.

    messages and the answer wanted -> tokens -> batches of about one length -> low-rank updates of every map -> AdamW

LoRA is Hu et al.'s (2022): a frozen map W becomes W + 2 B A; B begins at nought, so that the model begins as it was.
Embeddings stay frozen. The loss is of the answers' tokens alone, and only those get logits.
Shapes: B pairs, T tokens of the longest, A tokens of the batch's answers, D dimensions.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM

from features.errors import InvalidInput, WeightsRefused
from features.folders import taking_the_place_of
from models.checkpointing import TrainingState
from models.device import Device, best_device
from models.language.adapters import SAID, base_digest, without_notice
from models.language.chat_tokens import ChatTokens
from models.language.generator import Message

CLIP: Final = 1.0  # of the gradient's norm
WARM_UP: Final = 0.05  # of the training
_MEASURED: Final = "validation loss"
_WINDOW: Final = 16  # batches' worth of pairs that are sorted by length together


@dataclass(frozen=True, slots=True)
class Pair:
    """What is asked, and the answer wanted."""

    messages: tuple[Message, ...]
    answer: str


Pairs: TypeAlias = Callable[[int], Sequence[Pair]]  # those of a round, by its number: the same ones every time
Progress: TypeAlias = Callable[[int, int, str], None]
Encoded: TypeAlias = tuple[list[int], list[int]]  # a prompt, and its answer with its end


@dataclass(frozen=True, slots=True)
class TuningConfig:
    """rank: of the updates. rounds: of pairs, each with a checkpoint behind it; minutes: of training at most, 0 for no
    limit; the learning rate falls to nothing over whichever ends first. tokens: of a batch at most, with the room that
    shorter pairs leave in it."""

    rank: int = 16
    rounds: int = 10
    tokens: int = 512
    learning_rate: float = 2e-3
    minutes: float = 0.0

    def __post_init__(self) -> None:
        """Raises InvalidInput that names the field."""
        for name in ("rank", "rounds", "tokens"):
            if getattr(self, name) < 1:
                raise InvalidInput(name, f"{getattr(self, name)} was given; it is at least 1")
        if not 0 < self.learning_rate < math.inf:
            raise InvalidInput("learning_rate", f"{self.learning_rate} was given; it is finite and above 0")
        if not 0 <= self.minutes < math.inf:
            raise InvalidInput("minutes", f"{self.minutes} was given; it is finite and not negative")


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """model: with its updates beside the frozen weights. base: sha256 of those. curves: by name, one value a round."""

    model: Any
    base: str
    config: TuningConfig
    curves: Mapping[str, list[float]]
    seconds: float

    def save(self, folder: Path, said: Mapping[str, Any]) -> None:
        """Writes the updates as PEFT does, in safetensors and JSON, and beside them the base that they belong to and
        what else is said of them (JSON values); all or nothing."""
        with taking_the_place_of(folder) as new:
            save_updates(self.model, new)
            known = {"base": self.base, "config": asdict(self.config), "seconds": round(self.seconds, 1)}
            (new / SAID).write_text(json.dumps({**known, "curves": dict(self.curves), **said}, indent=1))


def save_updates(model: Any, folder: Path) -> None:
    """Writes them to a folder as PEFT does, in safetensors and JSON, without the path of the base, or a set's order."""
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)  # a model card to be filled in
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config |= {"base_model_name_or_path": None, "target_modules": sorted(config["target_modules"])}
    path.write_text(json.dumps(config, indent=1))


def tune(
    folder: Path,
    pairs: Pairs,
    config: TuningConfig,
    *,
    validation: Sequence[Pair],
    seed: int = 0,
    checkpoint: Path | None = None,
    device: Device | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Trains low-rank updates of the model in a folder to answer as the pairs do; keeps the last round's.

    validation: pairs that are only measured. checkpoint: a file written after each round, from which a training that
    was killed goes on; on as many threads, and without a limit of minutes, to the same bytes. Raises InvalidInput when
    there is nothing to learn from, and for a checkpoint of another training; WeightsRefused.
    """
    device = device or best_device()
    tokens = ChatTokens(folder)
    base = base_digest(folder)
    model = adapted(folder, config.rank, seed).to(device.name)
    updates = nn.ParameterList(one for one in model.parameters() if one.requires_grad)
    optimizer = torch.optim.AdamW(updates.parameters(), config.learning_rate, (0.9, 0.98), weight_decay=0, fused=True)
    measured = [encoded(pair, tokens) for pair in validation]
    first = [encoded(pair, tokens) for pair in pairs(0)]
    if not first or not measured:
        raise InvalidInput("pairs", f"{len(first)} to learn from and {len(measured)} to measure by: both are needed")
    state = TrainingState.resumed(
        checkpoint, updates, optimizer, _identity(base, config, seed, first, measured), _MEASURED
    )
    while state.epoch < config.rounds and not 0 < 60 * config.minutes <= state.seconds:
        rng = np.random.default_rng((seed, state.epoch))
        cut = batches([encoded(pair, tokens) for pair in pairs(state.epoch)], config.tokens, rng)
        model.train()
        losses: list[Tensor] = []
        for number, batch in enumerate(cut):
            done = (state.epoch + number / len(cut)) / config.rounds
            if config.minutes:
                done = max(done, state.seconds / (60 * config.minutes))
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * scheduled(done)
            loss = answer_losses(model, batch, device).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(updates.parameters(), CLIP)
            optimizer.step()
            losses.append(loss.detach())
            if done >= 1:
                break
        reached = validate(model, measured, config.tokens, device)
        state.add(updates, float(torch.stack(losses).mean()), None)
        state.curves[_MEASURED].append(reached)
        state.save(checkpoint, updates, optimizer)
        if progress is not None:
            said = f"loss {state.curves['loss'][-1]:.3f}, of validation {reached:.3f}, {state.seconds / 60:.1f} min"
            progress(state.epoch, config.rounds, f"round {state.epoch}: {said}")
    return Tuned(model.eval(), base, config, state.curves, state.seconds)


def adapted(folder: Path, rank: int, seed: int = 0) -> Any:
    """The model in a folder with new updates, which change nothing yet; they alone are to be trained.

    Raises WeightsRefused.
    """
    torch.manual_seed(seed)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise WeightsRefused(f"{folder}: {error}") from None
    return with_updates(model, rank)


def with_updates(model: Any, rank: int, maps: Sequence[str] = ()) -> Any:
    """A model with new updates put into it, which change nothing yet and alone are to be trained. maps: which of its
    linear maps get them, by their names in a layer; all when there are none."""
    named = list(maps) or "all-linear"
    lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=named, task_type="CAUSAL_LM")
    with without_notice():
        return get_peft_model(model, lora)


def encoded(pair: Pair, tokens: ChatTokens) -> tuple[list[int], list[int]]:
    """The tokens of the prompt, and those of the answer with its end."""
    end = [] if tokens.end is None else [tokens.end]
    return tokens.prompt(pair.messages), tokens.plain(pair.answer) + end


def batches(pairs: Sequence[Encoded], most: int, rng: np.random.Generator) -> list[list[Encoded]]:
    """Pairs of about one length together, as many as have room in `most` tokens, at least one; in a drawn order."""
    order = [pairs[place] for place in rng.permutation(len(pairs))]
    width = max(1, _WINDOW * most // max(map(_length, pairs)))
    cut: list[list[Encoded]] = []
    for first in range(0, len(order), width):
        open_: list[Encoded] = []
        for pair in sorted(order[first : first + width], key=_length):
            if open_ and _length(pair) * (len(open_) + 1) > most:
                cut.append(open_)
                open_ = []
            open_.append(pair)
        cut.append(open_)
    return [cut[place] for place in rng.permutation(len(cut))]


def _length(pair: Encoded) -> int:
    return len(pair[0]) + len(pair[1])


def answer_losses(model: Any, pairs: Sequence[Encoded], device: Device) -> Tensor:
    """losses_A: of each token of the answers, one answer after another. Padding comes last, where no token sees it."""
    rows = [(prompt + answer)[:-1] for prompt, answer in pairs]
    width = max(map(len, rows))
    tokens_BT = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device.name)
    answers_A = torch.tensor([token for _, answer in pairs for token in answer], device=device.name)
    spans = [range(len(prompt) - 1, len(prompt) + len(answer) - 1) for prompt, answer in pairs]
    rows_A = torch.tensor([row for row, span in enumerate(spans) for _ in span], device=device.name)
    places_A = torch.tensor([place for span in spans for place in span], device=device.name)
    causal = model.get_base_model()
    with device.autocast():
        states_BTD = causal.get_decoder()(input_ids=tokens_BT, use_cache=False).last_hidden_state
        logits_AV = causal.get_output_embeddings()(states_BTD[rows_A, places_A])
    return functional.cross_entropy(logits_AV.float(), answers_A, reduction="none")


@torch.no_grad()
def validate(model: Any, pairs: Sequence[Encoded], most: int, device: Device) -> float:
    """The mean loss of a token of the answers."""
    model.eval()
    cut = batches(pairs, most, np.random.default_rng(0))
    return float(torch.cat([answer_losses(model, some, device) for some in cut]).mean())


def scheduled(done: float) -> float:
    """The part of the learning rate at this part of the training: a straight rise, then half a cosine."""
    if done < WARM_UP:
        return max(done / WARM_UP, 0.01)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - WARM_UP) / (1 - WARM_UP))))


def _identity(base: str, config: TuningConfig, seed: int, *pairs: Sequence[Encoded]) -> str:
    return sha256(json.dumps([base, asdict(config), seed, *pairs]).encode()).hexdigest()
