"""Where tensors are computed, and in what precision: decided here and nowhere else."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Device:
    """name: "cuda" or "cpu". bf16: whether matrix products run in bfloat16, which halves their time and keeps the range
    of float32; weights, sums and losses stay in float32."""

    name: str
    bf16: bool

    @property
    def dtype(self) -> torch.dtype:
        """Of matrix products."""
        return torch.bfloat16 if self.bf16 else torch.float32

    def autocast(self) -> torch.autocast:
        """A context in which matrix products run in this device's precision."""
        return torch.autocast(self.name, dtype=torch.bfloat16, enabled=self.bf16)


def best_device() -> Device:
    """CUDA where there is one. bfloat16 only where the hardware multiplies it: elsewhere it is emulated, and slower."""
    if torch.cuda.is_available():
        return Device("cuda", torch.cuda.is_bf16_supported(including_emulation=False))
    return Device("cpu", bool(torch.cpu.get_capabilities().get("avx512_bf16", False)))
