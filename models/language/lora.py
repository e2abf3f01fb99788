"""A low-rank adapter (LoRA: Hu et al., ICLR 2022) as PEFT keeps it, added to the weights that it was made for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from safetensors.torch import load_file
from torch import Tensor

from features.errors import WeightsRefused

_BEFORE: Final = "base_model.model."
# What would change how an adapter is added, and the values with which it does not.
_PLAIN: Final[Mapping[str, tuple[Any, ...]]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "modules_to_save": (None, []),
    "use_dora": (False,),
    "fan_in_fan_out": (False,),
    "rank_pattern": ({},),
    "alpha_pattern": ({},),
}


def merged(weights: Mapping[str, Tensor], adapter: Path) -> dict[str, Tensor]:
    """W + s B A of every adapted W, and the other weights as they are; s is alpha / r, alpha / sqrt(r) where the
    adapter's own settings say so (rsLoRA).

    Raises WeightsRefused for an adapter of another kind, and for one that was not made for these weights.
    """
    try:
        config = orjson.loads((adapter / "adapter_config.json").read_bytes())
        parts = load_file(adapter / "adapter_model.safetensors")
        other = next((name for name, plain in _PLAIN.items() if config.get(name, plain[0]) not in plain), None)
        if other:
            raise ValueError(f"only plain LoRAs are read, and its {other} is {config[other]}")
        scale = config["lora_alpha"] / config["r"] ** (0.5 if config.get("use_rslora") else 1.0)
        new = dict(weights)
        while parts:
            name = next(iter(parts)).removeprefix(_BEFORE).removesuffix(".weight").rpartition(".lora_")[0]
            down, up = (parts.pop(f"{_BEFORE}{name}.lora_{part}.weight").float() for part in "AB")
            whole = new[f"{name}.weight"]
            new[f"{name}.weight"] = (whole.float() + scale * (up @ down)).to(whole.dtype)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsRefused(f"{adapter}: {error}; take a LoRA of this model, as PEFT saves it") from None
    return new
