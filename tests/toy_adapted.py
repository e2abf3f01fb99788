"""A home with a tiny language model and a stream adapter for it, in use, that nobody has trained but that does change
what the model says."""

from pathlib import Path

from toy_soft_prompt import toy_weights
from toy_streams import toy_adapter

from models.stream_adapter.trained import StreamAdapter
from services.settings import Settings
from services.stream_adapters import put_stream_adapter_into_use, stream_adapters_folder

BOUND = 100.0  # of a core's norm: those of ordinary events are about 3


def toy_adapted(home: Path, name: str = "toy", seed: int = 0, **more: object) -> StreamAdapter:
    """Put into use; what it was saved from."""
    adapter = toy_adapter(toy_weights(home), seed, **more)
    adapter.absorption.bound_LK.fill_(BOUND)
    settings = Settings(home=home)
    adapter.save(stream_adapters_folder(settings) / name)
    put_stream_adapter_into_use(settings, name)
    return adapter
