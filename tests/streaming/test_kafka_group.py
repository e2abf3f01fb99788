"""Membership of a Kafka group: a join that ends unheard, and a broker's answer without an assignment."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count

import pytest
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka_server import KafkaServer

from streaming import kafka_log
from streaming.kafka_group import mend
from streaming.kafka_log import KafkaLog
from streaming.kafka_url import KafkaUrl

LONG = 30.0  # only something broken lasts so long

names = count()


@pytest.fixture
def client(kafka: KafkaServer) -> Iterator[KafkaConsumer]:
    """A consumer that has subscribed, and not joined yet."""
    url = KafkaUrl.parse(kafka.url(f"group-{next(names)}", partitions=2, session_seconds=15))
    with closing(KafkaLog(url)):
        client = kafka_log._client(url, f"{url.topics}.group")
        client.subscribe([f"{url.topics}.events"])
        yield client
        kafka_log._close(client, autocommit=False, timeout_ms=5000)


def poll_until(is_done: Callable[[], bool], client: KafkaConsumer, timeout_ms: int) -> None:
    deadline = time.monotonic() + LONG
    while not is_done():
        assert time.monotonic() < deadline
        client.poll(timeout_ms=timeout_ms)
        time.sleep(0.3)  # in which a join ends


@pytest.mark.parametrize("timeout_ms", [0, 10])
def test_a_join_that_ends_between_two_polls_counts(client: KafkaConsumer, timeout_ms: int) -> None:
    membership = mend(client)
    poll_until(lambda: membership.is_settled, client, timeout_ms)
    assert client.group_metadata().generation_id == 1
    assert len(client.assignment()) == 2


def test_a_member_that_is_given_no_assignment_joins_again(
    client: KafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assign, tries = ConsumerCoordinator._perform_assignment, count()

    def not_at_first(self: ConsumerCoordinator, *arguments: object) -> object:
        assigned = assign(self, *arguments)
        return assigned if next(tries) else {}

    monkeypatch.setattr(ConsumerCoordinator, "_perform_assignment", not_at_first)
    membership = mend(client)
    poll_until(lambda: membership.is_settled, client, 100)
    assert client.group_metadata().generation_id == 2
    assert len(client.assignment()) == 2


def test_a_member_that_has_heard_that_its_generation_is_over_still_says_that_it_leaves(
    client: KafkaConsumer, kafka: KafkaServer
) -> None:
    membership = mend(client)
    poll_until(lambda: membership.is_settled, client, 100)
    membership.reset_generation(membership.group_metadata().member_id)
    group = membership.group_id
    kafka_log._close(client, autocommit=False, timeout_ms=5000)
    with KafkaAdminClient(bootstrap_servers=[f"127.0.0.1:{kafka.port}"]) as admin:
        assert admin.describe_groups([group])[group]["members"] == []
