"""Sextant's own metrics, in Prometheus' text format.

With ``PROMETHEUS_MULTIPROC_DIR`` set, every process of this server keeps its numbers in files of that directory,
and any of them answers for all. prometheus-client chooses its kind of storage when it is first imported: set the
variable, and empty the directory, before a process imports this module.
"""

import os
from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

MULTIPROCESS_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE: Final = "text/plain; version=0.0.4"

_BATCH_SIZES: Final = (1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000)
_QUERY_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_COMMIT_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_RUN_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_SETTLE_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class PrometheusTelemetry:
    """Counts what the services, the journal, the keeper and the HTTP server report.

    One instance a process, safe to call from any thread. Nothing here waits or raises; a call takes microseconds.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped
        registry = self._registry = CollectorRegistry()
        self._accepted = Counter("sextant_samples_accepted", "Samples acknowledged.", registry=registry)
        self._rejected = Counter(
            "sextant_samples_rejected", "Metrics refused, by the field at fault.", ["field"], registry=registry
        )
        self._batch_sizes = Histogram(
            "sextant_ingest_batch_size", "Metrics in one request.", registry=registry, buckets=_BATCH_SIZES
        )
        lookups = Counter(
            "sextant_series_cache_lookups", "Series looked up on the way in.", ["result"], registry=registry
        )
        self._cache_hits, self._cache_misses = lookups.labels("hit"), lookups.labels("miss")
        self._queue_depth = Gauge(
            "sextant_ingest_queue_points",
            "Points waiting for a commit, over all processes.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._commits = Counter("sextant_journal_commits", "Journal rows committed.", registry=registry)
        self._commit_points = Counter("sextant_journal_points", "Points in them.", registry=registry)
        self._commit_requests = Counter("sextant_journal_requests", "Requests in them.", registry=registry)
        self._commit_seconds = Histogram(
            "sextant_journal_commit_seconds", "Time of one commit.", registry=registry, buckets=_COMMIT_SECONDS
        )
        self._unsettled_points = Gauge(
            "sextant_unsettled_points",
            "Points in the journal that are not settled.",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._unsettled_age = Gauge(
            "sextant_unsettled_age_seconds",
            "Age of the oldest of them.",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._settled = Counter("sextant_settled_points", "Points settled.", registry=registry)
        self._late = Counter("sextant_late_points", "Points settled by the late lane.", registry=registry)
        self._settle_seconds = Histogram(
            "sextant_settle_seconds", "Time of one settling.", registry=registry, buckets=_SETTLE_SECONDS
        )
        self._evaluated_points = Counter("sextant_evaluated_points", "Points held against rules.", registry=registry)
        self._evaluation_seconds = Histogram(
            "sextant_evaluation_seconds", "Time of one evaluation.", registry=registry, buckets=_QUERY_SECONDS
        )
        self._alerts_fired = Counter("sextant_alerts_fired", "Alerts announced.", registry=registry)
        self._alerts_resolved = Counter("sextant_alerts_resolved", "Announced alerts resolved.", registry=registry)
        self._notifications_decided = Counter(
            "sextant_notifications_decided",
            "Messages made of events, and events suppressed or kept for later.",
            ["decision"],
            registry=registry,
        )
        self._notification_attempts = Counter(
            "sextant_notification_attempts",
            "Attempts to send, by channel and outcome.",
            ["kind", "state"],
            registry=registry,
        )
        self._notification_seconds = Histogram(
            "sextant_notification_seconds", "Time of one attempt.", ["kind"], registry=registry, buckets=_QUERY_SECONDS
        )
        self._detection_runs = Counter(
            "sextant_detection_runs", "Runs of scheduled detection that ended.", ["state"], registry=registry
        )
        self._detection_series = Counter("sextant_detection_series", "Series looked at.", registry=registry)
        self._detection_points = Counter("sextant_detection_points", "Samples looked at.", registry=registry)
        self._detection_findings = Counter("sextant_detection_findings", "Findings.", registry=registry)
        self._detection_seconds = Histogram(
            "sextant_detection_run_seconds", "Time of one run.", registry=registry, buckets=_RUN_SECONDS
        )
        self._risks_published = Counter(
            "sextant_detection_risks_published",
            "Fingerprints above the alert risk at the end of runs.",
            registry=registry,
        )
        self._collection_runs = Counter(
            "sextant_collection_runs",
            "Runs of metric sources that ended, by kind and state.",
            ["kind", "state"],
            registry=registry,
        )
        self._collection_samples = Counter(
            "sextant_collection_samples",
            "Samples fetched from metric sources, by kind, and what became of them.",
            ["kind", "result"],
            registry=registry,
        )
        self._collection_seconds = Histogram(
            "sextant_collection_run_seconds", "Time of one run.", ["kind"], registry=registry, buckets=_RUN_SECONDS
        )
        self._query_seconds = Histogram(
            "sextant_query_seconds", "Time of one query, by kind.", ["kind"], registry=registry, buckets=_QUERY_SECONDS
        )
        self._query_points = Counter(
            "sextant_query_points", "Samples and buckets in answers, by kind of query.", ["kind"], registry=registry
        )
        self._requests = Counter(
            "sextant_http_requests", "HTTP requests answered.", ["route", "status"], registry=registry
        )
        self._requests_by: dict[tuple[str, int], Counter] = {}

    def ingested(self, *, accepted: int, rejected: Mapping[str, int], cache_hits: int, cache_misses: int) -> None:
        """One request's metrics were answered."""
        refused = 0
        for field, count in rejected.items():
            # A label's own name is the sender's choice, and would make series without bound.
            self._rejected.labels(field.partition(".")[0]).inc(count)
            refused += count
        self._accepted.inc(accepted)
        self._batch_sizes.observe(accepted + refused)
        self._cache_hits.inc(cache_hits)
        if cache_misses:
            self._cache_misses.inc(cache_misses)

    def queried(self, kind: str, *, took_s: float, points: int) -> None:
        """One query was answered with that many samples or buckets."""
        self._query_seconds.labels(kind).observe(took_s)
        self._query_points.labels(kind).inc(points)

    def http_answered(self, route: str, status: int) -> None:
        """One HTTP request was answered; `route` is a template, never a path that a client made up."""
        counter = self._requests_by.get((route, status))
        if counter is None:
            counter = self._requests_by[route, status] = self._requests.labels(route, str(status))
        counter.inc()

    def queue_depth(self, points: int) -> None:
        """So many points of this process wait for a commit."""
        self._queue_depth.set(points)

    def journal_committed(self, *, points: int, requests: int, took_s: float) -> None:
        """One journal row was committed."""
        self._commits.inc()
        self._commit_points.inc(points)
        self._commit_requests.inc(requests)
        self._commit_seconds.observe(took_s)

    def backlog(self, *, points: int, age_s: float) -> None:
        """So many points are unsettled, the oldest for so long."""
        self._unsettled_points.set(points)
        self._unsettled_age.set(age_s)

    def settled(self, *, points: int, late: int, took_s: float) -> None:
        """One settling moved so many points, so many of them through the late lane."""
        self._settled.inc(points)
        self._late.inc(late)
        self._settle_seconds.observe(took_s)

    def notifications_decided(self, *, messages: int, suppressed: int, kept: int) -> None:
        """One round of decisions."""
        for decision, count in (("message", messages), ("suppressed", suppressed), ("kept", kept)):
            self._notifications_decided.labels(decision).inc(count)

    def notification_sent(self, kind: str, state: str, *, took_s: float) -> None:
        """One attempt through a channel of that kind, and what it left the message as."""
        self._notification_attempts.labels(kind, state).inc()
        self._notification_seconds.labels(kind).observe(took_s)

    def evaluated(self, *, points: int, took_s: float, fired: int, resolved: int) -> None:
        """One transaction of alert evaluation."""
        self._evaluated_points.inc(points)
        self._evaluation_seconds.observe(took_s)
        self._alerts_fired.inc(fired)
        self._alerts_resolved.inc(resolved)

    def detection_run(self, *, state: str, series: int, points: int, findings: int, took_s: float) -> None:
        """One run of scheduled detection ended."""
        self._detection_runs.labels(state).inc()
        self._detection_series.inc(series)
        self._detection_points.inc(points)
        self._detection_findings.inc(findings)
        self._detection_seconds.observe(took_s)

    def detection_risks_published(self, risks: int) -> None:
        """So many fingerprints of a tenant were above the alert risk at the end of a run."""
        self._risks_published.inc(risks)

    def collection_run(
        self, *, kind: str, state: str, fetched: int, stored: int, revised: int, refused: int, took_s: float
    ) -> None:
        """One run of a metric source of that kind ended."""
        self._collection_runs.labels(kind, state).inc()
        for result, count in (("fetched", fetched), ("stored", stored), ("revised", revised), ("refused", refused)):
            self._collection_samples.labels(kind, result).inc(count)
        self._collection_seconds.labels(kind).observe(took_s)

    def exposition(self) -> bytes:
        """All metrics as text; of all processes where they share a directory."""
        if MULTIPROCESS_DIR not in os.environ:
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]  # the library leaves it untyped
        return generate_latest(shared)


def forget_process(pid: int) -> None:
    """Takes a dead process' gauges out of the sums; for the process that started it. Safe to repeat."""
    if MULTIPROCESS_DIR in os.environ:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]  # the library leaves it untyped
