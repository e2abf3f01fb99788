"""The URL of a log on Kafka: which brokers, which topics, how they are made, and by what the brokers know us.

    kafka://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/NAME[?SETTING=VALUE&...]

`kafkas://` is the same over TLS. NAME begins the names of the topics: NAME.events, NAME.items, NAME.impressions and
NAME.id. The settings of topics matter when they are made; those that exist stay as they are.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from features.errors import InvalidInput

SCHEMES: Final = ("kafka://", "kafkas://")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
PORT: Final = 9092


@dataclass(frozen=True, slots=True)
class KafkaUrl:
    """What a log's URL says. name: how it may be shown, without the password.

    partitions: of each topic, made anew. replication: -1 for the brokers' own default. retention_days: of events, and
    so how long what an erased user did is still on the brokers' disks; impressions_days: of impressions; 0 is for ever.
    session_seconds: after which silence, or after how long with
    one batch, a member's partitions go to others. sasl: the mechanism, where there is a user.
    ca, certificate, key: PEM files, for TLS.
    """

    name: str
    servers: tuple[str, ...]
    topics: str
    tls: bool = False
    user: str = ""
    password: str = ""
    partitions: int = 4
    replication: int = -1
    retention_days: int = 90
    impressions_days: int = 30
    session_seconds: int = 45
    sasl: str = MECHANISMS[-1]
    ca: str = ""
    certificate: str = ""
    key: str = ""

    @classmethod
    def parse(cls, url: str, partitions: int = 4) -> "KafkaUrl":
        """Reads a URL; `partitions` where it says nothing of them. Raises InvalidInput that says what is wrong."""
        try:
            parts = urlsplit(url)
            given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        except ValueError as error:
            raise InvalidInput("log", f"not a URL: {error}") from None
        secret, _, hosts = parts.netloc.rpartition("@")
        user, _, password = map(unquote, secret.partition(":"))
        servers = tuple(host if ":" in host else f"{host}:{PORT}" for host in hosts.split(",") if host)
        topics = parts.path.strip("/")
        _check(bool(servers) and all(_is_server(server) for server in servers), "name brokers as HOST:PORT,HOST:PORT")
        _check(bool(topics) and set(topics) <= _NAME, "name the topics behind the host, as in kafka://HOST:9092/NAME")
        _check(bool(user) == bool(password), "a user has a password, USER:PASSWORD@HOST")
        unknown = sorted(given.keys() - _NUMBERS.keys() - set(_TEXTS))
        _check(not unknown, f"no setting {', '.join(unknown)}; there are {', '.join([*_NUMBERS, *_TEXTS])}")
        settings: dict[str, Any] = {"partitions": partitions}
        settings |= {name: _number(name, given[name]) for name in _NUMBERS if name in given}
        settings |= {name: given[name] for name in _TEXTS if name in given}
        mechanism = given.get("sasl", MECHANISMS[-1])
        _check(mechanism in MECHANISMS, f"sasl={mechanism}; there are {', '.join(MECHANISMS)}")
        for name in ("ca", "certificate", "key"):
            _check(not given.get(name) or Path(given[name]).is_file(), f"{name}={given.get(name)} is no file")
        name = f"{parts.scheme}://{hosts}/{topics}"
        return cls(name, servers, topics, parts.scheme == "kafkas", user, password, **settings)


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise InvalidInput("log", problem)


def _is_server(server: str) -> bool:
    host, _, port = server.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536


def _number(name: str, value: str) -> int:
    least, most = _NUMBERS[name]
    number = int(value) if value.removeprefix("-").isdecimal() else None
    _check(number is not None and least <= number <= most, f"{name}={value}; {least} to {most} will do")
    return number or 0


_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_NUMBERS: Final = {
    "partitions": (1, 10_000),
    "replication": (-1, 100),
    "retention_days": (0, 36_500),
    "impressions_days": (0, 36_500),
    "session_seconds": (6, 1800),
}
_TEXTS: Final = ("sasl", "ca", "certificate", "key")
