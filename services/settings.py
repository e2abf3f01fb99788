"""Settings: every choice of a deployment, from a TOML file, then the environment, then flags; the last one wins.

The file is TASTEPRINT_CONFIG, else `tasteprint.toml` in the home folder. A variable is the field's name behind
`TASTEPRINT_`. This is the only module that reads the environment; a bad value fails at start, by its name.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from features.errors import InvalidInput
from features.redis_clients import parse_redis_url
from services.experiments import Experiment
from streaming.kafka_url import SCHEMES as KAFKA_SCHEMES
from streaming.kafka_url import KafkaUrl

Count = Annotated[int, Field(gt=0)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]

LOCAL: Final = "local"  # the generator that is pulled; with ":FOLDER" behind it, any other on this machine


class Settings(BaseSettings):
    """One deployment's settings."""

    model_config = SettingsConfigDict(env_prefix="TASTEPRINT_", extra="forbid", frozen=True)

    home: Path = Field(Path("~/.tasteprint"), description="Where everything embedded is kept.")
    tenant: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")] = "default"

    log: str | None = Field(
        None,
        description="sqlite:///PATH, or kafka://HOST:PORT/NAME and kafkas:// as streaming/kafka_url.py says; the home "
        "folder's log.sqlite when not given.",
    )
    log_partitions: Annotated[int, Field(gt=0, le=1024)] = Field(4, description="Of a log that is made new.")
    impressions_kept: Count = 1_000_000
    redis_url: str | None = Field(
        None,
        description="redis://, redis+sentinel:// or redis+cluster:// as features/redis_clients.py says; the embedded "
        "server when not given.",
    )

    mlflow_uri: str | None = Field(
        None,
        validation_alias=AliasChoices("mlflow_uri", "TASTEPRINT_MLFLOW_URI", "MLFLOW_TRACKING_URI"),
        description="sqlite:///PATH, a database, or http(s)://; the home's mlflow.sqlite when not given.",
    )

    mlflow_artifacts: str | None = Field(
        None,
        description="file:///FOLDER, s3://BUCKET/PREFIX, ...: where the files of runs in a database are kept; the "
        "home's mlflow-artifacts when not given. A server has a place of its own for them.",
    )

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    body_bytes: Count = Field(1_048_576, description="The largest request body.")
    batch_most: Count = Field(1000, description="The most events, items or users in one request.")
    drain_seconds: Annotated[int, Field(ge=1)] = 10
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        None, description="Where workers show /metrics and /livez, a process each; nowhere when not given."
    )

    history_limit: Annotated[int, Field(gt=0, le=10_000)] = Field(500, description="Events kept for each user.")
    trend_events: Count = Field(200_000, description="The newest events that live popularity is counted from.")
    trend_half_life_days: Annotated[float, Field(gt=0)] = 7.0
    explore: Annotated[float, Field(ge=0, le=0.5)] = Field(0.1, description="The largest share of new items in a list.")

    encode: bool = Field(
        True, description="Whether `up` keeps users' vectors and soft prompts fresh, where a model in use makes them."
    )

    adapted: bool = Field(
        False,
        description="Whether `ask` and `rank` may be answered by users' weight updates; what they are worth, "
        "`tasteprint evaluate adaptation` shows.",
    )
    adapt: bool = Field(True, description="Whether `up` keeps weight updates fresh, where `adapted` is on.")
    adapted_merged: Annotated[int, Field(ge=0, le=1024)] = Field(
        2, description="Users whose merged weights are kept, of those who ask often; of SmolLM2 60 MB each."
    )

    verb: Annotated[str, Field(min_length=1, max_length=32)] = Field(
        "chose", description="What users did, in reasons: because you VERB Fargo (1996)."
    )

    generator: str = Field(
        "",
        description="What writes text: local (the weights that were pulled), local:FOLDER, or http(s)://.../v1 of an "
        "OpenAI-compatible server; nothing when not given.",
    )
    generator_model: str = Field("", validate_default=True, description="The server's name of its model.")
    generator_key: SecretStr | None = Field(None, description="What the server knows its caller by.")
    generator_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(60.0, description="For one answer.")
    generator_concurrency: Annotated[int, Field(gt=0, le=256)] = Field(8, description="Questions under way at once.")
    generator_price_in: Price = Field(0.0, description="Of a million tokens read, in the operator's currency.")
    generator_price_out: Price = Field(0.0, description="Of a million tokens written.")
    tokenizer: Path | None = Field(
        None,
        description="tokenizer.json of the model that reads the prompts, to count their tokens by; the generator's own "
        "count, or an upper bound, when not given.",
    )
    phraser: Path | None = Field(
        None, description="A LoRA adapter's folder, for a local generator; the home's phrasers/smollm2 when not given."
    )
    summary_tokens_per_day: Annotated[int, Field(ge=0)] | None = Field(
        None, description="That summaries may take of the generator, read and written; no end when not given."
    )

    experiment: Experiment | None = Field(None, description="What is compared on the users; nothing when not given.")

    threads: Count = Field(
        default_factory=lambda: os.cpu_count() or 1, description="For jobs: linear algebra and tables."
    )
    serving_threads: Count = Field(1, description="The same for servers, whose requests are small and many.")

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("log")
    @classmethod
    def _log_url(cls, log: str | None) -> str | None:
        if log is not None and log.startswith(KAFKA_SCHEMES):
            try:
                KafkaUrl.parse(log)
            except InvalidInput as error:
                raise ValueError(error.problem) from None
        elif log is not None and not log.startswith("sqlite:///"):
            raise ValueError("a log is sqlite:///PATH or kafka://HOST:PORT/NAME")
        return log

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, url: str | None) -> str | None:
        try:
            if url is not None:
                parse_redis_url(url)
        except InvalidInput as error:
            raise ValueError(error.problem) from None
        return url

    @field_validator("mlflow_uri")
    @classmethod
    def _tracking_uri(cls, uri: str | None) -> str | None:
        if uri and not uri.startswith(("sqlite:///", "postgresql", "mysql", "mssql", "http://", "https://")):
            raise ValueError("an MLflow store is sqlite:///PATH, a database's URL or a server's, http(s)://")
        return uri or None

    @field_validator("mlflow_artifacts")
    @classmethod
    def _artifacts_uri(cls, uri: str | None) -> str | None:
        if uri and not re.match(r"[a-z][a-z0-9+.-]*://.", uri):
            raise ValueError("files are kept at file:///FOLDER or at s3://BUCKET/PREFIX or its like")
        return uri or None

    @field_validator("generator")
    @classmethod
    def _generator(cls, generator: str) -> str:
        generator = generator.strip().rstrip("/")
        kind, _, folder = generator.partition(":")
        if generator in ("", LOCAL) or (kind == LOCAL and folder):
            return generator
        url = urlsplit(generator)
        is_server = kind in ("http", "https") and bool(url.hostname) and url.port != 0
        if not is_server or url.username is not None or "?" in generator or "#" in generator:
            raise ValueError("a generator is local, local:FOLDER or http(s)://HOST/v1; its key is generator_key")
        return generator

    @field_validator("generator_model")
    @classmethod
    def _generator_model(cls, model: str, info: ValidationInfo) -> str:
        if not model and info.data.get("generator", "").startswith("http"):
            raise ValueError("a generator at a URL needs the name of its model")
        return model

    @field_validator("generator_key")
    @classmethod
    def _generator_key(cls, key: SecretStr | None) -> SecretStr | None:
        text = "" if key is None else key.get_secret_value().strip()
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("a key is visible ASCII characters")
        return SecretStr(text) if text else None

    @field_validator("tokenizer")
    @classmethod
    def _tokenizer(cls, file: Path | None) -> Path | None:
        if file is not None and not file.expanduser().is_file():
            raise ValueError("a tokenizer is a file that is there, as a rule a tokenizer.json")
        return file and file.expanduser().absolute()

    @field_validator("phraser")
    @classmethod
    def _phraser(cls, folder: Path | None) -> Path | None:
        if folder is not None and not folder.expanduser().is_dir():
            raise ValueError("an adapter is a folder that is there")
        return folder and folder.expanduser().absolute()

    @property
    def tracking_uri(self) -> str:
        return self.mlflow_uri or f"sqlite:///{self.home / 'mlflow.sqlite'}"

    @property
    def artifacts_uri(self) -> str:
        return self.mlflow_artifacts or (self.home / "mlflow-artifacts").as_uri()

    @property
    def log_path(self) -> Path:
        return Path(self.log.removeprefix("sqlite:///")) if self.log else self.home / "log.sqlite"

    @property
    def kafka(self) -> KafkaUrl | None:
        """Where the log is when it is on Kafka."""
        if self.log is None or not self.log.startswith(KAFKA_SCHEMES):
            return None
        return KafkaUrl.parse(self.log, self.log_partitions)

    @property
    def log_name(self) -> str:
        """The log as it may be shown."""
        return str(self.log_path) if self.kafka is None else self.kafka.name

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=_config_file())


def _config_file() -> Path:
    home = Path(os.environ.get("TASTEPRINT_HOME", "~/.tasteprint")).expanduser()
    return Path(os.environ.get("TASTEPRINT_CONFIG", home / "tasteprint.toml"))


def load_settings(**flags: Any) -> Settings:
    """The settings, with flags that are not None on top. Raises InvalidInput that names the setting."""
    file = os.environ.get("TASTEPRINT_CONFIG")
    if file is not None and not Path(file).is_file():
        raise InvalidInput("TASTEPRINT_CONFIG", f"{file} is no file")
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(str(_config_file()), f"not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise InvalidInput(name, f"{first['msg']} (given: {_shown(name, first.get('input'))})") from None


def _shown(name: str, given: object) -> str:
    """What was given, without what is nobody else's to read: keys, and what stands in a URL before the host
    and behind the question mark."""
    return "a secret" if "key" in name else re.sub(r"//[^/@]*@|\?.*", "...", repr(given))


def limit_threads(threads: int) -> None:
    """Sets how many threads linear algebra and tables use; to be called before numpy and polars are imported.

    Threads that spin on cores they do not have slow a run tenfold. What the operator has set already stays, and
    OMP_NUM_THREADS, where it was set, holds for all of them.
    """
    given = os.environ.setdefault("OMP_NUM_THREADS", str(threads)).split(",")[
        0
    ]  # of the outer level, where it names more
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ.setdefault(name, given)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def restrain_mlflow() -> None:
    """Sets what mlflow reads from the environment; to be called before it is imported.

    It unpickles nothing and reports nothing to its makers, whatever is set; it draws no bars and does not wait minutes
    for a server that is not there, unless that is set.
    """
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
