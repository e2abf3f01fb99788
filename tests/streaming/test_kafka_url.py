"""A log's URL: what it says of brokers, topics and secrets, and how it is refused."""

from pathlib import Path

import pytest

from features.errors import InvalidInput
from streaming.kafka_url import KafkaUrl


def test_a_short_url_names_a_broker_and_the_topics() -> None:
    url = KafkaUrl.parse("kafka://broker/taste", 12)
    assert (url.servers, url.topics, url.partitions, url.tls, url.user) == (("broker:9092",), "taste", 12, False, "")


def test_a_long_url_says_everything(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    url = KafkaUrl.parse(
        f"kafkas://ada:p%40ss%3A@one:9093,two:9094/a.b?partitions=6&replication=3&retention_days=0&sasl=PLAIN&ca={ca}",
        4,
    )
    assert url.servers == ("one:9093", "two:9094")
    assert (url.topics, url.tls, url.user, url.password) == ("a.b", True, "ada", "p@ss:")
    assert (url.partitions, url.replication, url.retention_days, url.sasl, url.ca) == (6, 3, 0, "PLAIN", str(ca))


def test_the_name_of_a_log_keeps_its_secrets() -> None:
    url = KafkaUrl.parse("kafka://ada:secret@one:9093/taste?partitions=6")
    assert url.name == "kafka://one:9093/taste"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("kafka://broker", "name the topics behind the host"),
        ("kafka://broker/two/names", "name the topics behind the host"),
        ("kafka:///taste", "name brokers as HOST:PORT"),
        ("kafka://broker:none/taste", "name brokers as HOST:PORT"),
        ("kafka://broker:70000/taste", "name brokers as HOST:PORT"),
        ("kafka://ada@broker/taste", "a user has a password"),
        ("kafka://broker/taste?partition=3", "no setting partition; there are partitions"),
        ("kafka://broker/taste?partitions=none", "partitions=none; 1 to 10000 will do"),
        ("kafka://broker/taste?partitions=0", "partitions=0; 1 to 10000 will do"),
        ("kafka://broker/taste?sasl=GSSAPI", "sasl=GSSAPI; there are PLAIN"),
        ("kafkas://broker/taste?ca=/nowhere.pem", "ca=/nowhere.pem is no file"),
        ("kafka://broker/taste?partitions", "not a URL"),
    ],
)
def test_a_wrong_url_is_refused_and_told_what_would_do(url: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as refused:
        KafkaUrl.parse(url)
    assert refused.value.field == "log"
