"""The stream adapter in use: which one it is.

Trained ones are in HOME/stream-adapters (services/in_use.py).
"""

from pathlib import Path
from typing import Final

from services.in_use import name_in_use, put_into_use
from services.settings import Settings

COMMAND: Final = "tasteprint train stream-adapter"


def stream_adapters_folder(settings: Settings) -> Path:
    """Where trained stream adapters are kept, a folder each."""
    return settings.home / "stream-adapters"


def stream_adapter_in_use(settings: Settings) -> str | None:
    """The name of the one in use, None when none ever was."""
    return name_in_use(stream_adapters_folder(settings))


def put_stream_adapter_into_use(settings: Settings, name: str) -> None:
    """Makes this one the one in use, at once; whoever follows takes it up within a second."""
    put_into_use(stream_adapters_folder(settings), name)
