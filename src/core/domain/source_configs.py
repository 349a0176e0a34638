"""What each kind of metric source is configured by."""

import enum
import re
from typing import Final
from urllib.parse import urlsplit

import msgspec

from core.domain.errors import InvalidInput
from core.domain.names import check_cluster_id, check_text_encodable
from core.domain.series import check_label, check_name, check_text
from core.domain.times import DAY_US, MINUTE_US, SECOND_US, parse_duration

NAME_CHARS_MAX: Final = 63
QUERIES_MAX: Final = 200
"""More belong into several sources, which fail and are limited apart."""
QUERY_CHARS_MAX: Final = 4_000
INSTANCES_MAX: Final = 5_000
TAGS_MAX: Final = 50
"""As many as a resource of AWS can carry."""
NAMESPACES_MAX: Final = 200
URL_CHARS_MAX: Final = 2_000
OWN_LABELS_MAX: Final = 5
"""They say where a server is, and take room of those that its series have."""
OWN_LABEL_CHARS_MAX: Final = 50
"""They are part of an instance's id, which a person reads."""
NODE_PRICES_MAX: Final = 200
"""As many as a snapshot of capacity has node types."""
NODE_PRICE_USD_MAX: Final = 10_000.0
"""An hour of the largest machine that can be rented costs some hundreds."""
FLEET_MAX: Final = 200
"""Synthetic instances: a fleet to look at, not a load test."""
_SITE = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+\Z", re.ASCII)
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d{1,2}\Z", re.ASCII)
_INSTANCE = re.compile(r"[A-Za-z0-9._:/-]{1,200}\Z", re.ASCII)


class SourceKind(enum.Enum):
    """Which system is asked."""

    DATADOG = "datadog"
    CLOUDWATCH = "cloudwatch"
    NEWRELIC = "newrelic"
    HAWKEYE = "hawkeye"
    EKS = "eks"
    PROMETHEUS = "prometheus"
    SYNTHETIC = "synthetic"


class DatadogConfig(
    msgspec.Struct, frozen=True, kw_only=True, tag="datadog", tag_field="type", forbid_unknown_fields=True
):
    """Datadog's time series query API, version 1."""

    site: str = "datadoghq.com"
    queries: tuple[str, ...] = ("avg:system.cpu.idle{*} by {host}", "avg:system.load.1{*} by {host}")
    """Datadog's own query language."""


class CloudWatchMetric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One metric of CloudWatch with one statistic."""

    name: str
    namespace: str = "AWS/EC2"
    statistic: str = "Average"
    """`Average`, `Sum`, `Minimum`, `Maximum`, `SampleCount`, or a percentile such as `p99`."""
    dimensions: dict[str, str] | None = None
    """None: one series for each instance, by its `InstanceId`; `{}`: every combination that ListMetrics finds."""


class CloudWatchConfig(
    msgspec.Struct, frozen=True, kw_only=True, tag="cloudwatch", tag_field="type", forbid_unknown_fields=True
):
    """CloudWatch's GetMetricData for EC2 instances and anything else that has metrics there."""

    region: str
    metrics: tuple[CloudWatchMetric, ...] = (
        CloudWatchMetric(name="CPUUtilization"),
        CloudWatchMetric(name="NetworkIn", statistic="Sum"),
        CloudWatchMetric(name="NetworkOut", statistic="Sum"),
    )
    instance_ids: tuple[str, ...] = ()
    """Empty: all running instances that carry `tags`."""
    tags: dict[str, str] = {}
    period: str = "1h"
    endpoint_url: str | None = None
    """Another address for all of AWS; only tenants that the operator trusts may name one."""


class NrqlQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One NRQL query; `{timeseries}` and the window are added to it."""

    metric: str
    """What the result is stored as."""
    select: str
    """Everything after SELECT up to FACET: ``percentile(duration, 95) FROM Transaction WHERE …``."""
    facet: tuple[str, ...] = ()
    """Attributes that become labels of these names, dots and all."""


class NewRelicConfig(
    msgspec.Struct, frozen=True, kw_only=True, tag="newrelic", tag_field="type", forbid_unknown_fields=True
):
    """New Relic's NerdGraph."""

    account_id: int
    region: str = "us"
    """`us` or `eu`."""
    queries: tuple[NrqlQuery, ...] = ()
    """Empty: the golden signals of each workload."""
    bucket: str = "1m"


class HawkeyeConfig(
    msgspec.Struct, frozen=True, kw_only=True, tag="hawkeye", tag_field="type", forbid_unknown_fields=True
):
    """Hawkeye APM by the contract in docs/hawkeye.md: the golden signals of each pod."""

    base_url: str
    cluster_id: str | None = None
    """None: all clusters that the key may see."""
    namespaces: tuple[str, ...] = ()


class PromQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One PromQL expression and what its result is stored as."""

    metric: str
    promql: str


class EksConfig(msgspec.Struct, frozen=True, kw_only=True, tag="eks", tag_field="type", forbid_unknown_fields=True):
    """The Kubernetes cluster that the server's own environment names: objects, metrics.k8s.io, and a Prometheus."""

    cluster_id: str
    namespaces: tuple[str, ...] = ()
    """Empty: all."""
    metrics_url: str | None = None
    """A Prometheus that scrapes the cluster; without it only what the Kubernetes API itself tells."""
    queries: tuple[PromQuery, ...] = ()
    """Asked of it, beside the golden signals that are asked for anyway; one that is stored as a golden signal stands
    instead of it."""
    node_prices_usd_per_hour: dict[str, float] = {}
    """By instance type; with those of all its nodes the cluster's cost is known, and what other requests would save."""


class PrometheusConfig(
    msgspec.Struct, frozen=True, kw_only=True, tag="prometheus", tag_field="type", forbid_unknown_fields=True
):
    """Any server that answers Prometheus' ``query_range``."""

    url: str
    queries: tuple[PromQuery, ...] = (
        PromQuery(metric="up", promql="up"),
        PromQuery(
            metric="node_cpu_utilization_ratio",
            promql='1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))',
        ),
        PromQuery(
            metric="node_memory_utilization_ratio",
            promql="1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
        ),
    )
    step: str = "1m"
    labels: dict[str, str] = {}
    """Given to every series, over those it has: as `external_labels`, which answers to queries lack. Where two servers
    scrape targets of the same names, one of them needs some."""


class SyntheticConfig(
    msgspec.Struct, frozen=True, kw_only=True, tag="synthetic", tag_field="type", forbid_unknown_fields=True
):
    """Made-up EC2-like instances and a small cluster with a workload that drifts; the same for the same seed."""

    instances: int = 6
    cluster_id: str = "demo"
    seed: int = 1
    step: str = "5m"


SourceConfig = (
    DatadogConfig | CloudWatchConfig | NewRelicConfig | HawkeyeConfig | EksConfig | PrometheusConfig | SyntheticConfig
)
KIND_OF: Final[dict[type[SourceConfig], SourceKind]] = {
    DatadogConfig: SourceKind.DATADOG,
    CloudWatchConfig: SourceKind.CLOUDWATCH,
    NewRelicConfig: SourceKind.NEWRELIC,
    HawkeyeConfig: SourceKind.HAWKEYE,
    EksConfig: SourceKind.EKS,
    PrometheusConfig: SourceKind.PROMETHEUS,
    SyntheticConfig: SourceKind.SYNTHETIC,
}


def check_config(config: SourceConfig) -> None:
    """Raises `InvalidInput` where a source's configuration cannot be; says nothing of what its addresses lead to."""
    match config:
        case DatadogConfig():
            if not _SITE.match(config.site) or len(config.site) > NAME_CHARS_MAX:
                raise InvalidInput("config.site", "must be a Datadog site such as datadoghq.com or us5.datadoghq.com")
            _check_queries("config.queries", config.queries)
        case CloudWatchConfig():
            _check_cloudwatch(config)
        case NewRelicConfig():
            _check_newrelic(config)
        case HawkeyeConfig():
            _check_url("config.base_url", config.base_url)
            if config.cluster_id is not None:
                check_cluster_id("config.cluster_id", config.cluster_id)
            _check_namespaces(config.namespaces)
        case EksConfig():
            check_cluster_id("config.cluster_id", config.cluster_id)
            _check_namespaces(config.namespaces)
            if config.metrics_url is not None:
                _check_url("config.metrics_url", config.metrics_url)
            _check_promql(config.queries)
            _check_prices("config.node_prices_usd_per_hour", config.node_prices_usd_per_hour)
        case PrometheusConfig():
            _check_url("config.url", config.url)
            if not config.queries:
                raise InvalidInput("config.queries", "give at least one query")
            _check_promql(config.queries)
            _check_step("config.step", config.step)
            _check_own_labels(config.labels)
        case SyntheticConfig():
            if not 1 <= config.instances <= FLEET_MAX:
                raise InvalidInput("config.instances", f"must be from 1 to {FLEET_MAX}")
            check_cluster_id("config.cluster_id", config.cluster_id)
            if not MINUTE_US <= parse_duration(config.step, "config.step") <= DAY_US:
                raise InvalidInput("config.step", "must be from 1m to 1d: a fleet to look at, not a load test")


def _check_cloudwatch(config: CloudWatchConfig) -> None:
    if not _REGION.match(config.region):
        raise InvalidInput("config.region", f"{config.region[:64]!r} is no AWS region such as eu-central-1")
    if not 1 <= len(config.metrics) <= QUERIES_MAX:
        raise InvalidInput("config.metrics", f"give 1 to {QUERIES_MAX} metrics")
    for index, metric in enumerate(config.metrics):
        field = f"config.metrics[{index}]"
        for name in ("name", "namespace", "statistic"):
            text = getattr(metric, name)
            if not 1 <= len(text) <= 255 or not text.isprintable() or not text.isascii():
                raise InvalidInput(f"{field}.{name}", "must have 1 to 255 printable ASCII characters")
        for label, value in (metric.dimensions or {}).items():
            check_label(label, value)
    if len(config.instance_ids) > INSTANCES_MAX:
        raise InvalidInput("config.instance_ids", f"at most {INSTANCES_MAX}")
    if len(config.tags) > TAGS_MAX:
        raise InvalidInput("config.tags", f"at most {TAGS_MAX}")
    for key, tag in config.tags.items():
        check_text("config.tags", key)
        check_text("config.tags", tag)
    for instance in config.instance_ids:
        if not _INSTANCE.match(instance):
            raise InvalidInput("config.instance_ids", f"{instance[:64]!r} is not an instance's id")
    _check_step("config.period", config.period)
    if parse_duration(config.period, "config.period") % MINUTE_US:
        raise InvalidInput("config.period", "must be whole minutes, as CloudWatch keeps them")
    if config.endpoint_url is not None:
        _check_url("config.endpoint_url", config.endpoint_url)


def _check_newrelic(config: NewRelicConfig) -> None:
    if not 1 <= config.account_id <= 2**53:
        raise InvalidInput("config.account_id", "must be the number of a New Relic account")
    if config.region not in ("us", "eu"):
        raise InvalidInput("config.region", "must be us or eu")
    if len(config.queries) > QUERIES_MAX:
        raise InvalidInput("config.queries", f"at most {QUERIES_MAX}")
    for index, query in enumerate(config.queries):
        check_name(query.metric, f"config.queries[{index}].metric")
        _check_queries(f"config.queries[{index}].select", (query.select, *query.facet))
    _check_step("config.bucket", config.bucket)


def _check_promql(queries: tuple[PromQuery, ...]) -> None:
    for index, query in enumerate(queries):
        check_name(query.metric, f"config.queries[{index}].metric")
    if queries:
        _check_queries("config.queries", tuple(query.promql for query in queries))


def _check_own_labels(labels: dict[str, str]) -> None:
    if len(labels) > OWN_LABELS_MAX:
        raise InvalidInput("config.labels", f"at most {OWN_LABELS_MAX}")
    for label, value in labels.items():
        check_label(label, value)
        if not 1 <= len(value) <= OWN_LABEL_CHARS_MAX:
            raise InvalidInput(f"labels.{label}", f"must have 1 to {OWN_LABEL_CHARS_MAX} characters")


def _check_queries(field: str, queries: tuple[str, ...]) -> None:
    if not 1 <= len(queries) <= QUERIES_MAX:
        raise InvalidInput(field, f"give 1 to {QUERIES_MAX} queries")
    for query in queries:
        if not 1 <= len(query) <= QUERY_CHARS_MAX or "\x00" in query:
            raise InvalidInput(field, f"a query must have 1 to {QUERY_CHARS_MAX} characters, none of them NUL")
        check_text_encodable(field, query)


def _check_namespaces(namespaces: tuple[str, ...]) -> None:
    if len(namespaces) > NAMESPACES_MAX:
        raise InvalidInput("config.namespaces", f"at most {NAMESPACES_MAX}")
    for namespace in namespaces:
        check_cluster_id("config.namespaces", namespace)


def _check_prices(field: str, prices: dict[str, float]) -> None:
    if len(prices) > NODE_PRICES_MAX:
        raise InvalidInput(field, f"at most {NODE_PRICES_MAX} instance types")
    for instance_type, price in prices.items():
        check_cluster_id(field, instance_type)
        if not 0 <= price <= NODE_PRICE_USD_MAX:  # nor NaN
            raise InvalidInput(field, f"{instance_type} must cost 0 to {NODE_PRICE_USD_MAX:,.0f} US dollars an hour")


def _check_url(field: str, url: str) -> None:
    if len(url) > URL_CHARS_MAX or not url.startswith(("http://", "https://")) or not url.isprintable():
        raise InvalidInput(field, "must be an http or https address")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidInput(field, f"is not an address: {error}") from None
    if not parts.hostname:
        raise InvalidInput(field, "names no host")
    if "@" in parts.netloc:
        raise InvalidInput(field, "must hold no user or password, which anybody would see: give them as credentials")


def _check_step(field: str, step: str) -> None:
    if not SECOND_US <= parse_duration(step, field) <= DAY_US:
        raise InvalidInput(field, "must be from 1s to 1d")
