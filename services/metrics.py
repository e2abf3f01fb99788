"""What a process counts and times, for Prometheus."""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from services.adapt import Adapted
from services.encode import Encoded
from streaming.ingest import Applied

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody asked for

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """One registry a process; names as Prometheus writes them, units in the name."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}  # looked up once, not each time
        self.requests = Counter(
            "tasteprint_requests_total", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "tasteprint_request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.records = Counter(
            "tasteprint_ingested_records_total", "Records applied.", ["stream"], registry=self.registry
        )
        self.dead_letters = Counter(
            "tasteprint_dead_letters_total", "Records that could not be applied.", ["stream"], registry=self.registry
        )
        self.lag = Gauge(
            "tasteprint_ingest_lag_records",
            "Records left to read, in the partitions of this process.",
            ["stream"],
            registry=self.registry,
        )
        # Both in epoch seconds: while the first stands still and the second does not, the ingest lags.
        self.newest_applied = Gauge(
            "tasteprint_ingest_newest_timestamp_seconds",
            "When the log took the newest record that was applied.",
            ["stream"],
            registry=self.registry,
        )
        self.newest_logged = Gauge(
            "tasteprint_log_newest_timestamp_seconds",
            "When the log took its newest record.",
            ["stream"],
            registry=self.registry,
        )
        self.impressions_written = Gauge(
            "tasteprint_impressions_written", "Impressions written since the start.", registry=self.registry
        )
        self.impressions_dropped = Gauge(
            "tasteprint_impressions_dropped", "Impressions dropped since the start.", registry=self.registry
        )
        self.model_swaps = Counter(
            "tasteprint_model_swaps_total", "Bundles that were taken up.", registry=self.registry
        )
        self.model_refusals = Counter(
            "tasteprint_model_refusals_total", "Bundles that were refused.", registry=self.registry
        )
        self.model_refused = Gauge(
            "tasteprint_model_refused", "1 while the bundle in use by name is kept out.", registry=self.registry
        )
        self.vectors = Counter(
            "tasteprint_user_vectors_total",
            "Vectors of users that answers needed: stored by the encode worker, or computed on request.",
            ["source"],
            registry=self.registry,
        )
        self.encoded = Counter(
            "tasteprint_encoded_vectors_total", "Vectors that the encode worker stored.", registry=self.registry
        )
        self.encoded_soft_prompts = Counter(
            "tasteprint_encoded_soft_prompts_total",
            "Soft prompts that the encode worker stored.",
            registry=self.registry,
        )
        self.weight_updates = Counter(
            "tasteprint_weight_updates_total", "Weight updates that the adapt worker stored.", registry=self.registry
        )
        self.refused_events = Counter(
            "tasteprint_weight_updates_refused_total",
            "Events that the guard kept out of weight updates.",
            registry=self.registry,
        )
        self.failed = Counter(
            "tasteprint_failed_users_total",
            "Users of whom a form of the profile could not be made; the log of the worker says why.",
            ["form"],
            registry=self.registry,
        )
        self.newest_adapted = Gauge(
            "tasteprint_adapt_newest_timestamp_seconds",
            "When the log took the newest record that the adapt worker is done with.",
            registry=self.registry,
        )
        self.lists = Counter(
            "tasteprint_p5_lists_total",
            "Lists of P5 that recommendations asked for: fresh, stale while a newer one is made, or missing.",
            ["state"],
            registry=self.registry,
        )
        self.task_answers = Counter(
            "tasteprint_task_answers_total",
            "Answers to tasks: kept from before, or made on request.",
            ["source"],
            registry=self.registry,
        )
        self.degraded = Counter(
            "tasteprint_degraded_total", "Answers that did without something.", registry=self.registry
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts and times one request."""
        series = self._series.get((method, route, status))
        if series is None:
            series = self.requests.labels(method, route, str(status)), self.seconds.labels(route)
            self._series[method, route, status] = series
        series[0].inc()
        series[1].observe(seconds)

    def applied(self, applied: Applied) -> None:
        """Counts one batch of the ingest."""
        self.records.labels(applied.stream).inc(applied.records)
        self.dead_letters.labels(applied.stream).inc(applied.dead)
        self.newest_applied.labels(applied.stream).set(applied.last_appended)
        if applied.lag is not None:
            self.lag.labels(applied.stream).set(applied.lag)

    def encode(self, encoded: Encoded) -> None:
        """Counts one batch of vectors of the encode worker."""
        self.encoded.inc(encoded.written)
        self.failed.labels("vectors").inc(encoded.failed)

    def encode_soft_prompts(self, encoded: Encoded) -> None:
        """Counts one batch of soft prompts of the encode worker."""
        self.encoded_soft_prompts.inc(encoded.written)
        self.failed.labels("soft_prompts").inc(encoded.failed)

    def adapt(self, adapted: Adapted) -> None:
        """Counts one batch of the adapt worker."""
        self.weight_updates.inc(adapted.users)
        self.refused_events.inc(adapted.refused)
        self.failed.labels("weight_updates").inc(adapted.failed)
        self.newest_adapted.set(adapted.newest)

    def used_vectors(self, stored: int, computed: int) -> None:
        """Counts where the vectors of one batch of answers came from."""
        self.vectors.labels("stored").inc(stored)
        self.vectors.labels("computed").inc(computed)

    def used_list(self, state: str) -> None:
        """Counts a list that a recommendation asked for."""
        self.lists.labels(state).inc()

    def answered_tasks(self, kept: int, made: int) -> None:
        """Counts where answers to tasks came from."""
        self.task_answers.labels("kept").inc(kept)
        self.task_answers.labels("made").inc(made)

    def expose(self) -> tuple[bytes, str]:
        """The registry's text and its media type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
