"""Storage: real data, sent through the front door, as plain rows and compressed. TimescaleDB only.

Every recording is sent as by HOSTS hosts, because a day of one host takes less than the pages of an empty chunk: the
sizes would be those of the pages. Series are compressed one by one, so that equal ones gain nothing from each other.
"""

import csv
import gzip
import http.client
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from tests.benchmarks.engines import BenchEngine
from tests.benchmarks.load import run_load
from tests.benchmarks.report import Report
from tests.benchmarks.serving import Server, sextant_server
from tests.benchmarks.store import (
    await_settled,
    compress_all,
    decompress_all,
    hypertable_size_bytes,
    sample_count,
)
from tests.benchmarks.workload import BATCH_PATH, BATCH_POINTS, post

HOSTS = 25
RETENTION_DAYS = 3_650  # the recordings cover up to nine months
SETTLE_SOON = {"SEXTANT_KEEPER_SETTLE_AGE": "1s"}
SETTLE_TIMEOUT_S = 120.0
TABLE = "sextant.samples"


class Metric(msgspec.Struct):
    """A metric in the ingest shape."""

    name: str
    value: float
    labels: dict[str, str]
    timestamp: datetime


def storage(engine: BenchEngine, data: Path) -> Report:
    """Ingest every CSV and NDJSON file below `data`, each shifted to end now, and compare sizes."""
    report = Report("storage", engine.name, f"recordings in {data.name}, as by {HOSTS} hosts")
    metrics = [metric for path in sorted(data.rglob("*")) for metric in _recording(path)]
    metrics.sort(key=lambda metric: metric.timestamp)
    with engine.database() as url:
        with sextant_server(url, workers=1, settings=SETTLE_SOON) as server:
            _send(server, metrics)
            await_settled(url, timeout_s=SETTLE_TIMEOUT_S)
        # With the server gone, nothing is compressed behind our back.
        samples = sample_count(url)
        report.figure("samples", "", [samples])
        report.figure("as settled", "bytes/sample", [hypertable_size_bytes(url, TABLE) / samples])
        decompress_all(url, TABLE)
        before = hypertable_size_bytes(url, TABLE) / samples
        compress_all(url, (TABLE,))
        after = hypertable_size_bytes(url, TABLE) / samples
    report.figure("as plain rows with their index", "bytes/sample", [before])
    report.figure("compressed", "bytes/sample", [after])
    report.check("smaller by compression, %", 100 * (1 - after / before), least=90)
    return report


def _recording(path: Path) -> Iterator[Metric]:
    """The metrics of one file, if it is a recording, shifted by whole days to end within the last one."""
    if path.suffix == ".csv":
        metrics = list(_csv_metrics(path))
    elif path.name.endswith(".ndjson.gz"):
        with gzip.open(path) as lines:
            metrics = [msgspec.json.decode(line, type=Metric) for line in lines]
    else:
        return
    if not metrics:
        return
    days = (datetime.now(UTC) - max(metric.timestamp for metric in metrics)).days
    for metric in metrics:
        metric.timestamp += timedelta(days=days)
        yield metric


def _csv_metrics(path: Path) -> Iterator[Metric]:
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        if rows.fieldnames != ["timestamp", "value"]:
            return
        for row in rows:
            timestamp = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
            yield Metric(path.parent.name, float(row["value"]), {"recording": path.stem}, timestamp)


def _send(server: Server, metrics: list[Metric]) -> None:
    for name in {metric.name for metric in metrics}:
        _keep_long(server, name)
    requests = (
        post(BATCH_PATH, _body(metrics[first : first + BATCH_POINTS], host), key=server.key)
        for first in range(0, len(metrics), BATCH_POINTS)
        for host in range(HOSTS)
    )
    run_load(server.port, requests, connections=1).expect_success()


def _body(metrics: list[Metric], host: int) -> bytes:
    for metric in metrics:
        metric.labels["host"] = f"host-{host}"
    return msgspec.json.encode({"metrics": metrics})


def _keep_long(server: Server, name: str) -> None:
    definition = {"name": name, "type": "gauge", "retention_days": RETENTION_DAYS}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
        connection.request("POST", "/api/v1/metrics/definitions", msgspec.json.encode(definition), headers)
        response = connection.getresponse()
        if response.status not in (200, 201):
            raise RuntimeError(f"definition of {name}: {response.status} {response.read()!r}")
