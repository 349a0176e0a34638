"""What New Relic is asked: configured queries, or the golden signals of each workload under Sextant's standard names.

New Relic's Kubernetes integration reports containers (K8sContainerSample), so a pod's use is the average container's
times how many there are. APM agents report requests (Transaction); those that run in Kubernetes say in which pod.
See https://docs.newrelic.com/attribute-dictionary/.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from adapters.driven.sources.naming import item_key
from core.domain import telemetry
from core.domain.source_configs import NewRelicConfig, NrqlQuery

_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_.:]*\Z", re.ASCII)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One item: one NRQL query, to which the window is added, and what its results are."""

    title: str
    nrql: str
    """Up to and without FACET."""
    facets: tuple[tuple[str, str], ...] = ()
    """Attribute or expression, and the label it becomes."""
    metrics: tuple[tuple[str, str | None], ...]
    """What is stored, and under which alias it stands in a row; None: as the row's only value."""

    @property
    def key(self) -> str:
        """The same for the same query in every run."""
        return item_key(self.nrql, *(attribute for attribute, _ in self.facets))

    def within(self, start_ms: int, end_ms: int, bucket_s: int) -> str:
        """The NRQL for that range in buckets, with as many facets as New Relic gives."""
        facets = ", ".join(f"`{each}`" if _ATTRIBUTE.match(each) else each for each, _ in self.facets)
        by = f" FACET {facets} LIMIT MAX" if facets else ""
        return f"SELECT {self.nrql}{by} SINCE {start_ms} UNTIL {end_ms} TIMESERIES {bucket_s} seconds"


_CONTAINERS: Final = (
    (telemetry.CPU_USAGE, "average(cpuUsedCores) * uniqueCount(containerName)"),
    (telemetry.MEMORY_USAGE, "average(memoryWorkingSetBytes) * uniqueCount(containerName)"),
    (telemetry.RESTARTS, "max(restartCount)"),
)
_RESERVED: Final = tuple(
    # Containers without a request or a limit report none: they must not be counted.
    (name, f"average({attribute}) * filter(uniqueCount(containerName), WHERE {attribute} IS NOT NULL)")
    for name, attribute in (
        (telemetry.CPU_REQUEST, "cpuRequestedCores"),
        (telemetry.CPU_LIMIT, "cpuLimitCores"),
        (telemetry.MEMORY_REQUEST, "memoryRequestedBytes"),
        (telemetry.MEMORY_LIMIT, "memoryLimitBytes"),
    )
)
_REQUESTS: Final = (
    (telemetry.THROUGHPUT, "rate(count(*), 1 second)"),
    (telemetry.ERROR_RATE, "percentage(count(*), WHERE error IS true) / 100"),
    (telemetry.LATENCY_P50, "percentile(duration, 50)"),
    (telemetry.LATENCY_P95, "percentile(duration, 95)"),
    (telemetry.LATENCY_P99, "percentile(duration, 99)"),
)
_POD_FACETS: Final = (
    ("clusterName", telemetry.CLUSTER),
    ("namespaceName", telemetry.NAMESPACE),
    ("deploymentName", telemetry.WORKLOAD),
    ("podName", telemetry.POD),
    ("nodeName", telemetry.NODE),
)
_APM_FACETS: Final = (
    ("k8s.clusterName", telemetry.CLUSTER),
    ("k8s.namespaceName", telemetry.NAMESPACE),
    ("k8s.deploymentName", telemetry.WORKLOAD),
    ("k8s.podName", telemetry.POD),
    ("k8s.nodeName", telemetry.NODE),
)
_HOST_FACETS: Final = (("appName", telemetry.WORKLOAD), ("host", "host"))


def asks_of(config: NewRelicConfig, cluster_id: str | None, namespaces: Sequence[str]) -> list[Ask]:
    """What is to be asked; a cluster and namespaces narrow the golden signals, not queries of the user's own."""
    if config.queries:
        return [_own(query) for query in config.queries]
    pods = _where("clusterName", cluster_id, "namespaceName", namespaces)
    apm = _where("k8s.clusterName", cluster_id, "k8s.namespaceName", namespaces)
    asks = [
        _golden("containers of pods", _CONTAINERS, f"K8sContainerSample WHERE podName IS NOT NULL{pods}", _POD_FACETS),
        _golden(
            "requests and limits of pods", _RESERVED, f"K8sContainerSample WHERE podName IS NOT NULL{pods}", _POD_FACETS
        ),
        _golden("requests to pods", _REQUESTS, f"Transaction WHERE `k8s.podName` IS NOT NULL{apm}", _APM_FACETS),
    ]
    if cluster_id is None and not namespaces:
        asks.append(
            _golden(
                "requests to applications outside of Kubernetes",
                _REQUESTS,
                "Transaction WHERE `k8s.podName` IS NULL",
                _HOST_FACETS,
            )
        )
    return asks


def _own(query: NrqlQuery) -> Ask:
    return Ask(
        title=f"{query.metric}: {query.select}",
        nrql=query.select,
        facets=tuple((facet, facet) for facet in query.facet),
        metrics=((query.metric, None),),
    )


def _golden(title: str, metrics: Sequence[tuple[str, str]], source: str, facets: tuple[tuple[str, str], ...]) -> Ask:
    select = ", ".join(f"{expression} AS 'v{index}'" for index, (_, expression) in enumerate(metrics))
    aliases = tuple((name, f"v{index}") for index, (name, _) in enumerate(metrics))
    return Ask(title=title, nrql=f"{select} FROM {source}", facets=facets, metrics=aliases)


def _where(cluster: str, cluster_id: str | None, namespace: str, namespaces: Sequence[str]) -> str:
    where = "" if cluster_id is None else f" AND `{cluster}` = {_quoted(cluster_id)}"
    return where + (f" AND `{namespace}` IN ({', '.join(map(_quoted, namespaces))})" if namespaces else "")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
