"""Sextant's own metrics: what is reported is what is exposed, over several processes too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.runtime.telemetry import MULTIPROCESS_DIR, PrometheusTelemetry, forget_process

WORKER = """
import sys
from adapters.runtime.telemetry import PrometheusTelemetry
telemetry = PrometheusTelemetry()
telemetry.ingested(accepted=10, rejected={"value": 1}, cache_hits=9, cache_misses=2)
telemetry.queue_depth(5)
telemetry.backlog(points=int(sys.argv[1]), age_s=1.5)
"""
READER = """
from adapters.runtime.telemetry import PrometheusTelemetry
print(PrometheusTelemetry().exposition().decode())
"""


def value_of(text: str, metric: str) -> float:
    """The value of one line of the exposition."""
    (line,) = (line for line in text.splitlines() if line.startswith(metric + " "))
    return float(line.rpartition(" ")[2])


def test_what_is_reported_is_exposed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every method moves the numbers that it says."""
    monkeypatch.delenv(MULTIPROCESS_DIR, raising=False)
    telemetry = PrometheusTelemetry()
    telemetry.ingested(
        accepted=90, rejected={"value": 7, "labels.host": 2, "labels.dc": 1}, cache_hits=80, cache_misses=20
    )
    telemetry.queried("series", took_s=0.02, points=300)
    telemetry.http_answered("/ingest", 200)
    telemetry.http_answered("/ingest", 200)
    telemetry.queue_depth(400)
    telemetry.journal_committed(points=90, requests=3, took_s=0.004)
    telemetry.backlog(points=1_000, age_s=2.5)
    telemetry.settled(points=500, late=20, took_s=0.3)
    text = telemetry.exposition().decode()
    expected = {
        "sextant_samples_accepted_total": 90,
        'sextant_samples_rejected_total{field="value"}': 7,
        'sextant_samples_rejected_total{field="labels"}': 3,
        "sextant_ingest_batch_size_sum": 100,
        'sextant_series_cache_lookups_total{result="hit"}': 80,
        'sextant_series_cache_lookups_total{result="miss"}': 20,
        'sextant_query_seconds_bucket{kind="series",le="0.025"}': 1,
        'sextant_query_points_total{kind="series"}': 300,
        'sextant_http_requests_total{route="/ingest",status="200"}': 2,
        "sextant_ingest_queue_points": 400,
        "sextant_journal_commits_total": 1,
        "sextant_journal_points_total": 90,
        "sextant_journal_requests_total": 3,
        "sextant_journal_commit_seconds_sum": 0.004,
        "sextant_unsettled_points": 1_000,
        "sextant_unsettled_age_seconds": 2.5,
        "sextant_settled_points_total": 500,
        "sextant_late_points_total": 20,
        "sextant_settle_seconds_count": 1,
    }
    assert {metric: value_of(text, metric) for metric in expected} == expected


def test_processes_answer_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters add up, the keeper's gauges are the last ones set, and a dead worker's queue is forgotten."""
    environment = {**os.environ, MULTIPROCESS_DIR: str(tmp_path)}
    workers = []
    for backlog in ("100", "40"):
        worker = subprocess.Popen([sys.executable, "-c", WORKER, backlog], env=environment)
        assert worker.wait(60) == 0
        workers.append(worker.pid)
    text = subprocess.check_output([sys.executable, "-c", READER], env=environment, text=True)
    assert value_of(text, "sextant_samples_accepted_total") == 20
    assert value_of(text, 'sextant_samples_rejected_total{field="value"}') == 2
    assert value_of(text, "sextant_unsettled_points") == 40
    assert value_of(text, "sextant_ingest_queue_points") == 10
    monkeypatch.setenv(MULTIPROCESS_DIR, str(tmp_path))
    for pid in (workers[0], workers[0]):
        forget_process(pid)
    text = subprocess.check_output([sys.executable, "-c", READER], env=environment, text=True)
    assert value_of(text, "sextant_ingest_queue_points") == 5
