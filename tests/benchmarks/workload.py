"""The work that every contender gets: the same points as JSON requests and as binary COPY buffers.

Hosts report 4 metrics each, one point per series every 10 s, all series of one moment before the next moment,
ending with the last full 5 minutes. Values are random doubles written in full: the hardest to decode and compress.
"""

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt

NAMES = ("cpu_usage", "memory_usage", "disk_io", "network_rx")
REGIONS = ("eu-west-1", "us-east-1", "ap-south-1")
INTERVAL_S = 10
BATCH_POINTS = 10_000
BUCKET_US = 300_000_000  # the last one is over, as nearly all of a dashboard's are
INGEST_PATH = "/api/v1/metrics/ingest"
BATCH_PATH = "/api/v1/metrics/ingest/batch"

POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01: binary timestamps count from there
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
COPY_TRAILER = struct.pack(">h", -1)
COPY_ROW = np.dtype(
    [
        ("columns", ">i2"),
        ("ts_size", ">i4"), ("ts", ">i8"),
        ("tenant_size", ">i4"), ("tenant_id", ">i4"),
        ("series_size", ">i4"), ("series_id", ">i4"),
        ("value_size", ">i4"), ("value", ">f8"),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Workload:
    """`points` samples of `series` series, all before `end_us`. Point i belongs to series i % `series`."""

    points: int
    series: int
    end_us: int = field(default_factory=lambda: time.time_ns() // 1_000 // BUCKET_US * BUCKET_US)

    @property
    def start_us(self) -> int:
        """The first timestamp, in microseconds since the Unix epoch."""
        return self.end_us - self.moments * INTERVAL_S * 1_000_000

    @property
    def moments(self) -> int:
        """How many distinct timestamps there are."""
        return -(-self.points // self.series)

    @property
    def batches(self) -> int:
        """How many requests of BATCH_POINTS they make."""
        return -(-self.points // BATCH_POINTS)

    @property
    def range(self) -> tuple[datetime, datetime]:
        """The half-open range that holds every point."""
        return moment(self.start_us), moment(self.end_us)

    def values(self, first: int, count: int) -> npt.NDArray[np.float64]:
        """The values of points [first, first + count), the same whenever they are asked for."""
        return np.random.default_rng([self.series, first]).random(count) * 100

    def labels_json(self, series: int) -> str:
        """The labels of a series as a JSON object."""
        host = series // len(NAMES)
        return f'{{"host":"{host_name(host)}","region":"{REGIONS[host % len(REGIONS)]}"}}'

    def ids_of_name(self, name: str) -> list[int]:
        """The ids, in the reference tables, of all series with one metric name."""
        return list(range(NAMES.index(name) + 1, self.series + 1, len(NAMES)))

    def metrics_json(self, first: int, count: int) -> list[str]:
        """Points [first, first + count) as JSON objects in the ingest shape."""
        values = self.values(first, count).tolist()
        stamps: dict[int, str] = {}
        metrics = []
        for point, value in enumerate(values, first):
            at, series = divmod(point, self.series)
            stamp = stamps.get(at)
            if stamp is None:
                stamp = stamps[at] = moment(self.start_us + at * INTERVAL_S * 1_000_000).strftime("%Y-%m-%dT%H:%M:%SZ")
            metrics.append(f'{self._heads[series]}"{stamp}","value":{value!r}}}')
        return metrics

    def batch_bodies(self) -> Iterator[bytes]:
        """All points as bodies of BATCH_POINTS metrics."""
        for first in range(0, self.points, BATCH_POINTS):
            metrics = self.metrics_json(first, min(BATCH_POINTS, self.points - first))
            yield f'{{"metrics":[{",".join(metrics)}]}}'.encode()

    def single_bodies(self) -> list[bytes]:
        """All points as bodies of one metric."""
        return [metric.encode() for metric in self.metrics_json(0, self.points)]

    def copy_buffers(self) -> Iterator[bytes]:
        """The same batches as binary COPY of (ts, tenant_id, series_id, value), by (series_id, ts)."""
        for first in range(0, self.points, BATCH_POINTS):
            count = min(BATCH_POINTS, self.points - first)
            point = np.arange(first, first + count)
            at, series = np.divmod(point, self.series)
            order = np.lexsort((at, series))
            rows = np.empty(count, COPY_ROW)
            rows["columns"] = 4
            rows["ts_size"] = rows["value_size"] = 8
            rows["tenant_size"] = rows["series_size"] = 4
            rows["tenant_id"] = 1
            rows["ts"] = (self.start_us - POSTGRES_EPOCH_US + at * INTERVAL_S * 1_000_000)[order]
            rows["series_id"] = series[order] + 1
            rows["value"] = self.values(first, count)[order]
            yield COPY_HEADER + rows.tobytes() + COPY_TRAILER

    @cached_property
    def _heads(self) -> list[str]:
        """The part of each series' JSON that every one of its points begins with."""
        return [
            f'{{"name":"{NAMES[series % len(NAMES)]}","labels":{self.labels_json(series)},"timestamp":'
            for series in range(self.series)
        ]


def host_name(host: int) -> str:
    """The label value of a host."""
    return f"host-{host:05d}"


def moment(ts_us: int) -> datetime:
    """Microseconds since the Unix epoch as a datetime."""
    return datetime.fromtimestamp(ts_us / 1_000_000, UTC)


def post(path: str, body: bytes, *, key: str | None = None) -> bytes:
    """A complete HTTP/1.1 request that leaves the connection open."""
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\n{authorization}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
