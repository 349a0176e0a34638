"""A small cluster's pod metrics, written into a storage as a source would have left them there."""

from collections.abc import Mapping, Sequence

import numpy as np

from core.domain.columns import Columns, Float64s
from core.domain.series import series_identity
from core.domain.telemetry import CLUSTER, NAMESPACE, NODE, POD, WORKLOAD
from core.domain.times import MINUTE_US
from core.services.telemetry_reading import PodSeries
from ports.driven.journal import JournalEntry
from tests.support.storages import SERIES_MAX, Storage

CLUSTER_ID = "prod-eu"


def pod_samples(
    metric: str,
    values: Sequence[float] | Float64s,
    start_us: int,
    *,
    workload: str = "api",
    pod: str = "api-1",
    namespace: str = "shop",
    node: str = "node-1",
    every_us: int = MINUTE_US,
) -> PodSeries:
    """A pod's samples of one metric, one `every_us` from `start_us` on; what is not a number is a gap."""
    column = np.asarray(values, np.float64)
    ts_us = start_us + np.arange(len(column), dtype=np.int64) * every_us
    there = ~np.isnan(column)
    return PodSeries(metric, namespace, workload, pod, node, ts_us[there], column[there], np.ones(there.sum()))


async def write_pods(
    storage: Storage,
    tenant_id: int,
    samples: Sequence[PodSeries],
    *,
    cluster_id: str = CLUSTER_ID,
    source: str = "test",
    labels: Mapping[str, str] | None = None,
) -> None:
    """Catalogues the series and commits their samples; a label that is "" is left away, `labels` are added."""
    identities = [
        series_identity(one.metric, {**_labels(one, cluster_id), **(labels or {})}, source) for one in samples
    ]
    resolved = await storage.catalog.resolve(tenant_id, identities, series_max=SERIES_MAX)
    lengths = [len(one.ts_us) for one in samples]
    points = Columns(
        np.repeat(np.array(resolved.series_ids, np.int32), lengths),
        np.concatenate([one.ts_us for one in samples]),
        np.concatenate([one.values for one in samples]),
    )
    await storage.journal.append(JournalEntry(tenant_id, points))


def _labels(one: PodSeries, cluster_id: str) -> dict[str, str]:
    named = {CLUSTER: cluster_id, NAMESPACE: one.namespace, WORKLOAD: one.workload, POD: one.pod, NODE: one.node}
    return {label: value for label, value in named.items() if value}
