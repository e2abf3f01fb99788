"""What is counted and timed, as Prometheus reads it."""

from prometheus_client.parser import text_string_to_metric_families

from services.adapt import Adapted
from services.encode import Encoded
from services.metrics import Metrics
from streaming.ingest import Applied
from streaming.log import Stream


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels, these in the order of their names."""
    content, media_type = metrics.expose()
    assert media_type.startswith("text/plain")
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
    }


def test_requests_are_counted_and_timed() -> None:
    metrics = Metrics()
    metrics.answered("GET", "/a", 200, 0.004)
    metrics.answered("GET", "/a", 200, 0.2)
    metrics.answered("GET", "/a", 422, 0.001)
    metrics.answered("POST", "/a", 200, 0.001)
    found = samples(metrics)
    assert found["tasteprint_requests_total", "GET", "/a", "200"] == 2
    assert found["tasteprint_requests_total", "GET", "/a", "422"] == 1
    assert found["tasteprint_requests_total", "POST", "/a", "200"] == 1
    assert found["tasteprint_request_seconds_count", "/a"] == 4
    assert found["tasteprint_request_seconds_bucket", "0.005", "/a"] == 3
    assert found["tasteprint_request_seconds_bucket", "0.25", "/a"] == 4


def test_what_was_applied_is_counted_by_stream_and_dated() -> None:
    metrics = Metrics()
    metrics.applied(Applied(Stream.EVENTS, 5, 1, 1000.0))
    metrics.applied(Applied(Stream.EVENTS, 2, 0, 2000.0))
    metrics.applied(Applied(Stream.ITEMS, 3, 0, 1500.0))
    found = samples(metrics)
    assert found["tasteprint_ingested_records_total", "events"] == 7
    assert found["tasteprint_ingested_records_total", "items"] == 3
    assert found["tasteprint_dead_letters_total", "events"] == 1
    assert found["tasteprint_ingest_newest_timestamp_seconds", "events"] == 2000


def test_where_vectors_came_from_is_counted() -> None:
    metrics = Metrics()
    metrics.used_vectors(3, 1)
    metrics.used_vectors(0, 4)
    metrics.encode(Encoded(records=9, users=5, written=4))
    found = samples(metrics)
    assert found["tasteprint_user_vectors_total", "stored"] == 3
    assert found["tasteprint_user_vectors_total", "computed"] == 5
    assert found["tasteprint_encoded_vectors_total",] == 4


def test_users_with_whom_a_worker_fails_are_counted_by_what_they_were_to_get() -> None:
    metrics = Metrics()
    metrics.encode(Encoded(failed=2))
    metrics.encode_soft_prompts(Encoded(failed=3))
    metrics.adapt(Adapted(failed=1))
    metrics.adapt(Adapted(failed=4))
    found = samples(metrics)
    counted = [found["tasteprint_failed_users_total", form] for form in ("vectors", "soft_prompts", "weight_updates")]
    assert counted == [2, 3, 5]


def test_every_metric_is_ours_by_name_and_says_what_it_is() -> None:
    for family in text_string_to_metric_families(Metrics().expose()[0].decode()):
        assert family.name.startswith("tasteprint_")
        assert family.documentation.endswith(".")


def test_processes_of_one_interpreter_do_not_share_their_counts() -> None:
    first, second = Metrics(), Metrics()
    first.degraded.inc()
    assert samples(first)["tasteprint_degraded_total",] == 1
    assert samples(second)["tasteprint_degraded_total",] == 0
