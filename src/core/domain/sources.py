"""Metric sources: where samples are pulled from, how often, and how much asking for them may cost."""

import enum
import re
from datetime import datetime, timedelta
from typing import Final

import msgspec

from core.domain.errors import InvalidInput
from core.domain.series import check_label, check_name, check_text
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US, parse_duration

SOURCES_MAX: Final = 200
"""Of one tenant: each is a job that comes back, and one list shows them all."""
SOURCE_SCOPE: Final = "source:"
"""Begins the scope of a stored source's checkpoints; no other scope begins like this."""
NAME_CHARS_MAX: Final = 63
QUERIES_MAX: Final = 200
"""More belong into several sources, which fail and are limited apart."""
QUERY_CHARS_MAX: Final = 4_000
INSTANCES_MAX: Final = 5_000
NAMESPACES_MAX: Final = 200
URL_CHARS_MAX: Final = 2_000
CREDENTIAL_CHARS_MAX: Final = 16_000
"""A token of a cloud is some kilobytes."""
FLEET_MAX: Final = 200
"""Synthetic instances: a fleet to look at, not a load test."""
BACKFILL_US_MAX: Final = 35 * DAY_US
"""No window reaches further back: vendors keep fine-grained data about as long."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z", re.ASCII)
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
    """Asked of it, beside the golden signals that are asked for anyway."""


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


class CredentialNames(msgspec.Struct, frozen=True):
    """Which credentials a kind of source takes."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


CREDENTIALS: Final[dict[SourceKind, CredentialNames]] = {
    SourceKind.DATADOG: CredentialNames(("api_key", "app_key")),
    SourceKind.CLOUDWATCH: CredentialNames((), ("access_key_id", "secret_access_key", "session_token")),
    SourceKind.NEWRELIC: CredentialNames(("api_key",)),
    SourceKind.HAWKEYE: CredentialNames(("api_key",)),
    SourceKind.EKS: CredentialNames((), ("metrics_token",)),
    SourceKind.PROMETHEUS: CredentialNames((), ("bearer_token", "username", "password")),
    SourceKind.SYNTHETIC: CredentialNames(),
}


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What is usual for one kind of source."""

    lookback_us: int
    """How far the first window reaches back."""
    settle_us: int
    """How long the vendor may go on revising what it has answered; so much is read again."""
    calls_per_minute: int


PACES: Final[dict[SourceKind, Pace]] = {
    # 300 queries an hour is Datadog's documented default for the query API.
    SourceKind.DATADOG: Pace(lookback_us=HOUR_US, settle_us=10 * MINUTE_US, calls_per_minute=5),
    # GetMetricData allows 50 calls a second; basic monitoring publishes with a delay of up to 15 minutes.
    SourceKind.CLOUDWATCH: Pace(lookback_us=DAY_US, settle_us=3 * HOUR_US, calls_per_minute=600),
    # NerdGraph allows 25 concurrent and about 3,000 NRQL queries a minute an account.
    SourceKind.NEWRELIC: Pace(lookback_us=HOUR_US, settle_us=5 * MINUTE_US, calls_per_minute=300),
    SourceKind.HAWKEYE: Pace(lookback_us=HOUR_US, settle_us=5 * MINUTE_US, calls_per_minute=120),
    SourceKind.EKS: Pace(lookback_us=HOUR_US, settle_us=2 * MINUTE_US, calls_per_minute=1_200),
    SourceKind.PROMETHEUS: Pace(lookback_us=HOUR_US, settle_us=2 * MINUTE_US, calls_per_minute=1_200),
    SourceKind.SYNTHETIC: Pace(lookback_us=2 * DAY_US, settle_us=5 * MINUTE_US, calls_per_minute=60_000),
}


class SourceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric source as it is asked for. Raises `InvalidInput` naming the field."""

    name: str
    config: SourceConfig
    enabled: bool = True
    interval: str | None = "5m"
    """How often it is collected by itself; null: only when asked for."""
    lookback: str | None = None
    """How far the first window reaches back; null: what is usual for the kind."""
    settle: str | None = None
    """How far back each window reads again, for what the vendor revises; null: what is usual for the kind."""
    calls_per_minute: int | None = None
    """How fast the vendor may be asked; null: what is usual for the kind."""
    calls_per_run_max: int = 1_000
    """Then the run ends; the next one goes on from there."""
    cost_usd_per_run_max: float | None = None
    """Likewise, by the vendor's list price where there is one."""

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise InvalidInput(
                "name", f"{self.name[:64]!r} is not a source's name: 1 to 63 of a-z, 0-9, - and _, no - or _ first"
            )
        check_config(self.config)
        if self.interval is not None and not MINUTE_US <= parse_duration(self.interval, "interval") <= DAY_US:
            raise InvalidInput("interval", "must be from 1m to 1d; null collects only when asked for")
        for field in ("lookback", "settle"):
            text = getattr(self, field)
            if text is not None and parse_duration(text, field) > BACKFILL_US_MAX:
                raise InvalidInput(field, f"must be at most {BACKFILL_US_MAX // DAY_US}d")
        if self.calls_per_minute is not None and not 1 <= self.calls_per_minute <= 60_000:
            raise InvalidInput("calls_per_minute", "must be from 1 to 60000")
        if not 1 <= self.calls_per_run_max <= 100_000:
            raise InvalidInput("calls_per_run_max", "must be from 1 to 100000")
        if self.cost_usd_per_run_max is not None and not 0 < self.cost_usd_per_run_max <= 1e6:
            raise InvalidInput("cost_usd_per_run_max", "must be above 0, at most 1000000")

    @property
    def kind(self) -> SourceKind:
        """Which system is asked."""
        return KIND_OF[type(self.config)]

    @property
    def interval_us(self) -> int | None:
        """How often it is collected by itself; None: it is not."""
        if self.interval is None or not self.enabled:
            return None
        return parse_duration(self.interval, "interval")

    @property
    def lookback_us(self) -> int:
        """See `lookback`."""
        return PACES[self.kind].lookback_us if self.lookback is None else parse_duration(self.lookback, "lookback")

    @property
    def settle_us(self) -> int:
        """See `settle`."""
        return PACES[self.kind].settle_us if self.settle is None else parse_duration(self.settle, "settle")

    @property
    def pace_per_minute(self) -> int:
        """See `calls_per_minute`."""
        return self.calls_per_minute or PACES[self.kind].calls_per_minute


class StoredSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source with what the store knows of it; credentials by name only."""

    id: int
    spec: SourceSpec
    credential_names: tuple[str, ...]
    revision: int
    created_at: datetime
    updated_at: datetime
    next_run_at: datetime | None
    """When it is collected next by itself."""

    @property
    def scope(self) -> str:
        """What all its runs share: one at a time, and one set of checkpoints."""
        return f"{SOURCE_SCOPE}{self.id}"


def following_run(due_at: datetime, interval_us: int, now: datetime) -> datetime:
    """The first instant after `now` that lies whole intervals after `due_at`: runs that were missed are one."""
    interval = timedelta(microseconds=interval_us)
    return due_at + ((now - due_at) // interval + 1) * interval


def check_credentials(kind: SourceKind, credentials: dict[str, str]) -> None:
    """Raises `InvalidInput` unless these are what `kind` takes."""
    names = CREDENTIALS[kind]
    for name, value in credentials.items():
        if name not in names.required + names.optional:
            known = ", ".join(names.required + names.optional) or "none"
            raise InvalidInput(f"credentials.{name[:64]}", f"{kind.value} takes no such credential; it takes: {known}")
        if not 1 <= len(value) <= CREDENTIAL_CHARS_MAX or not value.isascii() or not value.isprintable():
            raise InvalidInput(f"credentials.{name}", "must be printable ASCII without line breaks, and not empty")
    for name in names.required:
        if name not in credentials:
            raise InvalidInput(f"credentials.{name}", f"is missing; {kind.value} needs {' and '.join(names.required)}")
    for first, second in (("access_key_id", "secret_access_key"), ("username", "password")):
        if (first in credentials) != (second in credentials):
            raise InvalidInput(f"credentials.{first}", f"{first} and {second} go together")


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
        case PrometheusConfig():
            _check_url("config.url", config.url)
            if not config.queries:
                raise InvalidInput("config.queries", "give at least one query")
            _check_promql(config.queries)
            _check_step("config.step", config.step)
        case SyntheticConfig():
            if not 1 <= config.instances <= FLEET_MAX:
                raise InvalidInput("config.instances", f"must be from 1 to {FLEET_MAX}")
            check_cluster_id("config.cluster_id", config.cluster_id)
            _check_step("config.step", config.step)


def check_cluster_id(field: str, cluster_id: str) -> None:
    """Raises `InvalidInput` unless it can name a cluster, a namespace or a workload."""
    if not 1 <= len(cluster_id) <= 253 or not cluster_id.isprintable():
        raise InvalidInput(field, "must have 1 to 253 printable characters")
    check_text(field, cluster_id)


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


def _check_queries(field: str, queries: tuple[str, ...]) -> None:
    if not 1 <= len(queries) <= QUERIES_MAX:
        raise InvalidInput(field, f"give 1 to {QUERIES_MAX} queries")
    for query in queries:
        if not 1 <= len(query) <= QUERY_CHARS_MAX or "\x00" in query:
            raise InvalidInput(field, f"a query must have 1 to {QUERY_CHARS_MAX} characters, none of them NUL")
        check_text_encodable(field, query)


def check_text_encodable(field: str, text: str) -> None:
    """Raises `InvalidInput` where a text is not Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(field, "contains half of a surrogate pair, which is not Unicode text") from None


def _check_namespaces(namespaces: tuple[str, ...]) -> None:
    if len(namespaces) > NAMESPACES_MAX:
        raise InvalidInput("config.namespaces", f"at most {NAMESPACES_MAX}")
    for namespace in namespaces:
        check_cluster_id("config.namespaces", namespace)


def _check_url(field: str, url: str) -> None:
    if len(url) > URL_CHARS_MAX or not url.startswith(("http://", "https://")):
        raise InvalidInput(field, "must be an http or https address")


def _check_step(field: str, step: str) -> None:
    if not SECOND_US <= parse_duration(step, field) <= DAY_US:
        raise InvalidInput(field, "must be from 1s to 1d")
