"""How far a training has come, in one safetensors file that a killed training goes on from.

The best epoch's weights are kept beside the newest, with the optimizer's moments and the curves.
"""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from features.errors import InvalidInput


class TrainingState:
    """How far a training has come: what is saved after each epoch."""

    def __init__(self, identity: str, metric: str, clock: Callable[[], float] = time.perf_counter) -> None:
        """identity: of the data, the configuration and the seed. metric: what the best epoch is chosen by. clock: by
        which seconds are counted."""
        self.identity = identity
        self.metric = metric
        self.epoch = 0
        self.best = -math.inf
        self.best_epoch = 0
        self.weights: dict[str, Tensor] = {}
        self.curves: dict[str, list[float]] = {"loss": [], metric: []}
        self.seconds_before = 0.0
        self._clock = clock
        self._started = clock()

    def is_done(self, patience: int, is_fixed: bool) -> bool:
        """Whether the metric has not grown for so many epochs."""
        return not is_fixed and self.epoch - self.best_epoch >= patience

    @property
    def seconds(self) -> float:
        """Of training so far, those before an interruption included."""
        return self.seconds_before + self._clock() - self._started

    def add(self, model: nn.Module, loss: float, reached: float | None) -> None:
        """An epoch is over. reached: the metric, None where it is not looked at."""
        self.epoch += 1
        self.curves["loss"].append(loss)
        if reached is None:
            return
        self.curves[self.metric].append(reached)
        if reached > self.best:
            self.best, self.best_epoch, self.weights = reached, self.epoch, copied(model)

    def save(self, path: Path | None, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Replaces the file at once or not at all."""
        if path is None:
            return
        tensors = {f"now.{name}": tensor for name, tensor in copied(model).items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.weights.items()}
        for number, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": moment.detach().cpu() for name, moment in moments.items()}
        said = {
            "identity": self.identity,
            "epoch": self.epoch,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "curves": self.curves,
            "seconds": self.seconds,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        save_file(tensors, unfinished, {"state": json.dumps(said)})
        os.replace(unfinished, path)

    @classmethod
    def resumed(
        cls,
        path: Path | None,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        identity: str,
        metric: str,
        clock: Callable[[], float] = time.perf_counter,
    ) -> "TrainingState":
        """The state that a file holds, with model and optimizer set to it; a new one where there is no file.

        Raises InvalidInput for a file of another training, or a damaged one.
        """
        state = cls(identity, metric, clock)
        if path is None or not path.exists():
            return state
        tensors, said = read_checkpoint(path, identity)
        model.load_state_dict({name[4:]: tensor for name, tensor in tensors.items() if name.startswith("now.")})
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, number, moment = name.split(".")
                moments.setdefault(int(number), {})[moment] = tensor
        optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
        state.weights = {name[5:]: tensor for name, tensor in tensors.items() if name.startswith("best.")}
        state.epoch, state.best, state.best_epoch = said["epoch"], said["best"], said["best_epoch"]
        state.curves, state.seconds_before = said["curves"], said["seconds"]
        return state


def read_checkpoint(path: Path, identity: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, what is said of them). Raises InvalidInput when the file is of another training or is damaged."""
    try:
        with safe_open(path, "pt") as file:
            said = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise InvalidInput("checkpoint", f"{path} is damaged ({error}); remove it to start anew") from None
    if said["identity"] != identity:
        raise InvalidInput("checkpoint", f"{path} is of another training; remove it, or name another")
    return tensors, said


def copied(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights as they are now, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
