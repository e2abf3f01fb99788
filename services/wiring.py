"""From settings to objects: the only module that knows every backend."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.embedded import EmbeddedServer
from features.errors import ModelMissing, UnknownName
from features.profiles import ProfileStore, connect_for_ingest, connect_for_serving
from models.language.counting import Count, most_tokens, tokens_by
from models.language.generator import StoppableGenerator, TextGenerator
from models.language.weights import MINILM, SMOLLM2, find_weights
from models.registry import Registry
from services.settings import LOCAL, Settings, restrain_mlflow
from streaming.dead_letters import DeadLetters
from streaming.log import EventLog
from streaming.sqlite_log import SqliteLog

if TYPE_CHECKING:  # torch and transformers
    from models.language.embedder import Embedder
    from models.p5.store import P5Store
    from models.p5.train import Progress
    from models.summaries.downstream.store import DownstreamStore
    from models.summaries.instructing import SummaryPrompt


@dataclass(frozen=True, slots=True)
class Backends:
    """What a process talks to. serving: impatient, for requests. patient: for consumers and jobs.

    owns_store: the store is the embedded one, so its files are ours to look after.
    """

    log: EventLog
    serving: ProfileStore
    patient: ProfileStore
    dead_letters: DeadLetters
    owns_store: bool


@contextmanager
def backends(settings: Settings) -> Iterator[Backends]:
    """Opens everything, starting the embedded server when no other is set; closes it in the opposite order."""
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        if settings.redis_url is None:
            url = stack.enter_context(EmbeddedServer(settings.home)).url
        else:
            url = settings.redis_url
        serving = ProfileStore(connect_for_serving(url), settings.tenant, settings.history_limit)
        stack.callback(serving.close)
        patient = ProfileStore(connect_for_ingest(url), settings.tenant, settings.history_limit)
        stack.callback(patient.close)
        log = open_log(settings)
        stack.callback(log.close)
        dead_letters = DeadLetters(settings.home / "dead_letters.sqlite")
        stack.callback(dead_letters.close)
        yield Backends(log, serving, patient, dead_letters, settings.redis_url is None)


def open_log(settings: Settings) -> EventLog:
    """The event log that the settings name. Raises LogUnavailable."""
    if settings.kafka is not None:
        from streaming.kafka_log import KafkaLog  # its client is imported where it is used, half a second

        return KafkaLog(settings.kafka)
    return SqliteLog(settings.log_path, settings.log_partitions, settings.impressions_kept)


def open_registry(settings: Settings) -> Registry:
    """The registry of runs and bundles that the settings name; mlflow is imported by its first use."""
    restrain_mlflow()
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Registry(settings.tracking_uri, settings.artifacts_uri)


def known_registry(settings: Settings) -> Registry | None:
    """The registry, None while nothing was recorded in the embedded one: then there is no need to open it."""
    if settings.mlflow_uri is None and not (settings.home / "mlflow.sqlite").exists():
        return None
    return open_registry(settings)


def bundles_folder(settings: Settings) -> Path:
    """Where trained bundles are kept, a folder each."""
    return settings.home / "models"


def encoders_folder(settings: Settings) -> Path:
    """Where trained encoders are kept, a folder each."""
    return settings.home / "encoders"


def arms_folder(settings: Settings) -> Path:
    """Where the arms of evaluations by questions are kept, a folder each, and what they answered."""
    return settings.home / "soft-prompts" / "arms"


def adapted_arms_folder(settings: Settings) -> Path:
    """Where the arms of evaluations of weight updates are kept, a folder each, and what they answered."""
    return settings.home / "stream-adapters" / "arms"


def open_p5_store(
    settings: Settings,
    *,
    may_train: bool = False,
    progress: "Progress | None" = None,
    trained: Callable[[Mapping[str, Any]], None] | None = None,
) -> "P5Store":
    """The trained P5s of the home. The arguments are the store's."""
    from models.p5.store import P5Store

    return P5Store(settings.home / "p5", may_train=may_train, progress=progress, trained=trained)


def open_downstream_store(
    settings: Settings, *, may_train: bool = False, progress: "Progress | None" = None
) -> "DownstreamStore":
    """The models of the home that summaries are judged by. The arguments are the store's."""
    from models.summaries.downstream.store import DownstreamStore

    return DownstreamStore(settings.home / "downstream", may_train=may_train, progress=progress)


def open_embedder(settings: Settings) -> "Embedder | None":
    """The embedder of titles, None while its weights were not pulled. Raises WeightsRefused."""
    folder = find_weights(MINILM, settings.home)
    if folder is None:
        return None
    from models.language.embedder import Embedder

    return Embedder(folder)


def open_generator(settings: Settings, *, phrases: bool = True, within: float = math.inf) -> StoppableGenerator | None:
    """What writes text, None when the settings name nothing. phrases: whether a local one is to phrase facts, which an
    adapter was trained for, and which it does questions no good to have. within: seconds for a call of a server, all
    tries together.

    Raises ModelMissing when its weights were not pulled, UnknownName for a folder that is not there, WeightsRefused.
    """
    if not settings.generator:
        return None
    if settings.generator.startswith("http"):
        from models.language.chat import ChatGenerator

        key = settings.generator_key
        return ChatGenerator(
            settings.generator,
            settings.generator_model,
            None if key is None else key.get_secret_value(),
            timeout=settings.generator_timeout_seconds,
            concurrency=settings.generator_concurrency,
            within=within,
        )
    folder, adapter = _local_generator(settings)
    from models.language.local import LocalGenerator

    return LocalGenerator(folder, adapter=adapter if phrases else None)


def open_count(settings: Settings, generator: TextGenerator | None) -> Count:
    """How many tokens texts take in a prompt: by the tokenizer that the settings name, else by the generator; without
    either an upper bound. Raises WeightsRefused."""
    if settings.tokenizer is not None:
        return tokens_by(settings.tokenizer)
    return most_tokens if generator is None else generator.count


def tuning_of(settings: Settings) -> dict[str, Any]:
    """How the adapter of the settings' generator was trained; nothing where there is none."""
    if not settings.generator or settings.generator.startswith("http"):
        return {}
    from models.language.adapters import said_of

    _, adapter = _local_generator(settings)
    return {} if adapter is None else said_of(adapter)


def summary_prompt(settings: Settings) -> "SummaryPrompt":
    """How the settings' generator is asked to say facts: as it was taught to be, if it was."""
    from models.summaries.instructing import DEFAULT_PROMPT, PROMPTS

    return PROMPTS.get(tuning_of(settings).get("prompt", ""), DEFAULT_PROMPT)


def phrasers_folder(settings: Settings) -> Path:
    """Where trained adapters of the pulled generator are kept, a folder each."""
    return settings.home / "phrasers"


def _local_generator(settings: Settings) -> tuple[Path, Path | None]:
    """The folders of the weights and of the adapter."""
    if settings.generator == LOCAL:
        pulled = find_weights(SMOLLM2, settings.home)
        if pulled is None:
            raise ModelMissing(f"{SMOLLM2} is not there; `tasteprint weights pull {SMOLLM2}` brings it")
        own = phrasers_folder(settings) / "smollm2"
        return pulled, settings.phraser or (own if own.is_dir() else None)
    folder = Path(settings.generator.removeprefix(f"{LOCAL}:")).expanduser()
    if not folder.is_dir():
        raise UnknownName(f"{folder} is no folder; generator = local:FOLDER names one with a model in safetensors")
    return folder, settings.phraser
